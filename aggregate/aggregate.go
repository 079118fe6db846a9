package aggregate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/adtally/adtally/aggregate/window"
)

// Rules are the settings that decide verdicts. Changing one changes verdicts
// from the next record on.
type Rules struct {
	Horizon     time.Duration `help:"How long an event id is remembered: a repeat within it is a duplicate. Must exceed every client's and the spool's retry age." default:"6h"`
	DoubleClick time.Duration `help:"Time within which a further click on one impression is a duplicate." default:"2s"`
	MaxClicks   int           `help:"Clicks on one impression within the horizon beyond which they are flagged as invalid (click_cap)." default:"10"`
	JoinWindow  time.Duration `help:"How long a click waits for its impression before it counts as an orphan, in gross and not in net; at most the horizon." default:"15m"`
	MaxTuples   int           `help:"Distinct dimensions of one advertiser in one hour and partition beyond which new ones are booked, and billed, under __other__." default:"100000"`
}

// Window is the rules as the core takes them.
func (r Rules) Window() window.Config {
	return window.Config{Horizon: r.Horizon, DoubleClick: r.DoubleClick, MaxClicks: r.MaxClicks, JoinWindow: r.JoinWindow, MaxTuples: r.MaxTuples}
}

// Config are the settings of the aggregate role.
type Config struct {
	Group          string        `help:"Consumer group; every instance that counts the topic is in it." default:"adtally-aggregate"`
	InstanceID     string        `help:"Name of this instance in the group, unique and stable, so that a restart keeps its partitions; empty for none."`
	SessionTimeout time.Duration `help:"Time after which the partitions of a silent instance go to others." default:"10s"`
	Rules
	FlushInterval    time.Duration `help:"Time within which what was read is in the ledger: the time between two blocks, less what writing one takes." default:"500ms"`
	TickInterval     time.Duration `help:"Idle time after which a partition's time is moved on by a tick record." default:"1s"`
	MaxRows          int           `help:"Ledger rows of one partition at which a flush starts early." default:"50000"`
	MaxEvents        int           `help:"Events of one partition at which a flush starts early." default:"1000000"`
	MaxFlushInterval time.Duration `help:"Time between two blocks when the ledger is slow or takes none; it widens up to this by itself." default:"10s"`
	CheckInterval    time.Duration `help:"Time between two looks at the topic and at the marks in the ledger." default:"1m"`
	MaxQueued        int           `help:"Fetched records of one partition at which fetching pauses." default:"50000"`

	// Sole says that an earlier instance of the group is certainly dead.
	Sole bool `kong:"-"`
	// Landed, if it is set, is called after each block that is in the ledger.
	Landed func() `kong:"-"`
}

// Validate says which setting cannot be.
func (c Config) Validate() error {
	if err := c.Window().Validate(); err != nil {
		return err
	}
	switch {
	case c.FlushInterval < time.Millisecond || c.TickInterval < time.Millisecond:
		return errors.New("flush and tick interval: must be at least 1ms")
	case c.SessionTimeout < 100*time.Millisecond || c.CheckInterval < time.Millisecond:
		return errors.New("session timeout: must be at least 100ms, and check interval at least 1ms")
	case c.MaxRows < 1 || c.MaxRows > maxBlockRows:
		return fmt.Errorf("max rows: must be 1 to %d", maxBlockRows)
	case c.MaxEvents < 1 || c.MaxQueued < 1:
		return errors.New("max events and max queued: must be at least 1")
	default:
		return nil
	}
}

// commitTimeout bounds a commit of offsets, which only lag graphs read.
const commitTimeout = 100 * time.Millisecond

// maxPoll bounds the records of one poll, so that rebalances never wait long.
const maxPoll = 20_000

// Aggregator counts the topic into the ledger. New is inert; Run does the work.
type Aggregator struct {
	cfg    Config
	topic  Topic
	store  Store
	owners Owners
	opts   []kgo.Opt
	log    zerolog.Logger
	count  *counters

	client *kgo.Client
	// started is closed once client is set: the group may be joined before
	// kgo.NewClient returns.
	started chan struct{}
	flush   *flusher
	lease   *lease
	rejects *rejects
	uniques *uniques
	cancel  context.CancelCauseFunc

	// again are partitions that must be taken anew.
	again chan *partition

	mu     sync.Mutex
	parts  map[int32]*partition
	opened bool
}

