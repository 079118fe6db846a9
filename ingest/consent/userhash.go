package consent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/dchest/siphash"
)

// Bounds and default of a UserHasher.
const (
	// DefaultRotation is how long a user keeps one hash by default.
	DefaultRotation = 90 * 24 * time.Hour
	// MinRotation is the shortest period: a shorter one would make two users of
	// one in the report of a day.
	MinRotation = 24 * time.Hour
	// MinUserSecret is the least length of the secret in bytes.
	MinUserSecret = 32
)

// UserHasher turns user ids into 64-bit hashes. It may be used by any number of
// goroutines.
//
// The hash is keyed per advertiser and period. Without the secret nobody can
// test whether a hash is that of a known id; the hashes of one user under two
// advertisers, or in two periods, cannot be matched.
//
// Periods have the length of the rotation and are counted from 1970-01-01 UTC;
// with 90 days one of them begins on 2026-12-03. What that does to unique users:
// within one period they are exact as far as the sketch is. A user who is seen on
// both sides of a boundary counts once on each, so a report that spans n
// boundaries counts every user up to n+1 times. Events are hashed by their own
// time, not by that of their arrival: a late event falls into the period of its
// day. Whoever holds the secret can still hash ids for past periods; to make
// that impossible, replace the secret, which begins a period at once.
type UserHasher struct {
	k0, k1 uint64
	period int64 // in microseconds
}

// NewUserHasher returns a UserHasher. Every ingest instance must hold the same
// secret and rotation, or one user counts once per instance. A rotation of 0 is
// DefaultRotation.
func NewUserHasher(secret []byte, rotation time.Duration) (*UserHasher, error) {
	if len(secret) < MinUserSecret {
		return nil, fmt.Errorf("user hash secret has %d bytes, it needs at least %d", len(secret), MinUserSecret)
	}
	if rotation == 0 {
		rotation = DefaultRotation
	}
	if rotation < MinRotation {
		return nil, fmt.Errorf("user hash rotation is %v, it must be at least %v", rotation, MinRotation)
	}
	// The secret may serve other hashes too; the label keeps them apart.
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("adtally user hash 1"))
	key := mac.Sum(nil)
	return &UserHasher{
		k0: binary.LittleEndian.Uint64(key), k1: binary.LittleEndian.Uint64(key[8:]),
		period: rotation.Microseconds(),
	}, nil
}

// Hash returns the hash of a user id of an advertiser at a time in microseconds
// since 1970 UTC. It is 0 only for an empty id. It does not keep user and does
// not allocate.
func (h *UserHasher) Hash(advertiser uint64, user []byte, timeUs int64) uint64 {
	if len(user) == 0 {
		return 0
	}
	// The key of this advertiser and period (SipHash is a pseudo-random
	// function, so its output is a key again), then the id under that key.
	var scope [16]byte
	binary.LittleEndian.PutUint64(scope[:], advertiser)
	binary.LittleEndian.PutUint64(scope[8:], uint64(floorDiv(timeUs, h.period)))
	k0, k1 := siphash.Hash128(h.k0, h.k1, scope[:])
	// 0 says that there is no user; one id in 2^64 shares the hash 1 for it.
	return max(siphash.Hash(k0, k1, user), 1)
}

// floorDiv divides and rounds down, also before 1970.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
