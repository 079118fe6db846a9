package measure

import (
	"context"
	"errors"
	"os"

	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/dev"
)

// ClickHouse is an embedded server on free ports.
type ClickHouse struct {
	*dev.ClickHouse
	stop  context.CancelFunc
	ended chan error
}

// StartClickHouse starts a server with its data in dir and waits until it answers.
// Without an error Stop must be called.
func StartClickHouse(ctx context.Context, dir string) (*ClickHouse, error) {
	ports, err := dev.FreePorts(2)
	if err != nil {
		return nil, err
	}
	server, err := dev.NewClickHouse(dev.ClickHouseConfig{Dir: dir, NativePort: ports[0], HTTPPort: ports[1], Progress: os.Stderr}, zerolog.Nop())
	if err != nil {
		return nil, err
	}
	serving, stop := context.WithCancel(ctx)
	c := &ClickHouse{ClickHouse: server, stop: stop, ended: make(chan error, 1)}
	go func() { c.ended <- server.Run(serving) }()
	if err := server.Ready(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// Stop ends the server and says what went wrong in it.
func (c *ClickHouse) Stop() error {
	c.stop()
	return <-c.ended
}
