package access

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/clickhouse"
)

// Errors of Directory.Lookup.
var (
	// ErrUnknownKey says that the text is no live key: answer 401.
	ErrUnknownKey = errors.New("unknown API key")
	// ErrNotReady says that the keys were not read yet: answer 503.
	ErrNotReady = errors.New("API keys are not loaded yet")
)

const (
	// refreshEvery keeps a key that was revoked a second ago out, with half of
	// that second left for the reading itself.
	refreshEvery = 500 * time.Millisecond
	// refreshGap is the least time between two readings: however many wrong keys
	// come, ClickHouse is asked ten times a second at most.
	refreshGap = 100 * time.Millisecond
	// loadTimeout bounds one reading.
	loadTimeout = 5 * time.Second
	// missTimeout bounds how long a key that is not known waits for a reading.
	missTimeout = 2 * time.Second
	// maxMisses bounds how many such keys wait at once. Beyond it the answer is
	// given from what is known.
	maxMisses = 1024
)

// Directory answers who a bearer of a key is, and what is known of an
// advertiser, from memory. It is safe for concurrent use.
//
// While ClickHouse is away it goes on answering from what it read last.
type Directory struct {
	conn clickhouse.Conn
	log  zerolog.Logger

	state atomic.Pointer[directoryState]
	wake  chan struct{}

	mu     sync.Mutex
	next   chan struct{} // closed when a reading that begins after now is done; nil when nobody waits
	misses int

	reads      *metrics.Counter
	readErrors *metrics.Counter
	unknown    *metrics.Counter
}

// directoryState is one reading of the tables. It is never changed.
type directoryState struct {
	keys     map[string]knownKey
	accounts map[uint64]Account
}

type knownKey struct {
	hash    string
	revoked bool
	expires time.Time // zero for never
	grant   Grant
}

// ended says that the key is no longer taken.
func (k *knownKey) ended() bool {
	return k.revoked || !k.expires.IsZero() && !time.Now().Before(k.expires)
}

// noKey stands for a key that does not exist. Its hash is that of no text, and
// comparing with it takes as long as with any other.
var noKey = knownKey{hash: strings.Repeat("0", 2*sha256.Size), revoked: true}

// NewDirectory returns a Directory that knows nothing until Run has read the
// tables.
func NewDirectory(conn clickhouse.Conn, log zerolog.Logger, set *metrics.Set) *Directory {
	return &Directory{
		conn:       conn,
		log:        log,
		wake:       make(chan struct{}, 1),
		reads:      set.NewCounter("adtally_access_reads_total"),
		readErrors: set.NewCounter("adtally_access_read_errors_total"),
		unknown:    set.NewCounter("adtally_access_unknown_keys_total"),
	}
}

// Ready reports whether the tables were read at least once.
func (d *Directory) Ready() bool { return d.state.Load() != nil }

// Run follows the tables until ctx is done.
func (d *Directory) Run(ctx context.Context) error {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	failing := false
	for {
		began := time.Now()
		err := d.refresh(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if (err != nil) != failing { // an outage is two lines, not two a second
			failing = err != nil
			d.logTurn(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-d.wake:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(refreshGap - time.Since(began)):
		}
	}
}

func (d *Directory) logTurn(err error) {
	if err != nil {
		d.log.Warn().Err(err).Bool("known", d.Ready()).Msg("keys and accounts cannot be read; the last known ones go on serving")
		return
	}
	d.log.Info().Msg("keys and accounts can be read again")
}

// refresh reads the tables once and then lets those go on who waited for it.
func (d *Directory) refresh(ctx context.Context) error {
	d.mu.Lock()
	waiting := d.next // whoever asks from here on waits for the next reading
	d.next = nil
	d.mu.Unlock()
	if waiting != nil {
		defer close(waiting)
	}
	d.reads.Inc()
	state, err := d.load(ctx)
	if err != nil {
		d.readErrors.Inc()
		return err
	}
	d.state.Store(state)
	return nil
}

func (d *Directory) load(ctx context.Context) (*directoryState, error) {
	// A deadline would be sent as a setting, which a read-only user may not
	// change; a timer that cancels is not.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(loadTimeout, cancel).Stop()

	keys, err := readKeys(ctx, d.conn)
	if err != nil {
		return nil, err
	}
	accounts, err := readAccounts(ctx, d.conn)
	if err != nil {
		return nil, err
	}
	state := &directoryState{
		keys:     make(map[string]knownKey, len(keys)),
		accounts: make(map[uint64]Account, len(accounts)),
	}
	for _, row := range keys {
		state.keys[row.KeyID] = knownKey{hash: row.SecretSHA256, revoked: row.Revoked, expires: row.expiry(), grant: row.grant()}
	}
	for _, row := range accounts {
		state.accounts[row.Advertiser] = row.account()
	}
	return state, nil
}

// Lookup returns what the bearer of the key text may do. Its error is
// ErrUnknownKey, ErrNotReady or the context's. A key made a moment ago is found:
// a key id that is not in memory waits for one reading of the tables, which all
// such lookups share.
func (d *Directory) Lookup(ctx context.Context, bearer string) (Grant, error) {
	id, ok := parseKeyText(bearer)
	if !ok {
		d.unknown.Inc()
		return Grant{}, ErrUnknownKey
	}
	state := d.state.Load()
	if state == nil || !state.has(id) {
		if err := d.await(ctx); err != nil {
			return Grant{}, err
		}
		state = d.state.Load()
	}
	if state == nil {
		return Grant{}, ErrNotReady
	}
	key, found := state.keys[id]
	if !found {
		key = noKey
	}
	if !sameHash(key.hash, hashKeyText(bearer)) || key.ended() {
		d.unknown.Inc()
		return Grant{}, ErrUnknownKey
	}
	return key.grant, nil
}

func (s *directoryState) has(id string) bool {
	_, ok := s.keys[id]
	return ok
}

// await returns after a reading that began after the call, or when waiting for
// it makes no sense any more.
func (d *Directory) await(ctx context.Context) error {
	d.mu.Lock()
	if d.misses >= maxMisses {
		d.mu.Unlock()
		return nil
	}
	d.misses++
	if d.next == nil {
		d.next = make(chan struct{})
	}
	done := d.next
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.misses--
		d.mu.Unlock()
	}()

	select {
	case d.wake <- struct{}{}:
	default: // Run is already told
	}
	timer := time.NewTimer(missTimeout)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for API keys: %w", ctx.Err())
	}
}

// Account returns what is known of an advertiser; without an account its zone is
// UTC and its name its id.
func (d *Directory) Account(advertiser uint64) Account {
	if state := d.state.Load(); state != nil {
		if account, ok := state.accounts[advertiser]; ok {
			return account
		}
	}
	return defaultAccount(advertiser)
}

// Accounts lists the advertisers that have an account, by id.
func (d *Directory) Accounts() []Account {
	state := d.state.Load()
	if state == nil {
		return nil
	}
	list := slices.Collect(maps.Values(state.accounts))
	slices.SortFunc(list, func(a, b Account) int { return cmp.Compare(a.Advertiser, b.Advertiser) })
	return list
}