// New returns an aggregator of the topic t that connects with opts (brokers,
// security) and counts into books.
func New(cfg Config, t Topic, books Books, opts []kgo.Opt, log zerolog.Logger, set *metrics.Set) (*Aggregator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	a := &Aggregator{
		cfg: cfg, topic: t, store: books, owners: books, opts: opts, log: log,
		count: newCounters(set),
		parts: make(map[int32]*partition), again: make(chan *partition, 1), started: make(chan struct{}),
	}
	a.uniques = newUniques(books, log, set)
	set.NewGauge("adtally_aggregate_partitions", func() float64 { return float64(len(a.owned())) })
	return a, nil
}

// Run counts until ctx is done, then writes what it holds and leaves the group.
// An error means that the ledger and the log do not agree, and says what to do;
// servers that are away are waited for.
func (a *Aggregator) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a.cancel = cancel
	if need := a.cfg.Window().Lookback(); a.topic.Retention > 0 && a.topic.Retention < need {
		return refuse("topic %s keeps events for %s, but verdicts look back on %s: repeats would be counted again after a restart; raise retention.ms of the topic to that and the longest outage, or lower --aggregate-horizon",
			a.topic.Name, a.topic.Retention, need)
	}
	if err := a.openTopic(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	a.flush = &flusher{
		cfg: a.cfg, store: a.store, topic: a.topic,
		owned: a.owned, landed: a.commitOffsets, fail: a.fail,
		log: a.log, count: a.count,
		fence: func() error { return a.lease.hold() },
		pace:  newPace(a.cfg),
		early: make(chan struct{}, 1),
		now:   make(chan chan struct{}),
		stop:  make(chan struct{}), done: make(chan struct{}),
		lost: make(map[*partition]struct{}),
	}
	var err error
	if a.rejects, err = newRejects(a.topic.Name, a.opts, a.log, a.count.set); err != nil {
		return err
	}
	defer a.rejects.close()
	client, err := kgo.NewClient(append(a.groupOptions(), a.opts...)...)
	if err != nil {
		return fmt.Errorf("make Kafka client: %w", err)
	}
	a.client, a.lease = client, newLease(a.cfg, client)
	close(a.started)
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { a.lease.run(beside) })
	wg.Go(func() { a.watch(beside) })
	wg.Go(func() { a.uniques.run(beside) })
	go a.flush.run()
	a.poll(ctx)
	client.CloseAllowingRebalance() // revokes: flushes and drops every partition
	close(a.flush.stop)
	<-a.flush.done
	stop()
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Ready tells whether everything that is owned is being counted; the error says
// what is waited for.
func (a *Aggregator) Ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !a.opened:
		return errors.New("aggregate: waiting for the ledger")
	case len(a.parts) == 0:
		return errors.New("aggregate: waiting for partitions")
	}
	rebuilding := 0
	for _, p := range a.parts {
		if p.rebuilding.Load() {
			rebuilding++
		}
	}
	if rebuilding > 0 {
		return fmt.Errorf("aggregate: reading the last %s of the log again, %d of %d partitions left", a.cfg.Horizon, rebuilding, len(a.parts))
	}
	return nil
}

// openTopic waits for the ledger and records or checks the topic there.
func (a *Aggregator) openTopic(ctx context.Context) error {
	for {
		t, err := a.store.OpenTopic(ctx, a.topic)
		switch {
		case err == nil:
			a.topic = t
			a.mu.Lock()
			a.opened = true
			a.mu.Unlock()
			return nil
		case t.Lineage > 0, errors.Is(err, errServer):
			return err // the ledger answered, and cannot count this topic
		}
		a.log.Warn().Err(err).Msg("ledger does not answer yet")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func (a *Aggregator) groupOptions() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ConsumerGroup(a.cfg.Group),
		kgo.ConsumeTopics(a.topic.Name),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(a.cfg.SessionTimeout),
		kgo.HeartbeatInterval(a.cfg.SessionTimeout / 5),
		kgo.RebalanceTimeout(2 * insertTimeout),
		kgo.BlockRebalanceOnPoll(),
		kgo.DisableAutoCommit(),
		// Starting anywhere but at the position would skip or repeat events.
		kgo.ConsumeStartOffset(kgo.NoResetOffset()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.AdjustFetchOffsetsFn(a.assign),
		kgo.OnPartitionsRevoked(a.revoked),
		kgo.OnPartitionsLost(a.lost),
		kgo.FetchMaxWait(250 * time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), // ticks
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(4096),
	}
	if a.cfg.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(a.cfg.InstanceID))
	}
	return opts
}

