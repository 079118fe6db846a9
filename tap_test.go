package main

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// stage is where an insert into the ledger stands, as its bytes tell.
type stage int

const (
	atNothing  stage = iota
	atQuery          // the INSERT has come and is not passed on
	atHeader         // the insert is open, and its client does not know yet
	atHalf           // half of the block has been passed on
	atSent           // the block has been passed on; the answer is there and is not passed on
	atAnswered       // the answer has been passed on
	atReadBack       // the marks are asked for; the question is not passed on
)

// tap is a TCP proxy in front of ClickHouse that knows where inserts stand. What
// a test wants to happen at a stage happens exactly there: meanwhile the
// connection stands still.
type tap struct {
	target string
	addr   string

	mu    sync.Mutex
	at    stage
	skip  int
	act   func() (goOn bool)
	fired chan struct{}
}

func startTap(t *testing.T, target string) *tap {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	p := &tap{target: target, addr: ln.Addr().String()}
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			go p.pass(client)
		}
	}()
	return p
}

// arm lets act happen at a stage, after so many inserts were there before. When
// act returns false the connection is cut. The channel is closed after it.
func (p *tap) arm(at stage, skip int, act func() (goOn bool)) (fired <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.skip, p.act, p.fired = at, skip, act, make(chan struct{})
	return p.fired
}

// reach notes that an insert is at a stage and tells whether to go on.
func (p *tap) reach(at stage) bool {
	p.mu.Lock()
	if p.at != at || p.act == nil {
		p.mu.Unlock()
		return true
	}
	if p.skip > 0 {
		p.skip--
		p.mu.Unlock()
		return true
	}
	act, fired := p.act, p.fired
	p.act = nil
	p.mu.Unlock()
	defer close(fired)
	return act()
}

// tapped is one connection and the stage of the insert on it.
type tapped struct {
	tap            *tap
	client, server net.Conn

	mu sync.Mutex
	at stage
}

func (c *tapped) stage() stage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *tapped) move(to stage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = to
}

func (p *tap) pass(client net.Conn) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = client.Close() // nobody is at home
		return
	}
	c := &tapped{tap: p, client: client, server: server}
	go func() {
		pump(client, c.toServer)
		_ = server.(*net.TCPConn).CloseWrite() // a reset ends the embedded ClickHouse 26.7
		_ = client.Close()                     // what was on its way is lost
	}()
	pump(server, c.toClient)
	_ = client.Close()
	_ = server.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, server)
	_ = server.Close()
}

// pump reads until the end or until forward does not go on.
func pump(from net.Conn, forward func([]byte) bool) {
	buf := make([]byte, 256<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !forward(buf[:n]) || err != nil {
			return
		}
	}
}

func (c *tapped) toServer(b []byte) bool {
	write := func(b []byte) bool { _, err := c.server.Write(b); return err == nil }
	switch {
	case bytes.Contains(b, []byte("INSERT INTO ledger (")):
		c.move(atQuery)
		return c.tap.reach(atQuery) && write(b)
	case bytes.Contains(b, []byte("countIf(batch_id")):
		return c.tap.reach(atReadBack) && write(b)
	case c.stage() == atHeader:
		half := len(b) / 2
		if !write(b[:half]) || !c.tap.reach(atHalf) {
			return false
		}
		c.move(atSent)
		return write(b[half:])
	default:
		return write(b)
	}
}

func (c *tapped) toClient(b []byte) bool {
	write := func() bool { _, err := c.client.Write(b); return err == nil }
	switch c.stage() {
	case atQuery:
		c.move(atHeader)
		return c.tap.reach(atHeader) && write()
	case atSent:
		c.move(atNothing)
		return c.tap.reach(atSent) && write() && c.tap.reach(atAnswered)
	default:
		return write()
	}
}
