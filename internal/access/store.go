package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/adtally/adtally/internal/clickhouse"
)

// Errors that callers tell apart.
var (
	// ErrNoSuchKey says that no key has the id.
	ErrNoSuchKey = errors.New("no key has this id")
	// ErrRevoked says that the key was revoked; a revoked key does not come back.
	ErrRevoked = errors.New("the key is revoked")
)

// Key describes an API key without its secret.
type Key struct {
	// ID names the key.
	ID string
	// Name is for people.
	Name string
	// Scopes is what the key may do.
	Scopes Scope
	// All says that the key covers every advertiser.
	All bool
	// Advertisers are the advertisers it covers otherwise.
	Advertisers []uint64
	// Created is when the key was made.
	Created time.Time
	// Expires is when the key ends by itself; zero means never.
	Expires time.Time
	// Revoked says that the key is no longer taken.
	Revoked bool
}

// KeySpec is what a new key shall allow.
type KeySpec struct {
	// Name is for people.
	Name string
	// Scopes is what the key may do; at least one.
	Scopes Scope
	// All covers every advertiser; then Advertisers must be empty.
	All bool
	// Advertisers are the advertisers to cover; at least one unless All.
	Advertisers []uint64
	// Expires is when the key ends by itself; zero means never.
	Expires time.Time
}

func (s KeySpec) validate() error {
	switch {
	case s.Scopes == 0:
		return errors.New("key: at least one scope is needed")
	case s.All && len(s.Advertisers) > 0:
		return errors.New("key: name advertisers or all of them, not both")
	case !s.All && len(s.Advertisers) == 0:
		return errors.New("key: name an advertiser, or all of them")
	case !s.Expires.IsZero() && s.Expires.Before(time.Now()):
		return errors.New("key: it would have expired already")
	case slices.Contains(s.Advertisers, 0):
		return errors.New("key: advertiser 0 does not exist")
	}
	return validateName(s.Name)
}

// Store reads and changes keys and accounts in ClickHouse. It is safe for
// concurrent use.
type Store struct{ conn clickhouse.Conn }

// NewStore returns a Store over tables that clickhouse.Migrate made.
func NewStore(conn clickhouse.Conn) *Store { return &Store{conn: conn} }

// CreateKey makes a key and returns its text. This is the only time that the
// text can be read; the table holds its hash.
func (s *Store) CreateKey(ctx context.Context, spec KeySpec) (text string, key Key, err error) {
	if err := spec.validate(); err != nil {
		return "", Key{}, err
	}
	text = newKeyText()
	row := newKeyRow(text, spec)
	if err := s.putKey(ctx, row); err != nil {
		return "", Key{}, fmt.Errorf("create key: %w", err)
	}
	return text, row.key(), nil
}

// ImportKey makes sure that a key whose text the caller holds is known. A key
// that is already there stays as it is, also when spec differs.
func (s *Store) ImportKey(ctx context.Context, text string, spec KeySpec) (Key, error) {
	if err := spec.validate(); err != nil {
		return Key{}, err
	}
	id, ok := parseKeyText(text)
	if !ok {
		return Key{}, errors.New("import key: the text is no adtally key")
	}
	old, err := s.keyRow(ctx, id)
	if errors.Is(err, ErrNoSuchKey) {
		row := newKeyRow(text, spec)
		if err := s.putKey(ctx, row); err != nil {
			return Key{}, fmt.Errorf("import key %s: %w", id, err)
		}
		return row.key(), nil
	}
	switch {
	case err != nil:
		return Key{}, fmt.Errorf("import key %s: %w", id, err)
	case !sameHash(old.SecretSHA256, hashKeyText(text)):
		return Key{}, fmt.Errorf("import key %s: another key has this id", id)
	case old.Revoked:
		return Key{}, fmt.Errorf("import key %s: %w", id, ErrRevoked)
	}
	return old.key(), nil
}

