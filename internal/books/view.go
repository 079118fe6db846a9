package books

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// View is the books as somebody saw them: a cut, and what had followed it by
// then. It is never changed.
type View struct {
	// Name names the view for good: the number of the cut, and behind a dot the
	// tiles that followed it, if any did.
	Name string
	// Cut is the newest cut of which everything is in the view.
	Cut uint64
	// To is how far the view counts.
	To Vector
	// Topic is the newest topic generation; it has no name before the first.
	Topic Topic
	// Deltas and Rest add up to the view: what is rolled up, and the part of the
	// ledger behind it. Deltas are those of the newest cut when the view was
	// made; after that they are kept for the grace of the compactor.
	Deltas Cover
	Rest   Slice
	// RestRows is how many ledger rows Rest has.
	RestRows uint64
}

// Whole is everything that the view counts, as a slice of the ledger.
func (v *View) Whole() Slice { return Slice{To: v.To} }

// Reached is the broker time up to which everything counts; zero while some
// partition of the newest topic has no position.
func (v *View) Reached() time.Time {
	reached, ok := v.To.Reached(v.Topic)
	if !ok {
		return time.Time{}
	}
	return reached
}

var (
	// ErrNoView says that a text names no view: it was never given out.
	ErrNoView = errors.New("no such version of the books")
	// ErrGone says that a view can no longer be put together: the ledger that it
	// needs is not kept any more.
	ErrGone = errors.New("this version of the books is no longer kept")
)

// Now returns the newest view.
func (r *Reader) Now(ctx context.Context) (*View, error) {
	topics, err := r.Topics(ctx)
	if err != nil {
		return nil, err
	}
	cut, err := r.Newest(ctx)
	if err != nil {
		return nil, err
	}
	tail, err := r.Tail(ctx, topics, cut.Vector, Limit{})
	if err != nil {
		return nil, err
	}
	v := &View{
		Name: nameOf(cut.Number, topics, tail), Cut: cut.Number, To: tail.To, Topic: last(topics),
		Deltas: cut.Cover, Rest: tail.Slice, RestRows: tail.Rows,
	}
	return v, nil
}

// At returns the view of a name, ErrNoView or ErrGone.
func (r *Reader) At(ctx context.Context, name string) (*View, error) {
	number, text, dotted := strings.Cut(name, ".")
	of, err := parseCut(number)
	if err != nil || dotted == (text == "") {
		return nil, ErrNoView
	}
	topics, err := r.Topics(ctx)
	if err != nil {
		return nil, err
	}
	cut, err := r.Cut(ctx, of)
	if errors.Is(err, ErrNoCut) {
		return nil, ErrNoView
	}
	if err != nil {
		return nil, err
	}
	v := &View{Name: name, Cut: of, To: cut.Vector, Topic: last(topics)}
	if dotted {
		if v.To, err = r.behind(ctx, cut, topics, text); err != nil {
			return nil, err
		}
	}
	return v, r.assemble(ctx, v, cut, topics)
}

func last(topics []Topic) Topic {
	if len(topics) == 0 {
		return Topic{}
	}
	return topics[len(topics)-1]
}

// parseCut takes the one spelling that a number has.
func parseCut(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err == nil && strconv.FormatUint(n, 10) != text {
		err = ErrNoView
	}
	return n, err
}

// behind returns the vector that lies so many tiles behind a cut.
func (r *Reader) behind(ctx context.Context, cut *Cut, topics []Topic, text string) (Vector, error) {
	tiles, ok := parseTiles(text, topics)
	if !ok {
		return nil, ErrNoView
	}
	tail, err := r.Tail(ctx, topics, cut.Vector, Limit{tiles: tiles})
	if err != nil {
		return nil, err
	}
	if encodeTiles(topics, tail) == text {
		return tail.To, nil
	}
	if len(tail.Gaps) > 0 {
		return nil, ErrGone
	}
	return nil, ErrNoView
}