// poll hands records to their partitions until ctx is done. It never blocks on
// a partition.
func (a *Aggregator) poll(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := a.client.PollRecords(ctx, maxPoll)
		fetches.EachError(a.fetchError)
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if p := a.part(f.Partition); p != nil && len(f.Records) > 0 {
				a.hand(p, f.Records)
			}
		})
		select {
		case p := <-a.again:
			a.retake(ctx, p)
		default:
		}
		a.client.AllowRebalance()
	}
}

func (a *Aggregator) hand(p *partition, recs []*kgo.Record) {
	p.queue.push(recs)
	p.regulate()
}

// fetchError stops the program where going on would skip events, and logs the
// rest, which the client retries.
func (a *Aggregator) fetchError(topic string, partition int32, err error) {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed):
		return
	case isDataLoss(err):
		a.fail(fmt.Errorf("partition %d of %s: the log no longer holds the offset that must be counted next: %w; restore the topic, or start a new generation of it", partition, topic, err))
	default:
		a.log.Warn().Err(err).Str("topic", topic).Int32("partition", partition).Msg("fetch failed")
	}
}

// fail ends Run with err.
func (a *Aggregator) fail(err error) {
	a.log.Error().Err(err).Msg("counting stops")
	a.cancel(err)
}

func (a *Aggregator) part(id int32) *partition {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.parts[id]
}

func (a *Aggregator) owned() []*partition {
	a.mu.Lock()
	defer a.mu.Unlock()
	parts := make([]*partition, 0, len(a.parts))
	for id := range a.topic.Partitions {
		if p := a.parts[id]; p != nil {
			parts = append(parts, p)
		}
	}
	return parts
}

// revoked writes what the partitions hold and lets go of them.
func (a *Aggregator) revoked(ctx context.Context, _ *kgo.Client, revoked map[string][]int32) {
	flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), insertTimeout)
	a.flush.flushNow(flushing)
	cancel()
	a.release(a.letGo(revoked))
}

// lost lets go of partitions without writing: somebody else may own them.
func (a *Aggregator) lost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	a.letGo(lost)
}

// letGo drops partitions; nothing of theirs is sent afterwards.
func (a *Aggregator) letGo(lost map[string][]int32) []*partition {
	var parts []*partition
	a.mu.Lock()
	for _, id := range lost[a.topic.Name] {
		if p := a.parts[id]; p != nil {
			parts = append(parts, p)
			delete(a.parts, id)
		}
	}
	a.mu.Unlock()
	a.flush.drop(parts)
	for _, p := range parts {
		p.stop()
	}
	if len(parts) > 0 {
		a.log.Info().Int("partitions", len(parts)).Msg("partitions given up")
	}
	return parts
}

// commitOffsets tells Kafka what is counted, for lag graphs only.
func (a *Aggregator) commitOffsets(spans []*Span) {
	offsets := make(map[int32]kgo.EpochOffset, len(spans))
	for _, s := range spans {
		offsets[s.Partition] = kgo.EpochOffset{Epoch: s.Epoch, Offset: s.End}
	}
	// A rebalance may hold the commit up; the ledger must not wait for it.
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	a.client.CommitOffsets(ctx, map[string]map[int32]kgo.EpochOffset{a.topic.Name: offsets},
		func(*kgo.Client, *kmsg.OffsetCommitRequest, *kmsg.OffsetCommitResponse, error) { cancel() })
}

// start makes the owner of a partition that is counted from pos and read from
// start on.
func (a *Aggregator) start(id int32, pos Position, start int64) *partition {
	p := &partition{
		id: id, cfg: a.cfg, queue: newQueue(),
		seal: make(chan chan *Span), free: make(chan *Span, 2),
		quit: make(chan struct{}), done: make(chan struct{}),
		full: a.flush.hurry, fail: a.fail,
		log: a.log.With().Int32("partition", id).Logger(), count: a.count,
		rejects: a.rejects, users: a.uniques.add,
		next: start, countFrom: pos.Next, counted: pos.Counted,
		usersFrom: pos.LAT - usersAgain.Milliseconds(),
	}
	p.told = p.log.Sample(&zerolog.BurstSampler{Burst: 3, Period: 10 * time.Second})
	p.state = window.NewState(a.cfg.Window(), p)
	itself := map[string][]int32{a.topic.Name: {id}}
	p.pause = func() { a.client.PauseFetchPartitions(itself) }
	p.resume = func() { a.client.ResumeFetchPartitions(itself) }
	p.resume() // the client remembers a pause from an earlier ownership
	p.tick = a.ticker(id)
	p.rebuilding.Store(start < pos.Next)
	go p.run()
	return p
}
