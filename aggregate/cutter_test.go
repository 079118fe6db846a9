package aggregate

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// cutter is a TCP proxy that passes bytes until it is told to lose answers.
type cutter struct {
	target string
	// loseAnswers drops what the server says and cuts the connection.
	loseAnswers atomic.Bool
}

func (c *cutter) start(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go c.pass(conn)
		}
	}()
	return ln.Addr().String()
}

func (c *cutter) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.target)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	buf := make([]byte, 64<<10)
	answers := 0
	for {
		n, err := server.Read(buf)
		// The first answer to an insert is its header; what follows is the end
		// of the query, which is lost when the block has landed.
		if answers++; c.loseAnswers.Load() && answers > 2 {
			return
		}
		if n > 0 {
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
