package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/adtally/adtally/internal/clickhouse"
)

// maxProofMiB is the memory within which a statement of ten million rows is
// exported.
const maxProofMiB = 256

// proof takes a statement through the built program: it closes the day, exports it
// under a watch of its memory, has it verified, and reads it with pyarrow, whose
// sums must be the manifest's.
func (b *bench) proof(ctx context.Context, text *strings.Builder, binary string) error {
	if err := b.mark(ctx); err != nil {
		return err
	}
	out := filepath.Join(b.dir, "books")
	said, _, err := b.tool(ctx, binary, "close", "--day", day, "--close-lateness", "0s")
	if err != nil {
		return err
	}
	fmt.Fprint(os.Stderr, said)
	said, peak, err := b.tool(ctx, binary, "export", "--day", day, "--out", out)
	if err != nil {
		return err
	}
	fmt.Fprintf(text, "adtally export, peak %.0f MiB, allowed %d:\n%s", peak, maxProofMiB, said)
	if peak > maxProofMiB {
		return fmt.Errorf("the export took %.0f MiB, more than %d", peak, maxProofMiB)
	}
	said, peak, err = b.tool(ctx, binary, "export", "--verify", out)
	if err != nil {
		return err
	}
	fmt.Fprintf(text, "adtally export --verify, peak %.0f MiB: %s", peak, said)
	python, err := exec.CommandContext(ctx, "scripts/readers.sh").Output()
	if err != nil {
		return fmt.Errorf("get readers of Parquet: %w", err)
	}
	cmd := exec.CommandContext(ctx, strings.TrimSpace(string(python)), "bench/export/sums.py", filepath.Join(out, "day="+day)) //nolint:gosec // of scripts/readers.sh
	cmd.Stderr = os.Stderr
	sums, err := cmd.Output()
	text.Write(sums)
	if err != nil {
		return fmt.Errorf("other readers disagree with the manifest: %w", err)
	}
	return nil
}

// mark writes what makes the rows of fill a counted batch: the topic, and a mark
// that joins them to the beginning of the log.
func (b *bench) mark(ctx context.Context) error {
	ctx = clickhouse.With(ctx, "", clickhouse.Settings{"async_insert": 0}, clickhouse.Parameters{"topic": topic.String()})
	for _, sql := range []string{
		"INSERT INTO topics (topic, topic_id, partitions, spread, scheme, lineage) VALUES ('bench', {topic:UUID}, 1, 4, 's', 1)",
		`INSERT INTO ledger (advertiser, minute, topic_id, kafka_partition, b_start, b_end, lineage, lat_day,
    mark_rows, mark_gross, mark_net, mark_spend_nanos, mark_lat)
SELECT 0, toDateTime(0, 'UTC'), {topic:UUID}, 0, 0, 1, 1, '2026-11-20', count(), sum(gross), sum(net), sum(spend_nanos), toDateTime('2026-11-22 00:00:00', 'UTC')
FROM ledger WHERE advertiser > 0`,
	} {
		if err := b.conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("mark the batch: %w", err)
		}
	}
	return nil
}

// tool runs the built program against the server and returns what it printed and
// its peak memory in MiB.
func (b *bench) tool(ctx context.Context, binary string, args ...string) (said string, peak float64, err error) {
	secret := filepath.Join(b.dir, "password")
	if err := os.WriteFile(secret, []byte(b.cfg.Password), 0o600); err != nil {
		return "", 0, err
	}
	args = append(args, "--clickhouse-password-file", secret, "--clickhouse-addr", b.cfg.Addr[0], "--clickhouse-database", b.cfg.Database, "--clickhouse-user", b.cfg.User)
	cmd := exec.CommandContext(ctx, binary, args...) //nolint:gosec // the program that is measured
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		return "", 0, fmt.Errorf("adtally %s: %w\n%s", args[0], err, output)
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		return string(output), float64(usage.Maxrss) / 1024, nil
	}
	return string(output), 0, errors.New("the memory of the process is not known")
}
