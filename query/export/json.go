package export

import (
	"io"
	"strconv"
	"unicode/utf8"
)

// jsonWriter writes an answer as one object.
type jsonWriter struct {
	w     io.Writer
	shape *Shape
	buf   []byte
	cells []textCells
	// format has the keys of a row with what stands before them; the first opens
	// the row.
	format textFormat
	rows   int
}

func newJSON(w io.Writer, shape *Shape) *jsonWriter {
	j := &jsonWriter{w: w, shape: shape, buf: make([]byte, 0, flushAt+8192), format: jsonCells}
	j.buf = append(j.buf, `{"columns":[`...)
	for i, c := range shape.Columns {
		if i > 0 {
			j.buf = append(j.buf, ',')
		}
		j.buf = append(j.buf, `{"name":"`+c.Name+`","type":"`+string(c.Type)+`"}`...)
	}
	j.buf = append(j.buf, `],"rows":[`...)
	for i, c := range shape.Columns {
		open := ","
		if i == 0 {
			open = "{"
		}
		j.format.before = append(j.format.before, open+`"`+c.Name+`":`)
	}
	return j
}

// jsonCells is how JSON writes cells without their names.
var jsonCells = textFormat{quoted: true, null: "null", escape: AppendJSONString}

// Batch implements Writer.
func (j *jsonWriter) Batch(b *Batch) error {
	j.cells = j.format.columns(j.cells, j.shape, b)
	dst := j.buf
	for row := range b.Rows {
		if j.rows > 0 {
			dst = append(dst, ',')
		}
		j.rows++
		for i := range j.cells {
			dst = j.cells[i].append(dst, row)
		}
		dst = append(dst, '}')
		if len(dst) >= flushAt {
			if _, err := j.w.Write(dst); err != nil {
				return err
			}
			dst = dst[:0]
		}
	}
	j.buf = dst
	return nil
}

// Close implements Writer.
func (j *jsonWriter) Close(totals *Batch, meta *Meta) error {
	j.buf = append(j.buf, `],"totals":`...)
	j.buf = appendTotals(j.buf, j.shape, totals)
	j.buf = append(j.buf, `,"meta":`...)
	j.buf = append(AppendMeta(j.buf, meta), "}\n"...)
	_, err := j.w.Write(j.buf)
	return err
}

// appendTotals writes the totals as an object without the keys of rows.
func appendTotals(dst []byte, shape *Shape, totals *Batch) []byte {
	cells := jsonCells.columns(nil, shape, totals)
	dst = append(dst, '{')
	for i, n := 0, 0; i < len(cells); i++ {
		if shape.Columns[i].Key {
			continue
		}
		if n > 0 {
			dst = append(dst, ',')
		}
		n++
		dst = append(dst, `"`+shape.Columns[i].Name+`":`...)
		dst = cells[i].append(dst, 0)
	}
	return append(dst, '}')
}

// AppendMeta writes m as a JSON object.
func AppendMeta(dst []byte, m *Meta) []byte {
	text := func(name, value string) {
		dst = append(dst, `,"`+name+`":`...)
		if value == "" {
			dst = append(dst, "null"...)
			return
		}
		dst = AppendJSONString(dst, value)
	}
	dst = append(dst, `{"rows":`...)
	dst = strconv.AppendInt(dst, int64(m.Rows), 10)
	text("as_of", m.AsOf)
	text("complete_through", m.Through())
	text("finality", m.Finality)
	text("timezone", m.Timezone)
	text("advertiser", strconv.FormatUint(m.Advertiser, 10))
	if m.Currency != "" {
		text("currency", m.Currency)
	}
	dst = append(dst, `,"truncated":`...)
	dst = strconv.AppendBool(dst, m.Truncated)
	if m.NextCursor != "" {
		text("next_cursor", m.NextCursor)
	}
	if !m.Pinned {
		dst = append(dst, `,"query_ms":`...)
		dst = strconv.AppendInt(dst, m.Took.Milliseconds(), 10)
	}
	return append(dst, '}')
}

// AppendJSONString writes any bytes as a JSON string; what is not UTF-8 becomes
// U+FFFD.
func AppendJSONString(dst []byte, text string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
