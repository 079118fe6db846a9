package jobs

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
)

// Config says where jobs live and how much they may take.
type Config struct {
	Dir      string        `help:"Directory of report jobs and their results, of this instance alone; none means that jobs are refused." type:"path"`
	MaxBytes int64         `help:"Bytes of one result at most." default:"4294967296"`
	Timeout  time.Duration `help:"Time allowed for one job." default:"10m"`
	Keep     time.Duration `help:"How long a job is kept after it ended." default:"24h"`
	Workers  int           `help:"Jobs that run at once." default:"1"`
	MaxOpen  int           `help:"Jobs of one advertiser that wait or run; more are answered 429." default:"20"`
}

// Errors of Submit and Get.
var (
	// ErrConflict says that the idempotency key was used for another request.
	ErrConflict = errors.New("the idempotency key was used for another request")
	// ErrTooMany says that the advertiser has enough jobs open.
	ErrTooMany = errors.New("too many jobs are open")
	// ErrNotFound says that the tenant has no such job.
	ErrNotFound = errors.New("there is no such job")
	// ErrNotReady says that the jobs on disk were not read yet.
	ErrNotReady = errors.New("jobs are not read yet")
	// ErrTooLarge says that a result is larger than one may be.
	ErrTooLarge = errors.New("the result is larger than allowed")
)

// Outcome is how a run of a job ended without an error that another try may cure.
type Outcome struct {
	// Rows is the size of the result.
	Rows int
	// Failure is why there is none, as the client will see it; nil if there is one.
	Failure json.RawMessage
}

// Runner writes the result of a job. An error is tried again.
type Runner func(ctx context.Context, j Job, w io.Writer) (Outcome, error)

// maxAttempts bounds how often a job is begun, restarts included.
const maxAttempts = 5

// Manager keeps and runs jobs. It is safe for concurrent use.
type Manager struct {
	cfg  Config
	disk disk
	run  Runner
	log  zerolog.Logger

	mu    sync.Mutex
	ready bool
	jobs  map[string]*Job
	// queue holds the jobs that wait, in the order in which they came.
	queue []string
	// turns says when a job of each tenant was last begun, counted in jobs.
	turns map[uint64]uint64
	begun uint64
	wake  chan struct{}

	done, failed, retried *metrics.Counter
}

// New returns a Manager that knows nothing until Run has read the directory.
func New(cfg Config, run Runner, log zerolog.Logger, set *metrics.Set) *Manager {
	return &Manager{
		cfg: cfg, disk: disk{cfg.Dir}, run: run, log: log,
		jobs: map[string]*Job{}, turns: map[uint64]uint64{}, wake: make(chan struct{}, 1),
		done:    set.NewCounter("adtally_query_jobs_done_total"),
		failed:  set.NewCounter("adtally_query_jobs_failed_total"),
		retried: set.NewCounter("adtally_query_jobs_retried_total"),
	}
}

// Run runs jobs until ctx is done. A job that runs then is begun again at the next
// start.
func (m *Manager) Run(ctx context.Context) error {
	if err := m.restore(); err != nil {
		return err
	}
	var workers sync.WaitGroup
	for range max(1, m.cfg.Workers) {
		workers.Go(func() { m.work(ctx) })
	}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		m.expire(time.Now())
		select {
		case <-ctx.Done():
			workers.Wait()
			return nil
		case <-tick.C:
		}
	}
}

func (m *Manager) restore() error {
	list, err := m.disk.load()
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b *Job) int { return a.Created.Compare(b.Created) })
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, j := range list {
		m.jobs[j.ID] = j
		if !j.ended() {
			j.State = Queued
			m.queue = append(m.queue, j.ID)
		}
	}
	m.ready = true
	m.kick()
	return nil
}

// kick wakes a worker, if one sleeps.
func (m *Manager) kick() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Submit takes a job; it is on disk when Submit returns. With an idempotency key
// that was used before it returns that job, if the request is the same.
func (m *Manager) Submit(tenant uint64, idempotencyKey, format string, request json.RawMessage) (Job, error) {
	id := newID(tenant, idempotencyKey)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ready {
		return Job{}, ErrNotReady
	}
	if known, ok := m.jobs[id]; ok {
		if !known.sameRequest(request, format) {
			return Job{}, ErrConflict
		}
		return *known, nil
	}
	open := 0
	for _, j := range m.jobs {
		if j.Tenant == tenant && !j.ended() {
			open++
		}
	}
	if open >= m.cfg.MaxOpen {
		return Job{}, ErrTooMany
	}
	j := &Job{ID: id, Tenant: tenant, State: Queued, Format: format, Request: request, Created: time.Now().UTC()}
	if err := m.disk.put(j); err != nil {
		return Job{}, err
	}
	m.jobs[id] = j
	m.queue = append(m.queue, id)
	m.kick()
	return *j, nil
}

// Get returns a tenant's job.
func (m *Manager) Get(tenant uint64, id string) (Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ready {
		return Job{}, ErrNotReady
	}
	j, ok := m.jobs[id]
	if !ok || j.Tenant != tenant {
		return Job{}, ErrNotFound
	}
	return *j, nil
}

