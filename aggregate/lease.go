package aggregate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaseWait is how long a block waits for a lease that has run out to be
// renewed before it is given up for now.
const leaseWait = time.Second

// errNoLease means that the group may have given our partitions to others.
var errNoLease = errors.New("the group has not confirmed our membership lately: another instance may own the partitions")

// lease tells whether the group still counts us as a member. The client's own
// heartbeats do not say when the last of them was answered, so the lease sends
// its own. It is counted from the sending of a heartbeat, so it runs out before
// the group can have given our partitions to anybody.
type lease struct {
	group, instance string
	// valid is half the session timeout.
	valid time.Duration
	// member returns our id and generation in the group.
	member func() (id string, generation int32)
	// beat sends a heartbeat.
	beat func(context.Context, *kmsg.HeartbeatRequest) (*kmsg.HeartbeatResponse, error)
	// now asks for a heartbeat at once.
	now chan struct{}

	mu      sync.Mutex
	renewed time.Time
	// change is closed at each renewal.
	change chan struct{}
}

func newLease(cfg Config, client *kgo.Client) *lease {
	return &lease{
		group: cfg.Group, instance: cfg.InstanceID, valid: cfg.SessionTimeout / 2,
		member: client.GroupMetadata,
		beat: func(ctx context.Context, req *kmsg.HeartbeatRequest) (*kmsg.HeartbeatResponse, error) {
			return req.RequestWith(ctx, client)
		},
		now: make(chan struct{}, 1), change: make(chan struct{}),
	}
}

// run renews the lease until ctx is done.
func (l *lease) run(ctx context.Context) {
	every := time.NewTicker(l.valid / 5)
	defer every.Stop()
	for {
		l.renew(ctx)
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		case <-l.now:
		}
	}
}

func (l *lease) renew(ctx context.Context) {
	id, generation := l.member()
	if id == "" || generation < 0 {
		return // not in the group yet
	}
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = l.group, id, generation
	if l.instance != "" {
		req.InstanceID = &l.instance
	}
	ctx, cancel := context.WithTimeout(ctx, l.valid)
	defer cancel()
	sent := time.Now()
	resp, err := l.beat(ctx, req)
	if err != nil {
		return // runs out if it goes on
	}
	// During a rebalance we are still a member, and keep what we own until we
	// have given it up.
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil && !errors.Is(err, kerr.RebalanceInProgress) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed = sent
	close(l.change)
	l.change = make(chan struct{})
}

// age is the time since the last renewal, by the clock that counts on over
// changes of the time of day, or by the time of day where that has gone further:
// a machine that slept.
func (l *lease) age() (age time.Duration, change <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return max(now.Sub(l.renewed), now.Round(0).Sub(l.renewed.Round(0))), l.change
}

// hold returns nil while the lease is valid, and waits a little for it.
func (l *lease) hold() error {
	limit := time.NewTimer(leaseWait)
	defer limit.Stop()
	for {
		age, change := l.age()
		if age < l.valid {
			return nil
		}
		select {
		case l.now <- struct{}{}:
		default:
		}
		select {
		case <-change:
		case <-limit.C:
			return fmt.Errorf("%w (for %s)", errNoLease, age.Round(time.Millisecond))
		}
	}
}
