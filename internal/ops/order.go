package ops

import (
	"context"
	"errors"
	"sync"
)

// InOrder runs every run at once. When ctx is done, or as soon as one of them
// ends, they are stopped one after the other in the given order: the direction
// of the data, so that each finds its successor alive while it drains.
func InOrder(ctx context.Context, runs ...func(context.Context) error) error {
	errs := make([]error, len(runs))
	stops := make([]context.CancelFunc, len(runs))
	dones := make([]chan struct{}, len(runs))
	ended := make(chan struct{})
	var once sync.Once
	for i, run := range runs {
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		stops[i], dones[i] = stop, make(chan struct{})
		go func() {
			defer close(dones[i])
			errs[i] = run(own)
			once.Do(func() { close(ended) })
		}()
	}
	select {
	case <-ctx.Done():
	case <-ended:
	}
	for i := range runs {
		stops[i]()
		<-dones[i]
	}
	return errors.Join(errs...)
}

// Started starts run at once and returns the rest of it for InOrder: it ends
// run when its context is done, and waits. For servers that others need before
// they can be put in order.
func Started(ctx context.Context, run func(context.Context) error) func(context.Context) error {
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- run(own) }()
	return func(ctx context.Context) error {
		defer stop()
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
		}
		stop()
		return <-ended
	}
}
