package limit

import (
	"context"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// Config says how much one key and one advertiser may ask.
type Config struct {
	MaxReports int           `help:"Reports of one advertiser that run at once." default:"4"`
	MaxWaiting int           `help:"Reports of one advertiser that wait for those; more are answered 429." default:"64"`
	MaxWait    time.Duration `help:"How long a report waits before it is answered 429." default:"5s"`
	Rate       float64       `help:"Requests a second of one key; 0 for any number." default:"2000"`
	CostRate   float64       `help:"Cost a second that one key may spend, in days times the weight of what is asked; 0 for any." default:"500000"`
	MaxCost    float64       `help:"Cost of one report at most; 0 for any." default:"250000"`
}

// Refusal is why a request is not served now.
type Refusal struct {
	// Code names the limit, Detail explains it.
	Code, Detail string
	// RetryAfter is when it may be served.
	RetryAfter time.Duration
}

// burst is how many seconds' worth a key may ask at once.
const burst = 4

// maxKeys bounds how many keys are remembered; a forgotten one begins anew.
const maxKeys = 16384

// Limiter is safe for concurrent use.
type Limiter struct {
	cfg  Config
	keys *lru.Cache[string, *budget]

	mu      sync.Mutex
	tenants map[uint64]*share
	running int
}

type budget struct{ requests, cost *rate.Limiter }

// share is what one advertiser has running and waiting.
type share struct {
	slots   chan struct{}
	holders int
}

// New returns a Limiter.
func New(cfg Config) *Limiter {
	keys, err := lru.New[string, *budget](maxKeys)
	if err != nil {
		panic("BUG: a cache of positive size: " + err.Error())
	}
	return &Limiter{cfg: cfg, keys: keys, tenants: map[uint64]*share{}}
}

// Running is how many reports run.
func (l *Limiter) Running() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running
}

// Ask takes one request from a key's rate.
func (l *Limiter) Ask(key string) *Refusal {
	if l.cfg.Rate <= 0 {
		return nil
	}
	if wait := take(l.budget(key).requests, 1); wait > 0 {
		return &Refusal{"rate_limited", "This key asks too often.", wait}
	}
	return nil
}

// Spend takes the cost of a report from a key's budget.
func (l *Limiter) Spend(key string, cost float64) *Refusal {
	if l.cfg.CostRate <= 0 {
		return nil
	}
	if wait := take(l.budget(key).cost, max(1, int(cost))); wait > 0 {
		return &Refusal{"budget_spent", "The reports of this key ask for too much in too short a time; ask for fewer days or dimensions at once.", wait}
	}
	return nil
}

// take returns how long to wait for n, or 0 if they were taken.
func take(r *rate.Limiter, n int) time.Duration {
	n = min(n, r.Burst())
	now := time.Now()
	reserved := r.ReserveN(now, n)
	wait := reserved.DelayFrom(now)
	if wait > 0 {
		reserved.CancelAt(now)
	}
	return wait
}

func (l *Limiter) budget(key string) *budget {
	if b, ok := l.keys.Get(key); ok {
		return b
	}
	b := &budget{
		requests: rate.NewLimiter(rate.Limit(l.cfg.Rate), max(1, int(l.cfg.Rate*burst))),
		cost:     rate.NewLimiter(rate.Limit(l.cfg.CostRate), max(1, int(max(l.cfg.CostRate*burst, l.cfg.MaxCost)))),
	}
	if known, there, _ := l.keys.PeekOrAdd(key, b); there {
		return known
	}
	return b
}

var errBusy = &Refusal{"too_many_reports", "Too many reports of this advertiser are running.", time.Second}

// Enter waits for the advertiser's turn. Without a refusal or an error, leave
// must be called.
func (l *Limiter) Enter(ctx context.Context, tenant uint64) (leave func(), refusal *Refusal, err error) {
	s := l.hold(tenant)
	if s == nil {
		return nil, errBusy, nil
	}
	select {
	case s.slots <- struct{}{}:
		return l.entered(tenant, s), nil, nil
	default:
	}
	timer := time.NewTimer(l.cfg.MaxWait)
	defer timer.Stop()
	select {
	case s.slots <- struct{}{}:
		return l.entered(tenant, s), nil, nil
	case <-timer.C:
		l.release(tenant, s)
		return nil, errBusy, nil
	case <-ctx.Done():
		l.release(tenant, s)
		return nil, nil, ctx.Err()
	}
}

func (l *Limiter) entered(tenant uint64, s *share) func() {
	l.mu.Lock()
	l.running++
	l.mu.Unlock()
	return func() {
		<-s.slots
		l.mu.Lock()
		l.running--
		l.mu.Unlock()
		l.release(tenant, s)
	}
}

// hold counts one more report of an advertiser, or returns nil if there are
// enough.
func (l *Limiter) hold(tenant uint64) *share {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.tenants[tenant]
	if !ok {
		s = &share{slots: make(chan struct{}, l.cfg.MaxReports)}
		l.tenants[tenant] = s
	}
	if s.holders >= l.cfg.MaxReports+l.cfg.MaxWaiting {
		return nil
	}
	s.holders++
	return s
}

func (l *Limiter) release(tenant uint64, s *share) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.holders--
	if s.holders == 0 {
		delete(l.tenants, tenant)
	}
}
