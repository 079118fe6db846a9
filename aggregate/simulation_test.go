package aggregate

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/aggregate/window"
	"github.com/adtally/adtally/internal/testkit/oracle"
)

var (
	simulationSeed  = flag.Uint64("seed", 0, "replay the simulation of this seed only")
	simulationSeeds = flag.Uint64("seeds", 2000, "number of simulations")
)

// TestSimulation drives real partitions and flushers through faults that a seed
// decides on: processes that die at any step or are stopped and go on, answers
// that are lost, inserts that land late, partitions that are handed over, taken
// from a stopped owner or read again. Nothing runs beside it, so a seed that
// fails does so again with -seed. Every span that lands must follow the one
// before and hold exactly what the oracle says of its offsets, and in the end
// every record must be counted.
func TestSimulation(t *testing.T) {
	if *simulationSeed != 0 {
		simulate(t, *simulationSeed)
		return
	}
	for seed := uint64(1); seed <= *simulationSeeds && !t.Failed(); seed++ {
		simulate(t, seed)
	}
}

const (
	simPartitions = 2
	simWorkers    = 3
	simRecords    = 120 // of each partition
)

// world is everything that a simulation has: the topic, the ledger and the
// instances.
type world struct {
	t       *testing.T
	seed    uint64
	rand    *rand.Rand
	cfg     Config
	log     [simPartitions][]window.Record
	written [simPartitions]int // records of the log that are in the topic
	ledger  *simLedger
	workers [simWorkers]*worker
	// owner is whom the group has given each partition to.
	owner [simPartitions]*worker
	calm  bool // no more faults
	depth int  // of steps within an insert
	count *counters
}

func simulate(t *testing.T, seed uint64) {
	t.Helper()
	w := &world{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 99)), count: newCounters(metrics.NewSet())}
	rules := oracle.RandomConfig(w.rand)
	w.cfg = Config{
		Rules:         Rules{Horizon: rules.Horizon, DoubleClick: rules.DoubleClick, MaxClicks: rules.MaxClicks, JoinWindow: rules.JoinWindow, MaxTuples: rules.MaxTuples},
		FlushInterval: time.Second, TickInterval: time.Second, MaxRows: 40, MaxEvents: 60, MaxQueued: 100,
	}
	w.ledger = &simLedger{world: w}
	for p := range w.log {
		log := oracle.RandomLog(w.rand, simRecords, rules)
		w.log[p] = oracle.Encode(log)
		w.ledger.want[p] = oracle.Judge(rules, log)
	}
	for i := range w.workers {
		w.workers[i] = w.newWorker(i)
	}
	for range 600 {
		w.step()
	}
	w.finish()
}

func (w *world) failf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nreplay it with: go test ./aggregate -run TestSimulation -seed %d", fmt.Sprintf(format, args...), w.seed)
}

// chance is true once in n times, and never when the world is calm.
func (w *world) chance(n int) bool { return !w.calm && w.rand.IntN(n) == 0 }

// fault decides how an insert ends.
func (w *world) fault() fault {
	if w.calm || w.rand.IntN(8) > 2 {
		return works
	}
	return []fault{loses, storesButNoAnswer, unknown}[w.rand.IntN(3)]
}

// step lets one thing happen.
func (w *world) step() {
	p, wk := w.rand.IntN(simPartitions), w.workers[w.rand.IntN(simWorkers)]
	switch n := w.rand.IntN(100); {
	case n < 25:
		w.written[p] = min(w.written[p]+1+w.rand.IntN(12), simRecords)
	case n < 60:
		wk.poll()
	case n < 90:
		wk.write()
	case n < 93:
		w.handOver(p, wk)
	case n < 96:
		w.takeFrom(p, wk)
	case n < 98:
		w.crash(wk)
	default:
		w.ledger.landLate()
	}
}

// finish lets everything come to rest and checks that every record is counted.
func (w *world) finish() {
	w.calm = true
	for p := range w.written {
		w.written[p] = simRecords
	}
	w.ledger.landLate()
	for _, wk := range w.workers { // everybody who was stopped goes on, and finds out
		for range 4 * len(wk.blocks) {
			wk.write()
		}
	}
	for p := range w.owner {
		if w.owner[p] == nil || w.owner[p].over() || w.owner[p].expired {
			w.takeFrom(p, w.newWorker(simWorkers+p))
		}
		for range 200 {
			w.owner[p].poll()
			w.owner[p].write()
		}
		if end := w.ledger.end(int32(p)); end != simRecords {
			w.failf("partition %d is counted up to %d of %d", p, end, simRecords)
		}
	}
}

// crash ends a process. What it had sent may still land.
func (w *world) crash(wk *worker) {
	for p := range w.owner {
		if w.owner[p] == wk {
			w.owner[p] = nil
		}
	}
	wk.dead = true
	wk.expired = true
	w.workers[wk.number] = w.newWorker(wk.number)
}

// handOver gives a partition to another instance in good order.
func (w *world) handOver(p int, to *worker) {
	from := w.owner[p]
	if from == to || to.over() || to.expired {
		return
	}
	if from == nil || from.expired {
		w.takeFrom(p, to)
		return
	}
	if from.inserting || to.inserting {
		return // a rebalance waits for the attempt in flight
	}
	for range w.rand.IntN(4) { // revoked: flush what there is time for
		from.write()
	}
	if w.owner[p] != from { // somebody found out that it is no owner
		return
	}
	from.letGo(p)
	w.takeFrom(p, to)
}

