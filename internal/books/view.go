package books

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
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

	// Dropped is what the ledger no longer keeps of it.
	Dropped Dropped

	// rest is the rows of Rest, if somebody looked.
	rest *rest
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
	var topics []Topic
	var cut *Cut
	g, both := errgroup.WithContext(ctx)
	g.Go(func() (err error) { topics, err = r.Topics(both); return err })
	g.Go(func() (err error) { cut, err = r.Newest(both); return err })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	tail, err := r.Tail(ctx, topics, cut.Vector, Limit{})
	if err != nil {
		return nil, err
	}
	dropped, err := r.lately(ctx)
	if err != nil {
		return nil, err
	}
	v := &View{
		Name: nameOf(cut.Number, topics, tail), Cut: cut.Number, To: tail.To, Topic: last(topics),
		Deltas: cut.Cover, Rest: tail.Slice, RestRows: tail.Rows, Dropped: dropped,
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
	newest, err := r.Newest(ctx)
	if err != nil {
		return nil, err
	}
	if len(tail.Gaps) > 0 || !tail.To.reaches(newest.Vector) {
		return nil, ErrGone // the tiles that a later cut has are not there
	}
	return nil, ErrNoView
}

// reaches says that the vector counts all that another counts.
func (v Vector) reaches(other Vector) bool {
	next := make(map[PartitionID]uint64, len(v))
	for i := range v {
		next[PartitionID{v[i].log(), v[i].Partition}] = v[i].Next
	}
	for i := range other {
		if next[PartitionID{other[i].log(), other[i].Partition}] < other[i].Next {
			return false
		}
	}
	return true
}

// assemble finds what adds up to the view, which is of the given cut: the cover
// of that cut while it is kept; afterwards that of an earlier cut which is kept
// longer, or what the newest cover has up to it, whichever is nearer.
func (r *Reader) assemble(ctx context.Context, v *View, from *Cut, topics []Topic) error {
	newest, err := r.Newest(ctx)
	if err != nil {
		return err
	}
	if !v.To.begins(newest.Vector) {
		return ErrGone
	}
	if v.Dropped, err = r.lately(ctx); err != nil {
		return err
	}
	deltas := from.Cover
	if from.kept == 0 {
		if from, deltas, err = r.base(ctx, v.Cut, newest); err != nil {
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
	if tail.Rows > 0 && v.Dropped.Of(&tail.Slice) {
		return r.Gone(ctx, &v.Dropped)
	}
	v.Deltas, v.Rest, v.RestRows = deltas, tail.Slice, tail.Rows
	return nil
}

// base returns the cut nearest before a version from which it can be put
// together, and its deltas.
func (r *Reader) base(ctx context.Context, number uint64, newest *Cut) (*Cut, Cover, error) {
	deltas, end := newest.Cover.Upto(number)
	kept, err := r.keptUpto(ctx, number)
	if err != nil {
		return nil, nil, err
	}
	if kept != nil && kept.Number > end {
		return kept, kept.Cover, nil
	}
	cut, err := r.Cut(ctx, end)
	return cut, deltas, err
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

// signLen is how many bytes stand for a topic generation in a name.
const signLen = 4

// sign stands for a topic generation in names. It does not depend on others, of
// which there may be more tomorrow.
func (l log) sign() [signLen]byte {
	hash := sha256.Sum256(binary.BigEndian.AppendUint32(l.topic[:], l.lineage))
	return [signLen]byte(hash[:signLen])
}

// encodeTiles writes how many tiles each partition has: for each topic generation
// that has any its sign, and runs of partitions that have equally many. It counts
// tiles and not offsets, which would tell every tenant how much traffic there is.
func encodeTiles(topics []Topic, tail *Tail) string {
	var parts []string
	for i := range topics {
		l := topics[i].log()
		counts := make([]uint64, topics[i].Partitions)
		for p := range counts {
			counts[p] = tail.Tiles[PartitionID{l, int32(p)}]
		}
		if !slices.ContainsFunc(counts, func(n uint64) bool { return n > 0 }) {
			continue
		}
		sign := l.sign()
		parts = append(parts, string(appendRuns(sign[:], counts)))
	}
	slices.Sort(parts)
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(parts, "")))
}

// appendRuns writes how many runs there are, and of each how long and of which
// count.
func appendRuns(dst []byte, counts []uint64) []byte {
	var runs []byte
	n := uint64(0)
	for len(counts) > 0 {
		run := 1
		for run < len(counts) && counts[run] == counts[0] {
			run++
		}
		runs = binary.AppendUvarint(binary.AppendUvarint(runs, uint64(run)), counts[0])
		counts = counts[run:]
		n++
	}
	return append(binary.AppendUvarint(dst, n), runs...)
}

// parseTiles reads what encodeTiles writes. The caller compares with what is
// written again, so only one spelling passes.
func parseTiles(text string, topics []Topic) (map[log][]uint64, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, false
	}
	signs := make(map[[signLen]byte]*Topic, len(topics))
	tiles := make(map[log][]uint64, len(topics))
	for i := range topics {
		signs[topics[i].log().sign()] = &topics[i]
		tiles[topics[i].log()] = nil
	}
	for len(raw) > 0 {
		if len(raw) < signLen {
			return nil, false
		}
		topic := signs[[signLen]byte(raw)]
		if topic == nil {
			return nil, false
		}
		counts, rest, ok := parseRuns(raw[signLen:], topic.Partitions)
		if !ok {
			return nil, false
		}
		tiles[topic.log()], raw = counts, rest
	}
	return tiles, true
}

func parseRuns(raw []byte, partitions uint32) (counts []uint64, rest []byte, ok bool) {
	number := func() uint64 {
		n, size := binary.Uvarint(raw)
		if size <= 0 || n > math.MaxInt64 {
			raw = nil
			return math.MaxInt64
		}
		raw = raw[size:]
		return n
	}
	for range min(number(), uint64(partitions)+1) {
		run, count := number(), number()
		if run == 0 || run > uint64(partitions)-uint64(len(counts)) || count == math.MaxInt64 {
			return nil, nil, false
		}
		for range run {
			counts = append(counts, count)
		}
	}
	return counts, raw, len(counts) == int(partitions)
}

// CompleteThrough is a broker time less how far the brokers' clocks may differ.
func CompleteThrough(reached time.Time, skew time.Duration) time.Time {
	if reached.IsZero() {
		return time.Time{}
	}
	return reached.Add(-skew).Truncate(time.Second)
}
