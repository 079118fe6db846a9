package export

// evenRows is how many rows a record of an Arrow stream and a row group of a
// Parquet file have, but for the last. ClickHouse's own blocks are as large, so
// most pass without a copy.
const evenRows = 65_409

// even hands rows on in batches that depend on nothing but the rows: as many in
// each, and texts in the order in which they first appear. Blocks of the storage
// and their dictionaries also depend on how many threads and tables they came
// from, and the same answer must be the same bytes.
type even struct {
	next Writer
	// held are the rows of the batch that is not full; places are those of its
	// texts, by column.
	held   Batch
	places []map[string]int32
}

// Batch implements Writer.
func (e *even) Batch(b *Batch) error {
	if e.places == nil {
		e.places = make([]map[string]int32, len(b.Vectors))
		e.held.Vectors = make([]Vector, len(b.Vectors))
	}
	if e.held.Rows == 0 && b.Rows == evenRows {
		return e.pass(b)
	}
	for from := 0; from < b.Rows; {
		to := min(b.Rows, from+evenRows-e.held.Rows)
		e.take(b, from, to)
		from = to
		if e.held.Rows < evenRows {
			continue
		}
		if err := e.flush(); err != nil {
			return err
		}
	}
	return nil
}

// Close implements Writer.
func (e *even) Close(totals *Batch, meta *Meta) error {
	if err := e.flush(); err != nil {
		return err
	}
	return e.next.Close(totals, meta)
}

// pass hands on a batch that is full by itself.
func (e *even) pass(b *Batch) error {
	ordered := Batch{Rows: b.Rows, Vectors: append([]Vector(nil), b.Vectors...)}
	for i := range ordered.Vectors {
		v := &ordered.Vectors[i]
		if v.Dict != nil {
			var texts Vector
			texts.appendTexts(map[string]int32{}, v, 0, b.Rows)
			texts.Null = v.Null
			*v = texts
		}
	}
	return e.next.Batch(&ordered)
}

// take copies rows of a batch.
func (e *even) take(b *Batch, from, to int) {
	for i := range b.Vectors {
		dst, src := &e.held.Vectors[i], &b.Vectors[i]
		switch {
		case src.Dict != nil:
			if e.places[i] == nil {
				e.places[i] = map[string]int32{}
			}
			dst.appendTexts(e.places[i], src, from, to)
		case src.IDs != nil:
			dst.IDs = append(dst.IDs, src.IDs[from:to]...)
		case src.Decimals != nil:
			dst.Decimals = append(dst.Decimals, src.Decimals[from:to]...)
		default:
			dst.Ints = append(dst.Ints, src.Ints[from:to]...)
		}
		dst.appendNulls(src.Null, e.held.Rows, from, to)
	}
	e.held.Rows += to - from
}

// flush hands on what is held.
func (e *even) flush() error {
	if e.held.Rows == 0 {
		return nil
	}
	err := e.next.Batch(&e.held)
	e.held.Rows = 0
	for i := range e.held.Vectors {
		v := &e.held.Vectors[i]
		v.Ints, v.IDs, v.Decimals = v.Ints[:0], v.IDs[:0], v.Decimals[:0]
		v.Dict, v.Index, v.Null = nil, v.Index[:0], nil
		clear(e.places[i])
	}
	return err
}

// appendTexts copies texts of src; a value new to places takes the next place.
func (v *Vector) appendTexts(places map[string]int32, src *Vector, from, to int) {
	known := make([]int32, len(src.Dict)) // where in v.Dict, plus one
	for row := from; row < to; row++ {
		at := int32(0)
		if src.Index != nil {
			at = src.Index[row]
		}
		if known[at] == 0 {
			place, ok := places[src.Dict[at]]
			if !ok {
				place = int32(len(v.Dict))
				v.Dict = append(v.Dict, src.Dict[at])
				places[src.Dict[at]] = place
			}
			known[at] = place + 1
		}
		v.Index = append(v.Index, known[at]-1)
	}
}

// appendNulls copies marks of missing values behind those of held rows. The
// marks of a vector without any are nil, before and after.
func (v *Vector) appendNulls(null []bool, held, from, to int) {
	some := false
	for _, is := range null[min(from, len(null)):min(to, len(null))] {
		some = some || is
	}
	if v.Null == nil && !some {
		return
	}
	for len(v.Null) < held {
		v.Null = append(v.Null, false)
	}
	if null == nil {
		v.Null = append(v.Null, make([]bool, to-from)...)
		return
	}
	v.Null = append(v.Null, null[from:to]...)
}
