package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/testkit/wait"
)

func runDirectory(t *testing.T, conn clickhouse.Conn) *Directory {
	t.Helper()
	d := NewDirectory(conn, zerolog.Nop(), metrics.NewSet())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return d
}

func TestKeysLiveAndDie(t *testing.T) {
	writer, reader := newTables(t)
	store, d := NewStore(writer), runDirectory(t, reader)
	wait.Until(t, 5*time.Second, "ready", d.Ready)

	text, key, err := store.CreateKey(t.Context(), KeySpec{Name: "reports", Scopes: ScopeReport, Advertisers: []uint64{9, 3, 9}})
	if err != nil {
		t.Fatal(err)
	}
	// It works at once, without waiting for the next reading.
	grant, err := d.Lookup(t.Context(), text)
	if err != nil || grant.KeyID != key.ID || grant.Name != "reports" || grant.Scopes != ScopeReport || grant.All || !slices.Equal(grant.Advertisers, []uint64{3, 9}) {
		t.Fatalf("lookup: %+v %v", grant, err)
	}
	// The table does not hold the text.
	var stored string
	if err := writer.QueryRow(t.Context(), "SELECT toString(tuple(*)) FROM api_keys").Scan(&stored); err != nil {
		t.Fatal(err)
	}
	if secret := text[len(text)-keySecretLen:]; strings.Contains(stored, secret) {
		t.Error("the secret is in the table")
	}
	for _, wrong := range []string{strings.ToLower(text), text + "\x00", text[:40] + "A" + text[41:], "", newKeyText()} {
		if wrong == text {
			continue
		}
		if _, err := d.Lookup(t.Context(), wrong); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("%q: %v", wrong, err)
		}
	}

	// A key with a clock ahead of ours can be revoked, too.
	future := newKeyRow(newKeyText(), KeySpec{Scopes: ScopeReport, All: true})
	future.Version = uint64(time.Now().Add(time.Hour).UnixNano())
	if err := store.putKey(t.Context(), future); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{key.ID, future.KeyID} {
		if err := store.RevokeKey(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	wait.Until(t, time.Second, "a revoked key is refused", func() bool {
		_, err := d.Lookup(t.Context(), text)
		return errors.Is(err, ErrUnknownKey)
	})
	if err := store.RevokeKey(t.Context(), "nobody"); !errors.Is(err, ErrNoSuchKey) {
		t.Errorf("revoke of nothing: %v", err)
	}
	keys, err := store.ListKeys(t.Context())
	if err != nil || len(keys) != 2 || !keys[0].Revoked || !keys[1].Revoked || keys[0].ID != key.ID || !keys[0].Created.Equal(key.Created) {
		t.Errorf("list: %+v %v", keys, err)
	}
}

func TestImportKey(t *testing.T) {
	writer, reader := newTables(t)
	store, d := NewStore(writer), runDirectory(t, reader)
	text := newKeyText()
	for range 2 { // again is no error and changes nothing
		if _, err := store.ImportKey(t.Context(), text, KeySpec{Name: "admin", Scopes: AllScopes, All: true}); err != nil {
			t.Fatal(err)
		}
	}
	if grant, err := d.Lookup(t.Context(), text); err != nil || !grant.Covers(12345) || !grant.Allows(AllScopes) {
		t.Errorf("lookup: %+v %v", grant, err)
	}
	id, _ := parseKeyText(text)
	other := keyPrefix + id + newKeyText()[len(keyPrefix)+keyIDLen:]
	spec := KeySpec{Scopes: AllScopes, All: true}
	if _, err := store.ImportKey(t.Context(), other, spec); err == nil {
		t.Error("another key with the same id is taken")
	}
	if _, err := store.ImportKey(t.Context(), "secret", spec); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("import of no key: %v", err)
	}
	if err := store.RevokeKey(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := store.ImportKey(t.Context(), text, spec); !errors.Is(err, ErrRevoked) {
		t.Errorf("a revoked key comes back: %v", err)
	}
	if keys, err := store.ListKeys(t.Context()); err != nil || len(keys) != 1 {
		t.Errorf("list: %+v %v", keys, err)
	}
}

func TestKeySpecFailure(t *testing.T) {
	store := NewStore(nil) // nothing is written
	for _, spec := range []KeySpec{
		{},
		{All: true},
		{Scopes: ScopeReport},
		{Scopes: ScopeReport, All: true, Advertisers: []uint64{1}},
		{Scopes: ScopeReport, Advertisers: []uint64{0}},
		{Scopes: ScopeReport, All: true, Name: "a\nb"},
	} {
		if _, _, err := store.CreateKey(t.Context(), spec); err == nil {
			t.Errorf("%+v is taken", spec)
		}
	}
}

func TestAccounts(t *testing.T) {
	writer, reader := newTables(t)
	store, d := NewStore(writer), runDirectory(t, reader)
	want := Account{Advertiser: 7, Name: "Seven", Currency: "NPR", Timezone: "Asia/Kathmandu"}
	if err := store.PutAccount(t.Context(), Account{Advertiser: 7, Name: "Old"}); err != nil {
		t.Fatal(err)
	}
	if err := store.PutAccount(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if err := store.PutAccount(t.Context(), Account{Advertiser: 7, Timezone: "nowhere"}); err == nil {
		t.Error("a wrong zone is taken")
	}
	wait.Until(t, 2*time.Second, "the account is known", func() bool { return d.Account(7) == want })
	if got := d.Account(8); got != defaultAccount(8) {
		t.Errorf("unknown account: %+v", got)
	}
	if accounts, err := store.ListAccounts(t.Context()); err != nil || !slices.Equal(accounts, []Account{want}) {
		t.Errorf("list: %+v %v", accounts, err)
	}
}

// brokenConn is a ClickHouse that can go away, and counts what it is asked.
type brokenConn struct {
	clickhouse.Conn

	mu     sync.Mutex
	broken bool
	asked  int
}

func (c *brokenConn) Select(ctx context.Context, dest any, query string, args ...any) error {
	c.mu.Lock()
	broken := c.broken
	c.asked++
	c.mu.Unlock()
	if broken {
		return errors.New("connection refused")
	}
	return c.Conn.Select(ctx, dest, query, args...)
}

func (c *brokenConn) set(broken bool) {
	c.mu.Lock()
	c.broken = broken
	c.mu.Unlock()
}

func (c *brokenConn) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func TestLastKnownStateServesOn(t *testing.T) {
	writer, reader := newTables(t)
	text, _, err := NewStore(writer).CreateKey(t.Context(), KeySpec{Scopes: ScopeReport, All: true})
	if err != nil {
		t.Fatal(err)
	}
	conn := &brokenConn{Conn: reader, broken: true}
	d := runDirectory(t, conn)
	if _, err := d.Lookup(t.Context(), text); !errors.Is(err, ErrNotReady) || d.Ready() {
		t.Errorf("before the first reading: %v, ready %v", err, d.Ready())
	}
	conn.set(false)
	wait.Until(t, 2*time.Second, "ready", d.Ready)
	conn.set(true)
	for range 20 {
		if _, err := d.Lookup(t.Context(), text); err != nil {
			t.Fatalf("while ClickHouse is away: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if _, err := d.Lookup(t.Context(), newKeyText()); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("an unknown key while ClickHouse is away: %v", err)
	}
}

func TestWrongKeysDoNotHammerClickHouse(t *testing.T) {
	_, reader := newTables(t)
	conn := &brokenConn{Conn: reader}
	d := runDirectory(t, conn)
	wait.Until(t, 2*time.Second, "ready", d.Ready)
	before, began := conn.count(), time.Now()
	var workers sync.WaitGroup
	for range 100 {
		workers.Go(func() {
			for range 10 {
				if _, err := d.Lookup(t.Context(), newKeyText()); !errors.Is(err, ErrUnknownKey) {
					t.Errorf("a wrong key: %v", err)
				}
			}
		})
	}
	workers.Wait()
	took := time.Since(began)
	readings := (conn.count() - before) / 2 // keys and accounts
	most := int(took/refreshGap) + 2
	if readings > most {
		t.Errorf("%d readings in %s, want %d at most", readings, took, most)
	}
	t.Log(fmt.Sprint(readings, " readings for 1000 wrong keys in ", took))
}

func TestLookupEndsWithItsContext(t *testing.T) {
	d := NewDirectory(nil, zerolog.Nop(), metrics.NewSet()) // Run is not called
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := d.Lookup(ctx, newKeyText()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestKeysAreRotatedAndExpire(t *testing.T) {
	writer, reader := newTables(t)
	store, d := NewStore(writer), runDirectory(t, reader)
	wait.Until(t, 5*time.Second, "ready", d.Ready)
	taken := func(text string) bool {
		_, err := d.Lookup(t.Context(), text)
		if err != nil && !errors.Is(err, ErrUnknownKey) {
			t.Fatal(err)
		}
		return err == nil
	}
	first, key, err := store.CreateKey(t.Context(), KeySpec{Name: "dashboard", Scopes: ScopeReport, Advertisers: []uint64{7}})
	if err != nil {
		t.Fatal(err)
	}
	second, successor, err := store.RotateKey(t.Context(), key.ID, 2*time.Second, time.Time{})
	if err != nil || successor.Name != "dashboard" || successor.Scopes != ScopeReport || !slices.Equal(successor.Advertisers, []uint64{7}) || !successor.Expires.IsZero() {
		t.Fatalf("rotate: %+v %v", successor, err)
	}
	if !taken(second) {
		t.Error("the new key is not taken")
	}
	wait.Until(t, 10*time.Second, "the old key ends", func() bool { return !taken(first) })
	if !taken(second) {
		t.Error("the new key ended with the old one")
	}
	if _, _, err := store.RotateKey(t.Context(), key.ID, time.Hour, time.Time{}); !errors.Is(err, ErrRevoked) {
		t.Errorf("a key that ended is rotated: %v", err)
	}
	if _, _, err := store.CreateKey(t.Context(), KeySpec{Scopes: ScopeReport, All: true, Expires: time.Now().Add(-time.Second)}); err == nil {
		t.Error("a key that has expired is made")
	}
	short, _, err := store.CreateKey(t.Context(), KeySpec{Scopes: ScopeReport, All: true, Expires: time.Now().Add(2 * time.Second)})
	if err != nil || !taken(short) {
		t.Fatalf("a key with an end: %v", err)
	}
	wait.Until(t, 10*time.Second, "it ends", func() bool { return !taken(short) })
}
