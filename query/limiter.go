package query

import "sync"

// limiter bounds how many reports of one key run at once, so that one client
// cannot take all connections to ClickHouse from the others.
type limiter struct {
	most int

	mu      sync.Mutex
	running map[string]int
}

func newLimiter(most int) *limiter { return &limiter{most: most, running: map[string]int{}} }

// enter returns false if the key has its share already; otherwise leave must be
// called.
func (l *limiter) enter(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[key] >= l.most {
		return false
	}
	l.running[key]++
	return true
}

func (l *limiter) leave(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running[key]--
	if l.running[key] == 0 {
		delete(l.running, key)
	}
}

// total is how many reports run.
func (l *limiter) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, running := range l.running {
		n += running
	}
	return n
}
