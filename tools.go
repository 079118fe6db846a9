package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/proto"
)

type tokenCmd struct {
	Data        string `help:"Data directory of an adtally run; its current key signs." type:"path"`
	SigningKeys string `help:"File of signing keys, instead of --data." type:"path"`
}

// Run reads JSON lines and writes a token a line.
func (c *tokenCmd) Run(e *env) error {
	file := c.SigningKeys
	switch {
	case file == "" && c.Data == "":
		return wrongUsage("token: name the keys to sign with: --data DIR or --signing-keys FILE")
	case file == "":
		file = signingKeysFile(c.Data)
	}
	ring, err := token.LoadKeyring(file)
	if err != nil {
		return err
	}
	return token.ReadSpecs(e.stdin, time.Now(), func(t *proto.Token) error {
		_, err := fmt.Fprintf(e.stdout, "%s\n", ring.Sign(nil, t))
		return err
	})
}

// target is the ClickHouse that a tool works on.
type target struct {
	Data       string            `help:"Data directory of a running adtally run, to find its servers." type:"path"`
	ClickHouse clickhouse.Config `embed:"" prefix:"clickhouse-"`
}

// open connects as the writer.
func (t *target) open() (clickhouse.Conn, error) {
	if t.Data == "" && len(t.ClickHouse.Addr) == 0 {
		return nil, wrongUsage("name the servers: --data DIR of a running adtally run, or --clickhouse-addr")
	}
	cfg, err := t.config()
	if err != nil {
		return nil, err
	}
	return clickhouse.Open(cfg)
}

// config is how to connect as the writer.
func (t *target) config() (clickhouse.Config, error) {
	if t.Data == "" || len(t.ClickHouse.Addr) > 0 {
		return withAddr(t.ClickHouse), nil
	}
	s, err := readState(t.Data)
	if err != nil {
		return t.ClickHouse, err
	}
	if s.Ports.ClickHouseNative == 0 {
		return t.ClickHouse, fmt.Errorf("the adtally run in %s uses another ClickHouse: name it with --clickhouse-addr", t.Data)
	}
	writer, _, err := dev.ReadCredentials(clickHouseDir(t.Data))
	if err != nil {
		return t.ClickHouse, err
	}
	return asUser(t.ClickHouse, net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Ports.ClickHouseNative)), writer), nil
}

func readState(data string) (s state, err error) {
	text, err := os.ReadFile(stateFile(data))
	if errors.Is(err, os.ErrNotExist) {
		return s, fmt.Errorf("%s: no adtally run has been started there", data)
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, fmt.Errorf("read state of adtally run: %w", err)
	}
	return s, nil
}

type accountCmd struct {
	Set  accountSetCmd  `cmd:"" help:"Name an advertiser, and set its currency and time zone."`
	List accountListCmd `cmd:"" help:"List the advertisers that have more than the defaults."`
}

type accountSetCmd struct {
	target
	Advertiser uint64 `arg:"" help:"Advertiser."`
	Name       string `help:"Its name; what is not given stays as it is." env:"-"`
	Currency   string `help:"Its currency (ISO 4217); USD at first." env:"-"`
	Timezone   string `help:"Its time zone (IANA); UTC at first." env:"-"`
}

// Run sets an account.
func (c *accountSetCmd) Run(ctx context.Context, e *env) error {
	conn, err := c.open()
	if err != nil {
		return err
	}
	store := access.NewStore(conn)
	account, err := c.merge(ctx, store)
	if err == nil {
		err = store.PutAccount(ctx, account)
	}
	if err == nil {
		_, err = fmt.Fprintf(e.stdout, "advertiser %d: name %q, currency %s, time zone %s\n", account.Advertiser, account.Name, account.Currency, account.Timezone)
	}
	return errors.Join(err, conn.Close())
}

// merge returns the account as it is with what was given put in its place.
func (c *accountSetCmd) merge(ctx context.Context, store *access.Store) (access.Account, error) {
	account := access.Account{Advertiser: c.Advertiser, Name: strconv.FormatUint(c.Advertiser, 10), Currency: "USD", Timezone: "UTC"}
	known, err := store.ListAccounts(ctx)
	if err != nil {
		return account, err
	}
	for _, a := range known {
		if a.Advertiser == c.Advertiser {
			account = a
		}
	}
	account.Name = cmp.Or(c.Name, account.Name)
	account.Currency = cmp.Or(c.Currency, account.Currency)
	account.Timezone = cmp.Or(c.Timezone, account.Timezone)
	return account, nil
}

type accountListCmd struct{ target }

// Run lists accounts.
func (c *accountListCmd) Run(ctx context.Context, e *env) error {
	conn, err := c.open()
	if err != nil {
		return err
	}
	accounts, err := access.NewStore(conn).ListAccounts(ctx)
	if err := errors.Join(err, conn.Close()); err != nil {
		return err
	}
	table := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ADVERTISER\tNAME\tCURRENCY\tTIMEZONE")
	for _, a := range accounts {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\n", a.Advertiser, a.Name, a.Currency, a.Timezone)
	}
	return table.Flush()
}

// printAs prints what a tool found, as JSON for programs or as text for people.
func printAs(w io.Writer, format string, found interface{ text(w io.Writer) error }) error {
	if format != "json" {
		return found.text(w)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(found)
}
