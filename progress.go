package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
)

// progress shows how far long work is: one line that changes on a terminal, a line
// now and then elsewhere. Short work says nothing.
type progress struct {
	w        io.Writer
	terminal bool
	last     time.Time
	drew     bool
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, terminal: ok && isatty.IsTerminal(f.Fd()), last: time.Now()}
}

// show says that done of so many units are done of a part of the work.
func (p *progress) show(part, units string, done, of uint64) {
	every, begin, end := 10*time.Second, "", "\n"
	if p.terminal {
		every, begin, end = 200*time.Millisecond, "\r\x1b[K", ""
	}
	if time.Since(p.last) < every {
		return
	}
	p.last, p.drew = time.Now(), true
	fmt.Fprintf(p.w, "%s%s: %d of %d %s (%d %%)%s", begin, part, done, of, units, 100*done/max(of, 1), end)
}

// records is show for the log of a partition.
func (p *progress) records(partition int32, done, of int64) {
	p.show(fmt.Sprintf("partition %d", partition), "records", uint64(max(done, 0)), uint64(max(of, 0)))
}

// end clears the line of a terminal.
func (p *progress) end() {
	if p.drew && p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
