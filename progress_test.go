package main

import (
	"bytes"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	p.show("statement.csv", "rows", 1, 4)
	p.end()
	if out.Len() > 0 {
		t.Errorf("short work says %q", out.String())
	}
	p.last = time.Now().Add(-time.Minute)
	p.show("statement.csv", "rows", 1, 4)
	p.show("statement.csv", "rows", 2, 4) // too soon
	p.last = time.Now().Add(-time.Minute)
	p.records(3, 7, 0)
	p.end()
	if want := "statement.csv: 1 of 4 rows (25 %)\npartition 3: 7 of 0 records (700 %)\n"; out.String() != want {
		t.Errorf("without a terminal: %q, want %q", out.String(), want)
	}
	out.Reset()
	p = newProgress(&out)
	p.terminal, p.last = true, time.Now().Add(-time.Minute)
	p.records(3, 7, 14)
	p.end()
	if want := "\r\x1b[Kpartition 3: 7 of 14 records (50 %)\r\x1b[K"; out.String() != want {
		t.Errorf("on a terminal: %q, want %q", out.String(), want)
	}
}
