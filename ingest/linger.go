package ingest

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// What a connection that is closed amid a request still takes of it.
const (
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

// lingering accepts connections whose clients hear the answer to a request
// that was refused before all of it was read. Closing with bytes unread makes
// the kernel reset the connection, and a reset takes the answer away that is on
// its way: the client would see a broken pipe instead of 413.
type lingering struct{ net.Listener }

// Accept implements net.Listener.
func (l lingering) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		return &lingerConn{TCPConn: tcp}, err
	}
	return c, err
}

type lingerConn struct {
	*net.TCPConn
	// answered says that an answer was written and nothing was read after it: so
	// it is when a request was refused, and not when an idle connection is closed.
	answered atomic.Bool
}

// Read implements net.Conn.
func (c *lingerConn) Read(p []byte) (int, error) {
	c.answered.Store(false)
	return c.TCPConn.Read(p)
}

// Write implements net.Conn.
func (c *lingerConn) Write(p []byte) (int, error) {
	c.answered.Store(true)
	return c.TCPConn.Write(p)
}

// Close implements net.Conn. After an answer it takes the rest of the request
// off the line, within bounds.
func (c *lingerConn) Close() error {
	if c.answered.Load() && c.CloseWrite() == nil && c.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, c.TCPConn, lingerBytes) // nobody wants it
	}
	return c.TCPConn.Close()
}