// takeFrom gives a partition to an instance whatever its last owner does. One
// that is stopped keeps what it has and may go on; its lease has run out.
func (w *world) takeFrom(p int, to *worker) {
	if w.owner[p] == to || to.over() || to.expired {
		return
	}
	if from := w.owner[p]; from != nil {
		from.expired = true
		for q := range w.owner {
			if w.owner[q] == from {
				w.owner[q] = nil
			}
		}
		w.workers[from.number] = w.newWorker(from.number)
		w.ledger.ghosts = append(w.ledger.ghosts, from)
	}
	w.ledger.endOthers(to)
	w.owner[p] = to
	to.take(int32(p))
}

// worker is an instance.
type worker struct {
	*world
	number int
	flush  *flusher
	parts  [simPartitions]*partition
	// fetched is the next record to fetch of each partition.
	fetched [simPartitions]int
	blocks  [][]held
	try     try
	// expired is set when the group has given up on the instance, dead when its
	// process is gone; inserting while it is within an insert.
	expired, dead, inserting bool
}

func (w *world) newWorker(number int) *worker {
	wk := &worker{world: w, number: number}
	wk.flush = &flusher{
		cfg: w.cfg, store: &simStore{ledger: w.ledger, by: wk}, topic: Topic{Name: "simulated", Partitions: simPartitions},
		landed: func([]*Span) {}, fail: func(error) {}, log: zerolog.Nop(), count: w.count,
		pace: newPace(w.cfg), lost: make(map[*partition]struct{}),
		fence: func() error {
			if wk.expired {
				return errNoLease
			}
			return nil
		},
	}
	return wk
}

func (wk *worker) over() bool { return wk.dead || wk.flush.over.Load() }

// take makes wk the owner of a partition at its position in the ledger.
func (wk *worker) take(id int32) {
	pos := wk.ledger.position(id)
	start := int(pos.Next)
	if pos.Known {
		since := pos.LAT - wk.cfg.Window().Lookback().Milliseconds()
		start = min(start, slices.IndexFunc(wk.log[id], func(r window.Record) bool { return r.LAT >= since }))
	}
	wk.fetched[id] = start
	wk.parts[id] = &partition{
		id: id, cfg: wk.cfg, queue: newQueue(), free: make(chan *Span, 2),
		full: func() {}, pause: func() {}, resume: func() {},
		users: func(*window.Delta) {}, log: zerolog.Nop(), count: wk.count,
		state: window.NewState(wk.cfg.Window(), silent{}),
		next:  int64(start), countFrom: pos.Next, usersFrom: pos.LAT,
	}
}

func (wk *worker) letGo(p int) {
	wk.flush.drop([]*partition{wk.parts[p]})
	wk.parts[p] = nil
	wk.owner[p] = nil
}

// poll fetches some records of a partition and folds them. Some fetches have a
// hole, which must be seen.
func (wk *worker) poll() {
	id := wk.rand.IntN(simPartitions)
	p := wk.parts[id]
	if p == nil || wk.over() || wk.inserting || p.spanFull() {
		return
	}
	end := min(wk.fetched[id]+1+wk.rand.IntN(40), wk.written[id])
	var recs []*kgo.Record
	for o := wk.fetched[id]; o < end; o++ {
		r := wk.log[id][o]
		recs = append(recs, &kgo.Record{Offset: int64(o), Value: r.Value, Timestamp: time.UnixMilli(r.LAT)})
	}
	hole := len(recs) > 2 && wk.chance(60)
	if hole {
		recs = slices.Delete(recs, 1, 2)
	}
	wk.fetched[id] = end
	p.queue.push(recs)
	err := p.fold()
	if (err != nil) != hole {
		wk.failf("a fetch with a hole (%t) is folded with %v", hole, err)
	}
	if hole {
		wk.crash(wk)
	}
}

// write makes one attempt at the block in hand, or seals the next ones.
func (wk *worker) write() {
	if wk.over() || wk.inserting {
		return
	}
	if len(wk.blocks) == 0 {
		wk.seal()
		return
	}
	wk.inserting = true
	done, err := wk.flush.try(&wk.try, &wk.blocks[0])
	wk.inserting = false
	switch {
	case wk.dead: // died within the insert
	case done:
		wk.blocks, wk.try = wk.blocks[1:], try{}
	case errors.Is(err, ErrForeign):
		wk.flush.over.Store(true)
		wk.crash(wk)
	}
}

// seal takes the spans of all partitions, as flusher.flush does.
func (wk *worker) seal() {
	wk.flush.attempt.Lock()
	clear(wk.flush.lost)
	wk.flush.attempt.Unlock()
	var spans []held
	for _, p := range wk.parts {
		if p == nil {
			continue
		}
		if s := p.takeSpan(); s != nil {
			spans = append(spans, held{s, p})
		}
	}
	for len(spans) > 0 {
		n := blockEnd(spans)
		wk.blocks = append(wk.blocks, spans[:n])
		spans = spans[n:]
	}
}

// silent is a window.Reporter that tells nobody: the simulation asserts totals.
type silent struct{}

func (silent) Poison(int, error) {}
func (silent) Synthetic(int)     {}