// Open opens the result of a job that is done; the caller closes it.
func (m *Manager) Open(j *Job) (*os.File, error) {
	f, err := os.Open(m.disk.result(j.ID))
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotFound
	}
	return f, err
}

func (m *Manager) work(ctx context.Context) {
	for {
		j, ok := m.next()
		if ok {
			m.attempt(ctx, j)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// next takes the oldest job of the tenant that has waited for a turn longest, so
// that many jobs of one tenant hold no other up.
func (m *Manager) next() (Job, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		return Job{}, false
	}
	first := 0
	for i, id := range m.queue {
		if m.turns[m.jobs[id].Tenant] < m.turns[m.jobs[m.queue[first]].Tenant] {
			first = i
		}
	}
	j := m.jobs[m.queue[first]]
	m.queue = slices.Delete(m.queue, first, first+1)
	m.begun++
	m.turns[j.Tenant] = m.begun
	if len(m.queue) == 0 {
		clear(m.turns) // nobody waits, so nobody is owed a turn
		m.turns[j.Tenant] = m.begun
	} else {
		m.kick()
	}
	j.State = Running
	j.Attempts++
	return *j, true
}

// retryAfter is how long a worker rests after an error.
const retryAfter = time.Second

func (m *Manager) attempt(ctx context.Context, j Job) {
	err := m.disk.put(&j) // a job that ends the process is not begun for ever
	if err == nil && j.Attempts <= maxAttempts {
		err = m.produce(ctx, &j)
	}
	switch {
	case ctx.Err() != nil:
		j.State, j.Attempts = Queued, j.Attempts-1
		_ = m.disk.put(&j) // otherwise it is begun again with one attempt less
		m.keep(&j)
		return
	case err == nil && j.Attempts <= maxAttempts:
	case errors.Is(err, ErrTooLarge):
		j.fail("result_too_large", fmt.Sprintf("The result has more than %d bytes; ask for less at once.", m.cfg.MaxBytes))
	case j.Attempts < maxAttempts:
		m.retried.Inc()
		m.log.Warn().Err(err).Str("job", j.ID).Int("attempt", j.Attempts).Msg("report job is tried again")
		m.rest(ctx, &j)
		return
	default:
		m.log.Error().Err(err).Str("job", j.ID).Msg("report job failed")
		j.fail("job_failed", fmt.Sprintf("The job did not end in %d attempts; its id finds the reason.", maxAttempts))
	}
	j.Finished = time.Now().UTC()
	j.Expires = j.Finished.Add(m.cfg.Keep)
	if j.State == Done {
		m.done.Inc()
	} else {
		m.failed.Inc()
	}
	if err := m.disk.put(&j); err != nil {
		m.log.Error().Err(err).Str("job", j.ID).Msg("report job cannot be recorded")
		m.rest(ctx, &j)
		return
	}
	m.keep(&j)
}

func (j *Job) fail(code, detail string) {
	j.State = Failed
	j.Failure, _ = json.Marshal(map[string]string{"code": code, "detail": detail}) // texts are always JSON
}

// keep makes the new state of a job known.
func (m *Manager) keep(j *Job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*m.jobs[j.ID] = *j
}

// rest puts a job back at the end of the queue after a while.
func (m *Manager) rest(ctx context.Context, j *Job) {
	j.State, j.Finished, j.Expires = Queued, time.Time{}, time.Time{}
	select {
	case <-ctx.Done():
	case <-time.After(retryAfter):
	}
	m.keep(j)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = append(m.queue, j.ID)
	m.kick()
}

// produce writes the result of a job and gives it its name when it is whole.
func (m *Manager) produce(ctx context.Context, j *Job) error {
	part := m.disk.part(j.ID)
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // an id of ours
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	defer func() { _ = os.Remove(part) }() // gone already if all went well
	hash := sha256.New()
	counted := &counter{w: io.MultiWriter(f, hash), most: m.cfg.MaxBytes}
	buffered := bufio.NewWriterSize(counted, 1<<20)
	outcome, err := m.run(ctx, *j, buffered)
	if err == nil {
		err = buffered.Flush()
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if outcome.Failure != nil {
		j.State, j.Failure = Failed, outcome.Failure
		return nil
	}
	if err := os.Rename(part, m.disk.result(j.ID)); err != nil {
		return fmt.Errorf("name result: %w", err)
	}
	j.State, j.Rows, j.Bytes, j.SHA256 = Done, outcome.Rows, counted.n, hex.EncodeToString(hash.Sum(nil))
	return nil
}

// counter bounds what is written.
type counter struct {
	w       io.Writer
	n, most int64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	if c.n += int64(len(p)); c.n > c.most {
		return 0, ErrTooLarge
	}
	return c.w.Write(p)
}

// expire removes what was kept long enough.
func (m *Manager) expire(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, j := range m.jobs {
		if !j.ended() || now.Before(j.Expires) {
			continue
		}
		if err := m.disk.remove(id); err != nil {
			m.log.Warn().Err(err).Str("job", id).Msg("expired job cannot be removed")
			continue
		}
		delete(m.jobs, id)
	}
}