// assemble finds what adds up to the view, which is of the given cut: the cover
// of that cut while it is kept, afterwards what the newest cover has up to it.
func (r *Reader) assemble(ctx context.Context, v *View, from *Cut, topics []Topic) error {
	newest, err := r.Newest(ctx)
	if err != nil {
		return err
	}
	if !v.To.begins(newest.Vector) {
		return ErrGone
	}
	deltas := from.Cover
	if from.kept == 0 {
		var end uint64
		deltas, end = newest.Cover.Upto(v.Cut)
		if from, err = r.Cut(ctx, end); err != nil {
			return err
		}
	}
	tail, err := r.Tail(ctx, topics, from.Vector, UpTo(v.To))
	if err != nil {
		return err
	}
	if !sameEnds(tail.To, v.To) {
		return ErrGone
	}
	v.Deltas, v.Rest, v.RestRows = deltas, tail.Slice, tail.Rows
	return nil
}

// begins says that the vector counts each partition from where the other does.
func (v Vector) begins(other Vector) bool {
	first := make(map[PartitionID]uint64, len(other))
	for i := range other {
		first[PartitionID{other[i].log(), other[i].Partition}] = other[i].First
	}
	for i := range v {
		if n, known := first[PartitionID{v[i].log(), v[i].Partition}]; known && n != v[i].First {
			return false
		}
	}
	return true
}

func sameEnds(a, b Vector) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].log() != b[i].log() || a[i].Partition != b[i].Partition || a[i].First != b[i].First || a[i].Next != b[i].Next {
			return false
		}
	}
	return true
}

// nameOf names what a tail ends at.
func nameOf(cut uint64, topics []Topic, tail *Tail) string {
	name := strconv.FormatUint(cut, 10)
	if tail.count() > 0 {
		name += "." + encodeTiles(topics, tail)
	}
	return name
}

// encodeTiles writes how many tiles each partition has, as runs of partitions
// that have equally many. It counts tiles and not offsets, which would tell every
// tenant how much traffic there is.
func encodeTiles(topics []Topic, tail *Tail) string {
	var counts []uint64
	for i := range topics {
		for p := range topics[i].Partitions {
			counts = append(counts, tail.Tiles[PartitionID{topics[i].log(), int32(p)}])
		}
	}
	for len(counts) > 0 && counts[len(counts)-1] == 0 {
		counts = counts[:len(counts)-1]
	}
	var text []byte
	for len(counts) > 0 {
		run := 1
		for run < len(counts) && counts[run] == counts[0] {
			run++
		}
		text = binary.AppendUvarint(binary.AppendUvarint(text, uint64(run)), counts[0])
		counts = counts[run:]
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// parseTiles reads what encodeTiles writes. The caller compares with what is
// written again, so only one spelling passes.
func parseTiles(text string, topics []Topic) (map[log][]uint64, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, false
	}
	partitions := uint64(0)
	for i := range topics {
		partitions += uint64(topics[i].Partitions)
	}
	var counts []uint64
	for len(raw) > 0 {
		run, n := binary.Uvarint(raw)
		if n <= 0 || run > partitions-uint64(len(counts)) {
			return nil, false
		}
		count, m := binary.Uvarint(raw[n:])
		if m <= 0 || count > math.MaxInt64 {
			return nil, false
		}
		for range run {
			counts = append(counts, count)
		}
		raw = raw[n+m:]
	}
	tiles := make(map[log][]uint64, len(topics))
	for i := range topics {
		n := min(int(topics[i].Partitions), len(counts))
		tiles[topics[i].log()] = counts[:n:n]
		counts = counts[n:]
	}
	return tiles, true
}

// CompleteThrough is a broker time less how far the brokers' clocks may differ.
func CompleteThrough(reached time.Time, skew time.Duration) time.Time {
	if reached.IsZero() {
		return time.Time{}
	}
	return reached.Add(-skew).Truncate(time.Second)
}