// RevokeKey ends a key for good. Directories refuse it within a second.
func (s *Store) RevokeKey(ctx context.Context, id string) error {
	row, err := s.keyRow(ctx, id)
	if err != nil {
		return fmt.Errorf("revoke key: %w", err)
	}
	row.Revoked = true
	row.Version = nextVersion(row.Version)
	if err := s.putKey(ctx, row); err != nil {
		return fmt.Errorf("revoke key %s: %w", id, err)
	}
	return nil
}

// RotateKey makes a key that allows what the old one does, and lets the old one
// live on for the overlap, or less if it ends before. The new key's life begins
// anew: expires is when it ends, zero for never.
func (s *Store) RotateKey(ctx context.Context, id string, overlap time.Duration, expires time.Time) (text string, key Key, err error) {
	old, err := s.keyRow(ctx, id)
	if err != nil {
		return "", Key{}, fmt.Errorf("rotate key: %w", err)
	}
	end := time.Now().Add(overlap)
	if last := old.expiry(); old.Revoked || !last.IsZero() && last.Before(time.Now()) {
		return "", Key{}, fmt.Errorf("rotate key %s: %w", id, ErrRevoked)
	} else if !last.IsZero() && last.Before(end) {
		end = last
	}
	text, key, err = s.CreateKey(ctx, KeySpec{
		Name: old.Name, Scopes: old.scopes(), All: old.AllAdvertisers, Advertisers: old.Advertisers, Expires: expires,
	})
	if err != nil {
		return "", Key{}, err
	}
	old.Expires = storedExpiry(end)
	old.Version = nextVersion(old.Version)
	if err := s.putKey(ctx, old); err != nil {
		return "", Key{}, fmt.Errorf("rotate key %s: %w", id, err)
	}
	return text, key, nil
}

// ListKeys returns every key, revoked ones too, the oldest first.
func (s *Store) ListKeys(ctx context.Context) ([]Key, error) {
	rows, err := readKeys(ctx, s.conn)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	keys := make([]Key, len(rows))
	for i, row := range rows {
		keys[i] = row.key()
	}
	slices.SortStableFunc(keys, func(a, b Key) int { return a.Created.Compare(b.Created) })
	return keys, nil
}

// PutAccount creates or replaces an account. Empty fields take the defaults.
func (s *Store) PutAccount(ctx context.Context, account Account) error {
	account = account.withDefaults()
	if err := account.validate(); err != nil {
		return fmt.Errorf("put account %d: %w", account.Advertiser, err)
	}
	rows, err := readAccounts(ctx, s.conn)
	if err != nil {
		return fmt.Errorf("put account %d: %w", account.Advertiser, err)
	}
	row := accountRow{
		Advertiser: account.Advertiser, Name: account.Name,
		Currency: account.Currency, Timezone: account.Timezone,
	}
	for _, old := range rows {
		if old.Advertiser == row.Advertiser {
			row.Version = old.Version
		}
	}
	row.Version = nextVersion(row.Version)
	if err := insert(ctx, s.conn, insertAccount, &row); err != nil {
		return fmt.Errorf("put account %d: %w", account.Advertiser, err)
	}
	return nil
}

// ListAccounts returns the accounts by advertiser.
func (s *Store) ListAccounts(ctx context.Context) ([]Account, error) {
	rows, err := readAccounts(ctx, s.conn)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	accounts := make([]Account, len(rows))
	for i, row := range rows {
		accounts[i] = row.account()
	}
	return accounts, nil
}

func (s *Store) keyRow(ctx context.Context, id string) (keyRow, error) {
	rows, err := readKeys(ctx, s.conn)
	if err != nil {
		return keyRow{}, err
	}
	for _, row := range rows {
		if row.KeyID == id {
			return row, nil
		}
	}
	return keyRow{}, fmt.Errorf("key %q: %w", id, ErrNoSuchKey)
}

func (s *Store) putKey(ctx context.Context, row keyRow) error {
	return insert(ctx, s.conn, insertKey, &row)
}

func nextVersion(old uint64) uint64 { return max(uint64(time.Now().UnixNano()), old+1) }
