package dev

import (
	"net"
	"sync"
)

// gate is a listener that accepts nobody before it is opened: kfake serves as
// soon as it is made, but the hook that stamps records is added after that.
type gate struct {
	net.Listener
	opened, closed chan struct{}
	closeOnce      sync.Once
}

func newGate(ln net.Listener) *gate {
	return &gate{Listener: ln, opened: make(chan struct{}), closed: make(chan struct{})}
}

// Accept waits until the gate is open.
func (g *gate) Accept() (net.Conn, error) {
	select {
	case <-g.opened:
		return g.Listener.Accept()
	case <-g.closed:
		return nil, net.ErrClosed
	}
}

// Close closes the listener, open or not.
func (g *gate) Close() error {
	g.closeOnce.Do(func() { close(g.closed) })
	return g.Listener.Close()
}
