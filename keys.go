package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/adtally/adtally/internal/access"
)

type keyCmd struct {
	Create keyCreateCmd `cmd:"" help:"Make a key; its text is printed once and never again."`
	List   keyListCmd   `cmd:"" help:"List the keys, without their secrets."`
	Rotate keyRotateCmd `cmd:"" help:"Make a key in place of another, which lives on for a while; printed once."`
	Revoke keyRevokeCmd `cmd:"" help:"Revoke a key; it stops working within a second."`
}

type keyCreateCmd struct {
	target
	Name       string   `help:"What the key is for." env:"-"`
	Scope      []string `help:"What it may do: ingest, report, finance, admin." required:"" env:"-"`
	Advertiser []uint64 `help:"Advertisers that it covers." xor:"which" required:"" env:"-"`
	All        bool     `help:"It covers every advertiser." xor:"which" required:"" env:"-"`
	keyLife
}

// keyLife says when a new key ends.
type keyLife struct {
	Expires time.Duration `help:"How long the key lives, such as 2160h; 0 for ever." default:"0" env:"-"`
}

// end returns when a key that is made now ends, or the zero time.
func (l keyLife) end() (time.Time, error) {
	switch {
	case l.Expires < 0:
		return time.Time{}, wrongUsage("--expires cannot be negative")
	case l.Expires == 0:
		return time.Time{}, nil
	}
	return time.Now().Add(l.Expires), nil
}

// Run makes a key.
func (c *keyCreateCmd) Run(ctx context.Context, e *env) error {
	scopes, err := access.ParseScopes(c.Scope)
	if err != nil {
		return wrongUsage("--%s", err)
	}
	end, err := c.end()
	if err != nil {
		return err
	}
	conn, err := c.open()
	if err != nil {
		return err
	}
	text, _, err := access.NewStore(conn).CreateKey(ctx, access.KeySpec{
		Name: c.Name, Scopes: scopes, All: c.All, Advertisers: c.Advertiser, Expires: end,
	})
	if err == nil {
		_, err = fmt.Fprintln(e.stdout, text)
	}
	return errors.Join(err, conn.Close())
}

type keyListCmd struct{ target }

// Run lists keys.
func (c *keyListCmd) Run(ctx context.Context, e *env) error {
	conn, err := c.open()
	if err != nil {
		return err
	}
	keys, err := access.NewStore(conn).ListKeys(ctx)
	if err := errors.Join(err, conn.Close()); err != nil {
		return err
	}
	table := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tNAME\tSCOPES\tADVERTISERS\tCREATED\tEXPIRES\tSTATE")
	for _, k := range keys {
		covers, ends, state := "all", "never", "live"
		if !k.All {
			covers = strings.Trim(fmt.Sprint(k.Advertisers), "[]")
		}
		if !k.Expires.IsZero() {
			ends = k.Expires.Format(time.RFC3339)
			if !time.Now().Before(k.Expires) {
				state = "expired"
			}
		}
		if k.Revoked {
			state = "revoked"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, k.Scopes, covers, k.Created.UTC().Format(time.RFC3339), ends, state)
	}
	return table.Flush()
}

type keyRotateCmd struct {
	target
	ID      string        `arg:"" help:"Id of the key, as list shows it."`
	Overlap time.Duration `help:"How long both keys are taken." default:"24h" env:"-"`
	keyLife
}

// Run makes a key that may do what another does, and lets that one end.
func (c *keyRotateCmd) Run(ctx context.Context, e *env) error {
	end, err := c.end()
	if err != nil {
		return err
	}
	if c.Overlap < 0 {
		return wrongUsage("--overlap cannot be negative")
	}
	conn, err := c.open()
	if err != nil {
		return err
	}
	text, _, err := access.NewStore(conn).RotateKey(ctx, c.ID, c.Overlap, end)
	if err == nil {
		_, err = fmt.Fprintln(e.stdout, text)
	}
	return errors.Join(err, conn.Close())
}

type keyRevokeCmd struct {
	target
	ID string `arg:"" help:"Id of the key, as list shows it."`
}

// Run revokes a key.
func (c *keyRevokeCmd) Run(ctx context.Context, e *env) error {
	conn, err := c.open()
	if err != nil {
		return err
	}
	err = access.NewStore(conn).RevokeKey(ctx, c.ID)
	if err == nil {
		_, err = fmt.Fprintf(e.stdout, "key %s is revoked\n", c.ID)
	}
	return errors.Join(err, conn.Close())
}
