package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/adtally/adtally/internal/clickhouse"
)

const (
	selectKeys = `SELECT key_id, secret_sha256, name, scopes, all_advertisers, advertisers, created, expires, revoked, version
FROM api_keys FINAL ORDER BY key_id`
	insertKey = `INSERT INTO api_keys
(key_id, secret_sha256, name, scopes, all_advertisers, advertisers, created, expires, revoked, version)`
	selectAccounts = `SELECT advertiser, name, currency, timezone, version FROM accounts FINAL ORDER BY advertiser`
	insertAccount  = `INSERT INTO accounts (advertiser, name, currency, timezone, version)`
)

// keyRow is a row of api_keys.
type keyRow struct {
	KeyID          string    `ch:"key_id"`
	SecretSHA256   string    `ch:"secret_sha256"`
	Name           string    `ch:"name"`
	Scopes         []string  `ch:"scopes"`
	AllAdvertisers bool      `ch:"all_advertisers"`
	Advertisers    []uint64  `ch:"advertisers"`
	Created        time.Time `ch:"created"`
	Expires        time.Time `ch:"expires"` // the start of 1970 means never
	Revoked        bool      `ch:"revoked"`
	Version        uint64    `ch:"version"`
}

func newKeyRow(text string, spec KeySpec) keyRow {
	id, _ := parseKeyText(text)
	advertisers := slices.Clone(spec.Advertisers)
	slices.Sort(advertisers)
	return keyRow{
		KeyID:          id,
		SecretSHA256:   hashKeyText(text),
		Name:           spec.Name,
		Scopes:         spec.Scopes.Names(),
		AllAdvertisers: spec.All,
		Advertisers:    slices.Compact(advertisers),
		Created:        time.Now().UTC().Truncate(time.Millisecond),
		Expires:        storedExpiry(spec.Expires),
		Version:        nextVersion(0),
	}
}

var never = time.Unix(0, 0).UTC()

func storedExpiry(t time.Time) time.Time {
	if t.IsZero() {
		return never
	}
	return t.UTC().Truncate(time.Millisecond)
}

// expiry is when the key ends, or the zero time.
func (r *keyRow) expiry() time.Time {
	if r.Expires.Unix() <= 0 {
		return time.Time{}
	}
	return r.Expires.UTC()
}

// scopes leaves out names that a newer version may have written: not knowing a
// scope must not widen a key.
func (r *keyRow) scopes() Scope {
	var set Scope
	for _, name := range r.Scopes {
		set |= scopeNamed(name)
	}
	return set
}

func (r *keyRow) key() Key {
	return Key{
		ID: r.KeyID, Name: r.Name, Scopes: r.scopes(), All: r.AllAdvertisers,
		Advertisers: slices.Clone(r.Advertisers), Created: r.Created, Expires: r.expiry(), Revoked: r.Revoked,
	}
}

func (r *keyRow) grant() Grant {
	advertisers := slices.Clone(r.Advertisers)
	slices.Sort(advertisers)
	return Grant{
		KeyID: r.KeyID, Name: r.Name, Scopes: r.scopes(), All: r.AllAdvertisers, Advertisers: advertisers,
	}
}

// accountRow is a row of accounts.
type accountRow struct {
	Advertiser uint64 `ch:"advertiser"`
	Name       string `ch:"name"`
	Currency   string `ch:"currency"`
	Timezone   string `ch:"timezone"`
	Version    uint64 `ch:"version"`
}

func (r *accountRow) account() Account {
	return Account{
		Advertiser: r.Advertiser, Name: r.Name, Currency: r.Currency, Timezone: r.Timezone,
	}.withDefaults()
}

func readKeys(ctx context.Context, conn clickhouse.Conn) ([]keyRow, error) {
	var rows []keyRow
	if err := conn.Select(ctx, &rows, selectKeys); err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	return rows, nil
}

func readAccounts(ctx context.Context, conn clickhouse.Conn) ([]accountRow, error) {
	var rows []accountRow
	if err := conn.Select(ctx, &rows, selectAccounts); err != nil {
		return nil, fmt.Errorf("read accounts: %w", err)
	}
	return rows, nil
}

// insert writes one row and returns when it is stored, whatever the server's
// default for async_insert is.
func insert(ctx context.Context, conn clickhouse.Conn, statement string, row any) error {
	ctx = clickhouse.With(ctx, "", clickhouse.Settings{"async_insert": 0}, nil)
	batch, err := conn.PrepareBatch(ctx, statement)
	if err != nil {
		return err
	}
	if err := batch.AppendStruct(row); err != nil {
		return errors.Join(err, batch.Abort())
	}
	return batch.Send()
}
