package window

import (
	"errors"
	"fmt"
	"time"
)

// Config are the rules that may be set. Changing one changes verdicts from the
// next record on, as the books of what is counted stay as they are.
type Config struct {
	// Horizon is how long an id is remembered, in broker time.
	Horizon time.Duration
	// DoubleClick is the time within which a further click on one impression is
	// a repeat.
	DoubleClick time.Duration
	// MaxClicks is the number of clicks on one impression within the horizon
	// beyond which they are flagged.
	MaxClicks int
	// JoinWindow is how long a click waits for its impression.
	JoinWindow time.Duration
	// MaxTuples is the number of distinct dimensions of one advertiser within a
	// bucket of broker time beyond which new ones are booked under Other.
	MaxTuples int
}

// Defaults returns the rules that hold unless something else is set.
func Defaults() Config {
	return Config{
		Horizon:     6 * time.Hour,
		DoubleClick: 2 * time.Second,
		MaxClicks:   10,
		JoinWindow:  15 * time.Minute,
		MaxTuples:   100_000,
	}
}

// maxClicks bounds what is remembered of one impression.
const maxClicks = 1000

// Validate says which rule cannot be.
func (c Config) Validate() error {
	switch {
	case c.Horizon < time.Second || c.Horizon > maxHorizon:
		return fmt.Errorf("horizon: must be 1s to %s", maxHorizon)
	case c.DoubleClick < 0 || c.DoubleClick > c.Horizon:
		return errors.New("double click: must be 0 up to the horizon")
	case c.MaxClicks < 1 || c.MaxClicks > maxClicks:
		return fmt.Errorf("max clicks: must be 1 to %d", maxClicks)
	case c.JoinWindow < 0 || c.JoinWindow > c.Horizon:
		return errors.New("join window: must be 0 up to the horizon")
	case c.MaxTuples < 1:
		return errors.New("max tuples: must be at least 1")
	default:
		return nil
	}
}

const (
	// maxHorizon keeps every time stamp of the state within its bits.
	maxHorizon = 31 * 24 * time.Hour
	// skewMillis is how far the broker's clock may step back (at a leader
	// change) before a verdict could miss what was already forgotten.
	skewMillis = 2 * 60_000
	// futureMillis is how far an event may lie ahead of its append time.
	futureMillis = 5 * 60_000
	// steps is the number of steps in which horizon and skew are counted.
	steps = 120
	// maxBucket is the longest bucket in which tuples are counted.
	maxBucket = time.Hour
)

// Lookback is how much of the log before a position must be read again to
// decide as if reading had never stopped: a click may have waited for the join
// window, and its own verdict looks back for a horizon.
func (c Config) Lookback() time.Duration {
	millis := (c.horizonSteps()+1)*c.stepMillis() + c.JoinWindow.Milliseconds() + skewMillis
	return time.Duration(millis) * time.Millisecond
}

// Lookahead is how much of the log behind a record may still decide on it: a click
// waits for the join window.
func (c Config) Lookahead() time.Duration {
	return c.JoinWindow + skewMillis*time.Millisecond
}

// stepMillis is the grain of the horizon.
func (c Config) stepMillis() int64 {
	return (c.Horizon.Milliseconds() + skewMillis + steps - 1) / steps
}

// horizonSteps is the horizon in steps, rounded up.
func (c Config) horizonSteps() int64 {
	step := c.stepMillis()
	return (c.Horizon.Milliseconds() + step - 1) / step
}

// bucketMillis is the length of the buckets in which tuples are counted.
func (c Config) bucketMillis() int64 {
	return min(c.Horizon, maxBucket).Milliseconds()
}

// floorDiv rounds towards the past, also before 1970.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
