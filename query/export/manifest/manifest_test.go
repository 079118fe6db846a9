package manifest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/internal/testkit"
	"github.com/adtally/adtally/query/closing"
	"github.com/adtally/adtally/query/export/statement"
)

func TestMain(m *testing.M) {
	dev.ChildMain()
	os.Exit(m.Run())
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// closedDays is a ledger of which two days are closed in two zones, the second
// with adjustments.
func closedDays(t *testing.T) clickhouse.Conn {
	t.Helper()
	server := testkit.StartClickHouse(t)
	conn := testkit.Open(t, server.AsWriter)
	l := testkit.NewLedger(t, conn, 2)
	if err := access.NewStore(conn).PutAccount(t.Context(), access.Account{Advertiser: 2, Timezone: "Asia/Kathmandu"}); err != nil {
		t.Fatal(err)
	}
	rows := func(at time.Time) (list []testkit.Row) {
		for i := range 40 {
			list = append(list, testkit.Row{
				Advertiser: uint64(1 + i%3), Minute: at.Add(time.Duration(i) * time.Minute), Type: uint8(1 + i%3),
				IDs: [5]uint64{uint64(i), 1, 1 << 63, 4, 5}, Texts: [7]string{"US", "../../x", "mobile", "=cmd|'/C calc'!A0", "", "", []string{"USD", "EUR"}[i%2]},
				Net: int64(i), Duplicate: 1, Spend: int64(i) * 1_000_000_001,
			})
		}
		return list
	}
	l.Block(t, noon, testkit.Span{Rows: rows(noon)}, testkit.Span{Partition: 1})
	l.Block(t, noon.AddDate(0, 0, 1), testkit.Span{Rows: rows(noon.AddDate(0, 0, 1))}, testkit.Span{Partition: 1})
	cut(t, conn)
	closer, err := closing.New(closing.Config{Lateness: 6 * time.Hour, Interval: time.Minute}, conn, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	due := func(zones int) {
		t.Helper()
		made, err := closer.Due(t.Context())
		if err != nil || len(made) != zones {
			t.Fatalf("%d closes, %v", len(made), err)
		}
	}
	due(2)
	late := rows(noon)
	for i := range late {
		late[i].IDs[0] += 100
	}
	l.Block(t, noon.AddDate(0, 0, 2), testkit.Span{Rows: late}, testkit.Span{Partition: 1})
	cut(t, conn)
	due(2)
	return conn
}

func cut(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	reader := books.NewReader(conn)
	last, err := reader.Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	topics, err := reader.Topics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tail, err := reader.Tail(t.Context(), topics, last.Vector, books.Limit{})
	if err != nil {
		t.Fatal(err)
	}
	reached, _ := tail.To.Reached(topics[len(topics)-1])
	err = books.Commit(t.Context(), conn, &books.Cut{
		Number: last.Number + 1, Attempt: uuid.New(), Previous: last.Attempt, CodeVersion: 1, KeptUntil: time.Now(),
		CompleteThrough: reached, Vector: tail.To, Added: books.Totals{},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func exportDay(t *testing.T, e *Exporter, req Request) (string, *Manifest) {
	t.Helper()
	m, dir, err := e.Export(t.Context(), &req)
	if err != nil {
		t.Fatal(err)
	}
	return dir, m
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, entry := range list {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = string(text)
	}
	return files
}

func verify(t *testing.T, e *Exporter, dir string) string {
	t.Helper()
	v, err := e.Verify(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(v.Faults, "\n")
}

func TestExports(t *testing.T) {
	conn := closedDays(t)
	e := NewExporter(conn)
	t.Run("formats", func(t *testing.T) { testFormats(t, e) })
	t.Run("killed at each step", func(t *testing.T) { testSteps(t, conn) })
	t.Run("faults are named", func(t *testing.T) { testFaults(t, e) })
	t.Run("one zone and advertiser", func(t *testing.T) { testFilters(t, e) })
	t.Run("changed books", func(t *testing.T) { testChanged(t, conn, e) })
}

func testFormats(t *testing.T, e *Exporter) {
	t.Helper()
	var spends []string
	for _, format := range statement.Formats {
		dir, m := exportDay(t, e, Request{Day: "2026-11-21", Dir: t.TempDir(), Format: format})
		if want := 2; len(m.Closes) != want || m.Files[0].Rows != 40 || m.Files[1].Rows != 40 {
			t.Errorf("%s: %d closes, files %+v", format, len(m.Closes), m.Files)
		}
		if faults := verify(t, e, dir); faults != "" {
			t.Errorf("%s: %s", format, faults)
		}
		before := contents(t, dir)
		exportDay(t, e, Request{Day: "2026-11-21", Dir: filepath.Dir(dir), Format: format})
		after := contents(t, dir)
		if len(before) != 3 || fmt.Sprint(before) != fmt.Sprint(after) {
			t.Errorf("%s: the second export has other files", format)
		}
		spends = append(spends, fmt.Sprint(m.Files[0].Totals, m.Files[1].Totals))
		_, _, err := e.Export(t.Context(), &Request{Day: "2026-11-21", Dir: filepath.Dir(dir), Format: format, Advertiser: 1})
		if !errors.Is(err, ErrDiffers) {
			t.Errorf("another export into the same folder: %v", err)
		}
	}
	if spends[0] != spends[1] || spends[1] != spends[2] {
		t.Errorf("totals differ by format: %v", spends)
	}
}

// testSteps ends exports before each step and runs them again.
func testSteps(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	want := func() map[string]string {
		dir, _ := exportDay(t, NewExporter(conn), Request{Day: "2026-11-21", Dir: t.TempDir(), Format: statement.Parquet})
		return contents(t, dir)
	}()
	dir := t.TempDir()
	for n := 0; ; n++ {
		e := NewExporter(conn)
		at := 0
		e.step = func(string) error {
			if at++; at > n {
				return context.Canceled
			}
			return nil
		}
		_, day, err := e.Export(t.Context(), &Request{Day: "2026-11-21", Dir: dir, Format: statement.Parquet})
		if err == nil {
			if n < 7 {
				t.Errorf("an export has only %d steps", n)
			}
			break
		}
		// What a kill leaves, which cannot remove its files.
		if err := os.WriteFile(partName(day, "statement.parquet"), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		exportDay(t, NewExporter(conn), Request{Day: "2026-11-21", Dir: dir, Format: statement.Parquet})
		if got := contents(t, day); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("after an end at step %d the files are others", n)
		}
		if n%2 == 0 {
			if err := os.RemoveAll(day); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func testFaults(t *testing.T, e *Exporter) {
	t.Helper()
	other, _ := exportDay(t, e, Request{Day: "2026-11-20", Dir: t.TempDir(), Format: statement.Parquet})
	damage := func(format statement.Format, want string, damage func(dir string)) {
		t.Helper()
		dir, _ := exportDay(t, e, Request{Day: "2026-11-21", Dir: t.TempDir(), Format: format})
		damage(dir)
		if faults := verify(t, e, dir); !strings.Contains(faults, want) {
			t.Errorf("faults %q, want %q", faults, want)
		}
	}
	edit := func(dir, name string, change func(text []byte) []byte) {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, change(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	damage(statement.Parquet, "statement.parquet was changed", func(dir string) {
		edit(dir, "statement.parquet", func(text []byte) []byte { text[len(text)/2] ^= 1; return text })
	})
	damage(statement.Arrow, "adjustments.arrow was changed", func(dir string) {
		edit(dir, "adjustments.arrow", func(text []byte) []byte { text[len(text)/2] ^= 1; return text })
	})
	damage(statement.Parquet, "adjustments.parquet is not there", func(dir string) {
		if err := os.Remove(filepath.Join(dir, "adjustments.parquet")); err != nil {
			t.Fatal(err)
		}
	})
	damage(statement.Parquet, "manifest.json is not there", func(dir string) {
		if err := os.Remove(filepath.Join(dir, Name)); err != nil {
			t.Fatal(err)
		}
	})
	// A row is taken out, and the manifest made to fit the file.
	damage(statement.CSV, "the manifest's statement.csv has", func(dir string) {
		edit(dir, "statement.csv", func(text []byte) []byte {
			lines := bytes.SplitAfter(text, []byte("\r\n"))
			return bytes.Join(append(lines[:1], lines[2:]...), nil)
		})
		m, err := Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		f := m.file("statement.csv")
		if f.SHA256, f.Bytes, err = hashOf(filepath.Join(dir, "statement.csv")); err != nil {
			t.Fatal(err)
		}
		got, err := sumsOf(statement.CSV, filepath.Join(dir, "statement.csv"))
		if err != nil {
			t.Fatal(err)
		}
		f.Totals, f.Rows = got.list()
		edit(dir, Name, func([]byte) []byte { return m.Encode() })
	})
	damage(statement.Parquet, "the manifest is of 2026-11-20", func(dir string) {
		edit(dir, Name, func(text []byte) []byte { return bytes.Replace(text, []byte("2026-11-21"), []byte("2026-11-20"), 1) })
	})
	damage(statement.Parquet, "statement.parquet was changed", func(dir string) {
		text, err := os.ReadFile(filepath.Join(other, Name))
		if err != nil {
			t.Fatal(err)
		}
		edit(dir, Name, func([]byte) []byte { return text })
	})
	damage(statement.Parquet, "the manifest is from another close", func(dir string) {
		m, err := Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		m.Closes[0].Hash = strings.Repeat("0", 64)
		edit(dir, Name, func([]byte) []byte { return m.Encode() })
	})
}

func testFilters(t *testing.T, e *Exporter) {
	t.Helper()
	dir, m := exportDay(t, e, Request{Day: "2026-11-21", Dir: t.TempDir(), Format: statement.Parquet, Timezone: "UTC", Advertiser: 3})
	if len(m.Closes) != 1 || m.Files[0].Rows != 13 || m.Files[0].Totals[0].Advertiser != 3 {
		t.Errorf("%+v", m)
	}
	if faults := verify(t, e, dir); faults != "" {
		t.Error(faults)
	}
	_, _, err := e.Export(t.Context(), &Request{Day: "2026-11-25", Dir: t.TempDir(), Format: statement.Parquet})
	if !errors.Is(err, closing.ErrNoClose) {
		t.Errorf("export of an open day: %v", err)
	}
}

// testChanged changes the ledger and the closes behind the back of everybody.
func testChanged(t *testing.T, conn clickhouse.Conn, e *Exporter) {
	t.Helper()
	dir, _ := exportDay(t, e, Request{Day: "2026-11-21", Dir: t.TempDir(), Format: statement.Parquet})
	exec := func(sql string) {
		t.Helper()
		if err := conn.Exec(clickhouse.With(t.Context(), "", clickhouse.Settings{"mutations_sync": 2}, nil), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("ALTER TABLE ledger DELETE WHERE advertiser = 1 AND campaign = 3 AND toDate(minute) = '2026-11-21'")
	if faults := verify(t, e, dir); !strings.Contains(faults, "the ledger for statement.parquet has") {
		t.Errorf("a row of the ledger is gone: %q", faults)
	}
	_, _, err := e.Export(t.Context(), &Request{Day: "2026-11-21", Dir: t.TempDir(), Format: statement.Parquet})
	if err == nil || !strings.Contains(err.Error(), "nothing is exported") {
		t.Errorf("export of a ledger that lost a row: %v", err)
	}
	exec("ALTER TABLE closes UPDATE body = replaceOne(body, '\"net\":', '\"net\":1') WHERE sequence = 1")
	if faults := verify(t, e, dir); !strings.Contains(faults, "close 1 (2026-11-20") {
		t.Errorf("a close was changed: %q", faults)
	}
}

// What the ledger keeps no longer is neither exported nor called wrong.
func TestDroppedMinutes(t *testing.T) {
	conn := closedDays(t)
	e := NewExporter(conn)
	dir, _ := exportDay(t, e, Request{Day: "2026-11-20", Dir: t.TempDir(), Format: statement.CSV})
	err := conn.Exec(clickhouse.With(t.Context(), "", clickhouse.Settings{"async_insert": 0}, nil),
		"INSERT INTO dropped_days (day, through, cut) VALUES ('2026-11-20', '2026-11-20 12:39:00', 2)")
	if err == nil {
		err = conn.Exec(t.Context(), "ALTER TABLE ledger DELETE IN PARTITION '2026-11-20' WHERE advertiser > 0 SETTINGS mutations_sync = 1")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Export(t.Context(), &Request{Day: "2026-11-20", Dir: t.TempDir(), Format: statement.CSV}); !errors.Is(err, books.ErrDropped) {
		t.Errorf("an export of dropped minutes: %v", err)
	}
	v, err := e.Verify(t.Context(), dir)
	if err != nil || len(v.Faults) > 0 || len(v.Notes) == 0 || !strings.Contains(v.Notes[0], "keeps these minutes no longer") {
		t.Errorf("an export from before: %+v %v", v, err)
	}
	// The day after has all its rows, among them the late ones of the day before.
	next, m := exportDay(t, e, Request{Day: "2026-11-21", Dir: t.TempDir(), Format: statement.CSV})
	if faults := verify(t, e, next); faults != "" || m.Files[1].Rows == 0 {
		t.Errorf("the day after: %s %+v", faults, m.Files)
	}
}
