package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/query/reconcile"
)

type reconcileCmd struct {
	target
	File       string        `arg:"" help:"The other side's totals: CSV with a header; day, and any of campaign, currency, impressions, viewable, clicks, conversions, spend." type:"existingfile"`
	Advertiser uint64        `help:"Advertiser that the totals are of." required:"" env:"-"`
	Timezone   string        `help:"Time zone of their days; none means that of the account." env:"-"`
	Gross      bool          `help:"They count repeats and invalid traffic, too." env:"-"`
	Lateness   time.Duration `help:"How long after a day they made their report: what came later may be missing there." default:"6h" env:"-"`
	Format     string        `help:"How to print: text or json." enum:"text,json" default:"text" env:"-"`
}

// Run explains where the totals differ.
func (c *reconcileCmd) Run(ctx context.Context, e *env) (err error) {
	if c.Advertiser == 0 {
		return wrongUsage("--advertiser: an id from 1 is wanted")
	}
	text, err := os.ReadFile(c.File)
	if err != nil {
		return fmt.Errorf("read their totals: %w", err)
	}
	lines, err := reconcile.Parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	conn, err := c.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	account := "UTC"
	accounts, err := access.NewStore(conn).ListAccounts(ctx)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		if a.Advertiser == c.Advertiser {
			account = a.Timezone
		}
	}
	req := reconcile.Request{Advertiser: c.Advertiser, Gross: c.Gross, Lateness: c.Lateness, Lines: lines}
	if req.Zone, err = access.LoadZone(account); err != nil {
		return err
	}
	req.Their = req.Zone
	if c.Timezone != "" {
		if req.Their, err = access.LoadZone(c.Timezone); err != nil {
			return wrongUsage("--timezone: %v", err)
		}
	}
	gaps, err := reconcile.Explain(ctx, conn, &req)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	return c.print(e, account, gaps)
}

var gapColumns = []string{"theirs", "ours", "timezone", "duplicates", "invalid", "late", "consent", "unexplained"}

func (c *reconcileCmd) print(e *env, account string, gaps []reconcile.Gap) error {
	all := append(gaps, reconcile.Sum(gaps)...) //nolint:gocritic // the sums are printed behind the lines
	if c.Format == "json" {
		list := make([]map[string]string, len(all))
		for i := range all {
			g := &all[i]
			list[i] = map[string]string{"day": g.Day, "campaign": g.Campaign, "metric": g.Metric, "currency": g.Currency}
			for j, cell := range g.Cells() {
				list[i][gapColumns[j]] = cell
			}
		}
		enc := json.NewEncoder(e.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(list)
	}
	fmt.Fprintf(e.stdout, "theirs = ours + timezone + duplicates + invalid + late + consent + unexplained; our days are in %s\n\n", account)
	table := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "DAY\tCAMPAIGN\tMETRIC\t"+strings.ToUpper(strings.Join(gapColumns, "\t"))+"\t")
	for i := range all {
		g := &all[i]
		name := g.Metric
		if g.Currency != "" {
			name += " " + g.Currency
		}
		fmt.Fprintln(table, g.Day+"\t"+g.Campaign+"\t"+name+"\t"+strings.Join(g.Cells(), "\t")+"\t")
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(e.stdout, "\nConsent never takes an event out of our counts; if they leave such events out, that is in unexplained.")
	return err
}
