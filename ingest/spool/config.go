package spool

import (
	"errors"
	"fmt"
	"time"
)

const (
	// maxEntry bounds the bytes of one event, as Kafka's default does.
	maxEntry = 1 << 20
	// maxGroup bounds a group with its commit frame, and so the memory that
	// reading one takes.
	maxGroup = 8 << 20
	// groupTarget is when a group is not made larger for the next caller.
	groupTarget = 256 << 10
	// maxGather is how long a group waits at most for the callers that the
	// last group has set free.
	maxGather = 2 * time.Millisecond

	// queueLength bounds the callers that wait for a group. The next ones wait
	// to get into the queue, both within AppendTimeout.
	queueLength = 1024

	retryAfter = 100 * time.Millisecond // no segment is tried sooner after a failure
	probeEvery = time.Second            // while failed, without any append
	idleAfter  = time.Second            // then a drained active segment is sealed

	firstBackoff = 50 * time.Millisecond
	lastBackoff  = 5 * time.Second
	drainGrace   = 10 * time.Second // for the batch in flight at the end
	readTries    = 3                // before a segment counts as unreadable

	drainWindow  = 1 << 20 // bytes read at once, and about the size of a batch
	drainEntries = 2048    // a batch has no further group after this many events

	reserveShare = 20 // the reserve is at most 1/20 of the volume
)

// Config holds the settings of the spool. Defaults are in the tags.
type Config struct {
	Dir           string        `help:"Directory of the spool, on a volume that outlives the process; in run DIR/spool. Without one, events that Kafka does not acknowledge in time are refused." type:"path"`
	SegmentBytes  int64         `default:"67108864" help:"Size of one spool segment, preallocated."`
	MaxBytes      int64         `default:"4294967296" help:"Bytes that the spool may take on disk; more events are refused."`
	ReserveBytes  int64         `default:"268435456" help:"Bytes of the volume that the spool leaves free, but no more than a twentieth of it."`
	MaxAge        time.Duration `default:"90m" help:"Spooled events older than this go to the side topic; a quarter of the dedupe horizon."`
	AppendTimeout time.Duration `default:"2s" help:"How long an event waits for the disk before it is refused."`
}

// Validate reports the first setting that cannot work.
func (c *Config) Validate() error {
	if c.SegmentBytes < 1<<20 || c.SegmentBytes > 1<<30 {
		return fmt.Errorf("spool segment bytes is %d, it must be 1 MiB to 1 GiB", c.SegmentBytes)
	}
	if c.MaxBytes < 2*c.SegmentBytes {
		return fmt.Errorf("spool max bytes is %d, it must be at least two segments (%d)", c.MaxBytes, 2*c.SegmentBytes)
	}
	if c.ReserveBytes < 0 {
		return errors.New("spool reserve bytes must not be negative")
	}
	if c.MaxAge <= 0 || c.AppendTimeout <= 0 {
		return errors.New("spool max age and append timeout must be more than 0")
	}
	return nil
}
