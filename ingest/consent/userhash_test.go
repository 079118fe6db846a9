package consent

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

var testSecret = bytes.Repeat([]byte{7}, MinUserSecret)

func newHasher(tb testing.TB, secret []byte, rotation time.Duration) *UserHasher {
	tb.Helper()
	h, err := NewUserHasher(secret, rotation)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func TestUserHash(t *testing.T) {
	h := newHasher(t, testSecret, 0)
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC).UnixMicro()
	base := h.Hash(7, []byte("user"), at)
	if base == 0 {
		t.Fatal("hash is 0")
	}
	if got := newHasher(t, testSecret, DefaultRotation).Hash(7, []byte("user"), at); got != base {
		t.Error("another instance hashes otherwise")
	}
	other := bytes.Repeat([]byte{8}, MinUserSecret)
	for name, got := range map[string]uint64{
		"advertiser": h.Hash(8, []byte("user"), at),
		"user":       h.Hash(7, []byte("User"), at),
		"period":     h.Hash(7, []byte("user"), at+DefaultRotation.Microseconds()),
		"secret":     newHasher(t, other, 0).Hash(7, []byte("user"), at),
	} {
		if got == base {
			t.Errorf("the same hash for another %s", name)
		}
	}
	if h.Hash(7, nil, at) != 0 || h.Hash(7, []byte{}, at) != 0 {
		t.Error("an empty id has a hash")
	}
}

// The hash is part of what is stored: a change of it splits users.
func TestUserHashIsStable(t *testing.T) {
	h := newHasher(t, testSecret, 0)
	const want = 0xbce04bf2bb7c0d5
	if got := h.Hash(7, []byte("user"), time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC).UnixMicro()); got != want {
		t.Errorf("got %#x, want %#x", got, uint64(want))
	}
}

func TestRotation(t *testing.T) {
	h := newHasher(t, testSecret, 0)
	boundary := time.Date(2026, 12, 3, 0, 0, 0, 0, time.UTC)
	day := func(n int) uint64 { return h.Hash(7, []byte("user"), boundary.AddDate(0, 0, n).UnixMicro()) }
	if day(-1) == day(0) {
		t.Error("the hash does not change at the boundary")
	}
	if day(0) != day(89) || day(-90) != day(-1) {
		t.Error("the hash changes within a period")
	}
	if h.Hash(7, []byte("user"), -1) == h.Hash(7, []byte("user"), 0) {
		t.Error("the period before 1970 is that after it")
	}
}

func TestNewUserHasher(t *testing.T) {
	for _, c := range []struct {
		secret   []byte
		rotation time.Duration
	}{{testSecret[1:], 0}, {nil, 0}, {testSecret, MinRotation - 1}, {testSecret, -MinRotation}} {
		if _, err := NewUserHasher(c.secret, c.rotation); err == nil {
			t.Errorf("a secret of %d bytes with rotation %v was accepted", len(c.secret), c.rotation)
		}
	}
}

func TestUserHashesAreDistinct(t *testing.T) {
	h := newHasher(t, testSecret, 0)
	seen := make(map[uint64]bool)
	for advertiser := range uint64(100) {
		for user := range 1000 {
			seen[h.Hash(advertiser, fmt.Append(nil, user), 0)] = true
		}
	}
	if len(seen) != 100_000 || seen[0] {
		t.Errorf("%d hashes of 100000 ids, 0 among them: %t", len(seen), seen[0])
	}
}

func TestUserHashDoesNotAllocate(t *testing.T) {
	h := newHasher(t, testSecret, 0)
	user := []byte("a user id of some length")
	if n := testing.AllocsPerRun(1000, func() { h.Hash(7, user, 0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
