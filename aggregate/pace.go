package aggregate

import (
	"errors"
	"time"

	"github.com/adtally/adtally/internal/clickhouse"
)

// tooManyParts is ClickHouse's error when merges do not keep up with inserts.
const tooManyParts = 252

// pace is the time between flushes. It widens while the ledger is slow or does
// not take blocks, and narrows again: larger blocks cost the ledger less, and
// meanwhile what is not read stays in Kafka.
type pace struct {
	least, most, now time.Duration
	// lead is how much earlier a flush begins, for its block to be in the ledger
	// within the interval: the longest of the last inserts, soon forgotten.
	lead time.Duration
	// behind is set while what is written is older than the widest interval.
	behind bool
}

func newPace(cfg Config) pace {
	return pace{least: cfg.FlushInterval, most: max(cfg.FlushInterval, cfg.MaxFlushInterval), now: cfg.FlushInterval}
}

// wait is the time from the beginning of one flush to that of the next.
func (p *pace) wait() time.Duration { return p.now - min(p.lead, p.now/4) }

// holds tells whether a flush that is due waits on, since that long after the
// last one: nothing in a backlog is fresh, and fewer, larger blocks get through
// it sooner.
func (p *pace) holds(since time.Duration, backlog bool) bool {
	return p.behind && backlog && since < p.most
}

// wrote takes the duration of an insert that went well, and the age of the
// newest record in it.
func (p *pace) wrote(took, age time.Duration) {
	p.behind = age > p.most
	p.lead = max(took, p.lead-p.lead/8)
	switch {
	case took > p.now/2:
		p.now = min(2*p.now, p.most)
	case took < p.now/4:
		p.now = max(p.now/2, p.least)
	}
}

// failed takes an attempt that did not.
func (p *pace) failed() { p.now = min(2*p.now, p.most) }

// mergesLag tells whether the server refused a block because it has too many
// parts.
func mergesLag(err error) bool {
	var e *clickhouse.Exception
	return errors.As(err, &e) && e.Code == tooManyParts
}
