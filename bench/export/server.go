package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/bench/internal/measure"
	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/query/closing"
	"github.com/adtally/adtally/query/export/statement"
)

// bench is a server with a ledger.
type bench struct {
	dir    string
	cfg    clickhouse.Config
	conn   clickhouse.Conn
	server *measure.ClickHouse
	vector books.Vector
}

func start(ctx context.Context, dir string) (*bench, error) {
	server, err := measure.StartClickHouse(ctx, dir)
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir, server: server}
	writer := server.Writer()
	b.cfg = clickhouse.Config{
		Addr: []string{server.NativeAddr()}, Database: "adtally", User: writer.User, Password: writer.Password,
		DialTimeout: 5 * time.Second, ReadTimeout: 10 * time.Minute, MaxConns: 2,
	}
	if err := clickhouse.Migrate(ctx, b.cfg); err != nil {
		b.stop()
		return nil, err
	}
	b.conn, err = clickhouse.Open(b.cfg)
	return b, err
}

// stop ends the server.
func (b *bench) stop() {
	if err := b.server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: server:", err)
	}
}

var topic = uuid.MustParse("b0000000-0000-4000-8000-000000000001")

const day = "2026-11-20"

// fill writes about one ledger row for each row of the statement: 250 advertisers
// with up to 20 campaigns each, and so on.
func (b *bench) fill(ctx context.Context, rows int) error {
	const query = `INSERT INTO ledger (advertiser, minute, event_type, campaign, ad_group, creative, placement, publisher,
    country, region, device, os, browser, variant, currency, invalid_flags, gross, net, duplicate, invalid, orphan, spend_nanos,
    topic_id, kafka_partition, b_start, b_end, lineage, lat_day)
WITH sipHash64(number) AS h, 1 + number % 250 AS a, h % 20 AS c, intDiv(h, 20) % 5 AS g, intDiv(h, 100) % 8 AS k, intDiv(h, 800) % 50 AS n
SELECT a, toDateTime('2026-11-20 00:00:00', 'UTC') + 60 * (intDiv(h, 7919) % 1440), 1 + intDiv(h, 40000) % 3,
    a * 1000 + c, a * 10000 + c * 10 + g, intHash64(a * 100000 + c * 1000 + g * 10 + k), 1 + intDiv(h, 120000) % 400, 1 + intDiv(h, 48000000) % 100,
    ['US','DE','FR','GB','IN','NP','AU','BR','CA','JP'][1 + intDiv(h, 3) % 10], '', ['mobile','desktop','tablet','tv'][1 + intDiv(h, 31) % 4],
    ['ios','android','windows','macos','linux'][1 + intDiv(h, 127) % 5], ['safari','chrome','firefox','edge'][1 + intDiv(h, 641) % 4], '',
    ['USD','EUR','JPY'][1 + a % 3], if(n = 0, 1, 0), 1 + n, if(n = 0, 0, n), if(n = 0, 0, 1), if(n = 0, 1, 0), 0, n * (2500000 + 1000 * a),
    {topic:UUID}, 0, 0, 1, 1, '2026-11-20'
FROM numbers({rows:UInt64})`
	ctx = clickhouse.With(ctx, "", clickhouse.Settings{"async_insert": 0, "max_execution_time": 600},
		clickhouse.Parameters{"topic": topic.String(), "rows": strconv.Itoa(rows)})
	if err := b.conn.Exec(ctx, query); err != nil {
		return fmt.Errorf("fill the ledger: %w", err)
	}
	b.vector = books.Vector{{Topic: topic, Lineage: 1, Partition: 0, Next: 1}}
	return b.conn.Exec(ctx, "OPTIMIZE TABLE ledger FINAL")
}

// statement is the query of an export.
func (b *bench) statement() closing.Query {
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic("BUG: the day is a constant: " + err.Error())
	}
	r := closing.Rows{Timezone: "UTC", Zone: time.UTC, Day: closing.DayNumber(at), Members: closing.Members{Rest: true}, Slice: books.Slice{To: b.vector}}
	return r.Select()
}

// plain reads n rows of the columns as they lie in the ledger, some of them often.
func (b *bench) plain(n, rows int) closing.Query {
	q := b.statement()
	sql, _, _ := strings.Cut(q.SQL, "\nGROUP BY ")
	for _, sum := range []string{"gross", "net", "duplicate", "invalid", "orphan"} {
		sql = strings.Replace(sql, "sum(l."+sum+")", "l."+sum, 1)
	}
	sql = strings.Replace(sql, "sum(toInt128(l.spend_nanos))", "toInt128(l.spend_nanos)", 1)
	if n > rows {
		sql = strings.Replace(sql, "FROM ledger AS l", fmt.Sprintf("FROM ledger AS l ARRAY JOIN range(%d) AS again", n/rows), 1)
	}
	q.SQL = sql + "\nLIMIT " + strconv.Itoa(n)
	return q
}

// theirs lets ClickHouse write the format and copies what it sends to a file.
func (b *bench) theirs(ctx context.Context, format string, query closing.Query) (r result, err error) {
	values := url.Values{"database": {b.cfg.Database}, "max_execution_time": {"600"}}
	for name, value := range query.Params {
		values.Set("param_"+name, value)
	}
	for name, value := range closing.QuerySettings() {
		values.Set(name, fmt.Sprint(value))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+b.server.HTTPAddr()+"/?"+values.Encode(), strings.NewReader(query.SQL+"\nFORMAT "+format))
	if err != nil {
		return r, err
	}
	req.SetBasicAuth(b.cfg.User, b.cfg.Password)
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, err
	}
	defer func() { _ = resp.Body.Close() }() // it is read to its end
	path := filepath.Join(b.dir, "theirs")
	f, err := os.Create(path) //nolint:gosec // in our own folder
	if err != nil {
		return r, err
	}
	r.Bytes, err = io.Copy(f, resp.Body)
	err = errors.Join(err, f.Close())
	r.Seconds = time.Since(began).Seconds()
	if resp.StatusCode != http.StatusOK {
		text, _ := os.ReadFile(path) //nolint:gosec // for the eyes only
		err = fmt.Errorf("ClickHouse answers %d: %.300s", resp.StatusCode, text)
	}
	return r, errors.Join(err, os.Remove(path))
}

// write is the measured process: it reads a job and writes the file.
func write(ctx context.Context) error {
	var j job
	if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return err
	}
	conn, err := clickhouse.Open(j.ClickHouse)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing is written on closing
	f, err := os.Create(j.Path)
	if err != nil {
		return err
	}
	hash := sha256.New()
	buf := bufio.NewWriterSize(f, 1<<20)
	columns := closing.StatementColumns()
	w, err := statement.NewWriter(statement.Format(j.Format), io.MultiWriter(buf, hash), columns, nil)
	if err != nil {
		return err
	}
	query := clickhouse.BlockQuery{SQL: j.Query.SQL, Params: j.Query.Params, Settings: map[string]string{}}
	for name, value := range closing.QuerySettings() {
		query.Settings[name] = fmt.Sprint(value)
	}
	copier := statement.NewCopier(w, columns, nil)
	if err := copier.Add(ctx, conn, query); err != nil {
		return err
	}
	if err := errors.Join(copier.Close(), buf.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(usage(j.Path))
}

// usage reads what this process took.
func usage(path string) (r result) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err == nil {
		r.CPU = float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
		r.PeakMiB = float64(u.Maxrss) / 1024
	}
	if info, err := os.Stat(path); err == nil {
		r.Bytes = info.Size()
	}
	return r
}
