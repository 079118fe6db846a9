package clickhouse

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

//go:embed migrations/*.sql
var migrations embed.FS

var databaseName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// Migrate creates the database and brings its tables to the current version.
// Every statement can be run again, so a migration that was cut off is finished
// by the next run. cfg.Database may not exist yet.
func Migrate(ctx context.Context, cfg Config) error {
	if !databaseName.MatchString(cfg.Database) {
		return fmt.Errorf("database name %q: only letters, digits and _ are allowed", cfg.Database)
	}
	bootstrap := cfg
	bootstrap.Database = "default"
	if err := execAll(ctx, bootstrap, "CREATE DATABASE IF NOT EXISTS "+cfg.Database); err != nil {
		return fmt.Errorf("create database %s: %w", cfg.Database, err)
	}
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return fmt.Errorf("list migrations: %w", err)
	}
	for _, name := range files {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read migration: %w", err)
		}
		if err := execAll(ctx, cfg, string(text)); err != nil {
			return fmt.Errorf("run %s: %w", name, err)
		}
	}
	return nil
}

// execAll runs statements that are separated by semicolons at line ends.
func execAll(ctx context.Context, cfg Config, script string) error {
	conn, err := Open(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // only idle connections are left to close
	for statement := range strings.SplitSeq(script, ";\n") {
		statement = strings.TrimSuffix(strings.TrimSpace(statement), ";")
		if onlyComments(statement) {
			continue
		}
		if err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func onlyComments(statement string) bool {
	for line := range strings.SplitSeq(statement, "\n") {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "--") {
			return false
		}
	}
	return true
}
