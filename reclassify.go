package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/adtally/adtally/internal/corrections"
)

type reclassifyCmd struct {
	target
	Verdicts  string `help:"File of verdicts: JSON objects, one a line, or CSV with a header. A line names an advertiser, a day (or start and end), and dimensions; net events of those cells become invalid, all of them or so many. A line with net or spend adds an amount instead." required:"" type:"existingfile" env:"-"`
	Kind      string `help:"What it is in adjustments: reclassification, correction or replay." enum:"reclassification,correction,replay" default:"reclassification" env:"-"`
	Reason    string `help:"Why, for whoever reads the books." required:"" env:"-"`
	Author    string `help:"Who decided it." required:"" env:"-"`
	Reference string `help:"Where it is written: a ticket, a letter." required:"" env:"-"`
	DryRun    bool   `help:"Say what would change, and change nothing." env:"-"`
}

// Run writes the correction; the next cut has it.
func (c *reclassifyCmd) Run(ctx context.Context, e *env) (err error) {
	for name, text := range map[string]string{"reason": c.Reason, "author": c.Author, "reference": c.Reference} {
		if len(text) > 1000 || text == "" {
			return wrongUsage("--%s: a text of 1 to 1000 bytes is wanted", name)
		}
	}
	text, err := os.ReadFile(c.Verdicts)
	if err != nil {
		return fmt.Errorf("read verdicts: %w", err)
	}
	verdicts, err := corrections.ParseVerdicts(text)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Verdicts, err)
	}
	conn, err := c.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	rows := func(ctx context.Context) ([]corrections.Row, error) {
		return corrections.Reclassify(ctx, conn, verdicts)
	}
	if c.DryRun {
		list, err := rows(ctx)
		if err != nil {
			return err
		}
		net, spend := int64(0), int64(0)
		for i := range list {
			net, spend = net+list[i].Net, spend+list[i].SpendNanos
		}
		_, err = fmt.Fprintf(e.stdout, "%d cells would change: net %+d, spend %+d nano-units over all currencies\n", len(list), net, spend)
		return err
	}
	sum := sha256.Sum256(text)
	applied, err := corrections.Apply(ctx, conn, corrections.Why{
		Kind: c.Kind, Reason: c.Reason, Author: c.Author, Reference: c.Reference, Digest: hex.EncodeToString(sum[:]),
	}, rows)
	if errors.Is(err, corrections.ErrApplied) {
		return fmt.Errorf("%s: %w; change a byte of it, such as a blank line, to apply it again", c.Verdicts, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.Verdicts, err)
	}
	_, err = fmt.Fprintf(e.stdout, "correction %d: %d cells changed; closed days show them as adjustments of the next close\n", applied.Number, applied.Rows)
	return err
}
