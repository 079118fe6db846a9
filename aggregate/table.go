package aggregate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/clickhouse"
)

// errServer means that ClickHouse answered, and must be set up otherwise before
// anything is counted into it.
var errServer = errors.New("ClickHouse")

// checkTable reads back what the ledger relies on: the settings of our inserts,
// which a profile may forbid or change, and those of the table.
func (l *Ledger) checkTable(ctx context.Context) error {
	if err := l.checkSettings(ctx); err != nil {
		return err
	}
	var engine, full, key string
	err := l.conn.QueryRow(ctx, "SELECT engine, engine_full, partition_key FROM system.tables WHERE database = currentDatabase() AND name = 'ledger'").
		Scan(&engine, &full, &key)
	if err != nil {
		return fmt.Errorf("read definition of the ledger: %w", err)
	}
	l.replicated = strings.HasPrefix(engine, "Replicated") || strings.HasPrefix(engine, "Shared")
	switch {
	case key != "lat_day":
		return fmt.Errorf("%w: table ledger is partitioned by %q, must be lat_day: a block would not be atomic; make it anew with adtally migrate", errServer, key)
	case !strings.HasSuffix(engine, "MergeTree") || strings.HasSuffix(engine, "SummingMergeTree") || strings.HasSuffix(engine, "AggregatingMergeTree"):
		return fmt.Errorf("%w: table ledger has engine %s, which changes rows; make it anew with adtally migrate", errServer, engine)
	case l.replicated:
		return nil
	}
	for _, want := range []string{"fsync_after_insert = 1", "fsync_part_directory = 1"} {
		if !strings.Contains(full, want) {
			return fmt.Errorf("%w: table ledger is without %s, so an acknowledged block may be lost with the power: ALTER TABLE ledger MODIFY SETTING %s", errServer, want, want)
		}
	}
	if !strings.Contains(full, "non_replicated_deduplication_window = ") || strings.Contains(full, "non_replicated_deduplication_window = 0") {
		return fmt.Errorf("%w: table ledger does not recognise blocks that are sent again: ALTER TABLE ledger MODIFY SETTING non_replicated_deduplication_window = 1000", errServer)
	}
	return nil
}

// checkSettings asks the server which settings an insert of ours has.
func (l *Ledger) checkSettings(ctx context.Context) (err error) {
	want := insertSettings(uuid.Nil)
	delete(want, "max_execution_time") // the client makes it of the deadline
	ctx = clickhouse.With(ctx, "", want, nil)
	rows, err := l.conn.Query(ctx, "SELECT name, value FROM system.settings WHERE name IN ('"+strings.Join(settingNames(want), "','")+"')")
	if err != nil {
		return fmt.Errorf("read settings of inserts: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	found := 0
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return fmt.Errorf("read settings of inserts: %w", err)
		}
		found++
		if fmt.Sprint(want[name]) != value {
			return fmt.Errorf("%w: setting %s is %s although we ask for %v: allow it in the profile of our user", errServer, name, value, want[name])
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read settings of inserts: %w", err)
	}
	if found != len(want) {
		return fmt.Errorf("%w: it knows %d of the %d settings of our inserts; this version cannot hold the ledger", errServer, found, len(want))
	}
	return nil
}

func settingNames(settings clickhouse.Settings) []string {
	names := make([]string, 0, len(settings))
	for name := range settings {
		names = append(names, name)
	}
	return names
}
