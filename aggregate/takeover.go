package aggregate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// takeOver makes sure that nobody else writes the partitions any more, and notes
// us as their owner.
//
// An owner that ended well has released its partitions. Of one that has not,
// inserts may still run on the server: they are ended, and waited for. And its
// process may only be stopped, and go on: it sends nothing once its lease has
// run out, so that is waited for, unless it is known to be dead. If its
// positions move even then, it is no ghost but a living instance of another
// group.
func (a *Aggregator) takeOver(ctx context.Context, ids []int32) error {
	for round := 1; ; round++ {
		claims, err := a.owners.Claimed(ctx, a.topic, ids)
		if err != nil {
			return err
		}
		if len(claims.Unreleased) > 0 {
			if err := a.owners.EndOthers(ctx, a.topic); err != nil {
				return err
			}
		}
		wait := a.ghostTime(claims)
		if wait == 0 {
			return a.owners.Claim(ctx, a.topic, ids, claims)
		}
		moved, err := a.watchGhosts(ctx, claims, wait)
		switch {
		case err != nil:
			return err
		case moved < 0:
			return a.owners.Claim(ctx, a.topic, ids, claims)
		case round > 1:
			return refuse("partition %d of %s is being counted by an instance of group %s: two groups would count everything twice; stop one of them",
				moved, a.topic.Name, claims.Unreleased[moved].Group)
		}
	}
}

// ghostTime is how long a last owner that has not released its partitions may
// go on writing.
func (a *Aggregator) ghostTime(claims Claims) time.Duration {
	dead := true
	for _, o := range claims.Unreleased {
		dead = dead && a.cfg.Sole && o.Group == a.cfg.Group
	}
	wait := a.cfg.SessionTimeout / 2
	switch {
	case dead:
		return 0
	case claims.Replicated: // inserts on other servers cannot be ended from here
		wait += insertTimeout
	}
	return max(wait, 3*(a.cfg.TickInterval+a.cfg.FlushInterval)) // a living owner moves on within it
}

// watchGhosts waits, ends what was begun meanwhile, and returns a partition
// whose position has moved, or -1.
func (a *Aggregator) watchGhosts(ctx context.Context, claims Claims, wait time.Duration) (moved int32, err error) {
	ids := slices.Sorted(maps.Keys(claims.Unreleased))
	a.log.Info().Int("partitions", len(ids)).Dur("wait_ms", wait).Msg("the last owner of partitions did not give them up; waiting until it cannot write any more")
	before, err := a.store.Positions(ctx, a.topic, ids)
	if err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(wait):
	}
	if err := a.owners.EndOthers(ctx, a.topic); err != nil {
		return 0, err
	}
	after, err := a.store.Positions(ctx, a.topic, ids)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if before[id].Next != after[id].Next {
			return id, nil
		}
	}
	return -1, nil
}

// release notes that the partitions are given up and nothing of ours is on its
// way. Without it the next owner waits, and nothing else.
func (a *Aggregator) release(parts []*partition) {
	if len(parts) == 0 || !a.flush.clean() {
		return
	}
	ids := make([]int32, len(parts))
	for i, p := range parts {
		ids[i] = p.id
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if err := a.owners.Release(ctx, a.topic, ids); err != nil {
		a.log.Warn().Err(fmt.Errorf("note release: %w", err)).Msg("the next owner of the partitions will wait for us")
	}
}

// releaseTimeout bounds a release, so that it never holds up a rebalance for
// long.
const releaseTimeout = 2 * time.Second
