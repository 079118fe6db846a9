package query

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/testkit"
	"github.com/adtally/adtally/internal/testkit/reports"
	"github.com/adtally/adtally/proto"
	"github.com/adtally/adtally/query/export"
	"github.com/adtally/adtally/query/report"
)

// The oracle answers a request from the entries alone: it groups, adds up in
// big integers and rationals, sorts and cuts, and knows nothing of SQL.

type group struct {
	bucket int64
	keys   []string
	sums   map[string]*big.Int
	gross  int64
	spent  map[string]bool
}

func newGroup() *group { return &group{sums: map[string]*big.Int{}, spent: map[string]bool{}} }

func (g *group) add(name string, n int64) {
	if g.sums[name] == nil {
		g.sums[name] = new(big.Int)
	}
	g.sums[name].Add(g.sums[name], big.NewInt(n))
}

func (g *group) sum(name string) *big.Int {
	if g.sums[name] == nil {
		return new(big.Int)
	}
	return g.sums[name]
}

func (g *group) addEntry(e *entry) {
	name := counterOf(proto.EventType(e.Type))
	gross := e.Net + e.Duplicate + e.Invalid + e.Orphan
	g.add(name, e.Net)
	g.add(name+"_gross", gross)
	g.add(name+"_duplicate", e.Duplicate)
	g.add(name+"_invalid", e.Invalid)
	g.add(name+"_orphan", e.Orphan)
	g.add("duplicates", e.Duplicate)
	g.add("spend", e.Spend)
	g.gross += gross
	if e.Spend != 0 {
		g.spent[e.Texts[6]] = true
	}
}

// counterOf is the metric that counts a type.
func counterOf(t proto.EventType) string {
	if slices.Contains([]string{"impression", "click", "conversion"}, t.Name()) {
		return t.Name() + "s"
	}
	return t.Name()
}

// quotients by name: numerator, denominator, factor and divisor.
var quotients = map[string][4]string{
	"ctr":             {"clicks", "impressions", "1", "1"},
	"viewability":     {"viewable", "impressions", "1", "1"},
	"conversion_rate": {"conversions", "clicks", "1", "1"},
	"cpm":             {"spend", "impressions", "1000", "1000000000"},
	"cpc":             {"spend", "clicks", "1", "1000000000"},
	"cpa":             {"spend", "conversions", "1", "1000000000"},
	"spend":           {"spend", "", "1", "1000000000"},
}

// value returns a metric as a rational, nil for none.
func (g *group) value(name string) *big.Rat {
	q, ok := quotients[name]
	if !ok {
		return new(big.Rat).SetInt(g.sum(name))
	}
	den := big.NewInt(1)
	if q[1] != "" {
		den = g.sum(q[1])
	}
	if den.Sign() == 0 {
		return nil
	}
	value := new(big.Rat).SetFrac(g.sum(q[0]), den)
	factor, _ := new(big.Rat).SetString(q[2] + "/" + q[3])
	return value.Mul(value, factor)
}

func (g *group) shown(name string) any {
	if isMoney(name) && len(g.spent) > 1 {
		return nil
	}
	value := g.value(name)
	switch {
	case value == nil:
		return nil
	case name == "spend":
		return trimZeros(value.FloatString(9))
	case quotients[name][0] != "":
		return trimZeros(value.FloatString(6))
	default:
		return json.Number(value.Num().String())
	}
}

func trimZeros(decimal string) string {
	decimal = strings.TrimRight(strings.TrimRight(decimal, "0"), ".")
	if decimal == "-0" {
		return "0"
	}
	return decimal
}

func isMoney(name string) bool { return quotients[name][0] == "spend" }

func dimensionOf(e *entry, name string) string {
	for i, d := range report.Dimensions {
		switch {
		case d.Name != name:
		case i == 0:
			return strconv.FormatUint(e.Advertiser, 10)
		case name == "invalid_reason":
			return proto.Flag(e.Flags).String()
		case i <= 5:
			return strconv.FormatUint(e.IDs[i-1], 10)
		default:
			return e.Texts[i-6]
		}
	}
	panic("no dimension " + name)
}

func passes(e *entry, f report.Filter) bool {
	in := slices.Contains(f.Values, dimensionOf(e, f.Dimension))
	return in == (f.Op == report.OpIn || f.Op == report.OpEq)
}

// expect answers req with what the API would answer, or nil for mixed currencies.
func expect(entries []entry, req *report.Request, advertiser uint64, start, end time.Time, zone *time.Location) map[string]any {
	g := report.GranularityNamed(req.Granularity)
	groups, totals := map[string]*group{}, newGroup()
	for i := range entries {
		e := &entries[i]
		if e.Advertiser != advertiser || e.Minute.Before(start) || !e.Minute.Before(end) ||
			slices.ContainsFunc(req.Filters, func(f report.Filter) bool { return !passes(e, f) }) {
			continue
		}
		of := group{bucket: reports.BucketOf(e.Minute, g.Name, zone)}
		for _, d := range req.Dimensions {
			of.keys = append(of.keys, dimensionOf(e, d))
		}
		name := fmt.Sprintf("%d %q", of.bucket, of.keys)
		if groups[name] == nil {
			groups[name] = newGroup()
			groups[name].bucket, groups[name].keys = of.bucket, of.keys
		}
		groups[name].addEntry(e)
		totals.addEntry(e)
	}
	money := slices.ContainsFunc(req.Metrics, isMoney)
	if money && len(totals.spent) > 1 && !slices.Contains(req.Dimensions, "currency") {
		return nil
	}
	list := slices.SortedFunc(maps.Values(groups), func(a, b *group) int { return compareGroups(a, b, req) })
	limit := int(*req.Limit)
	answer := map[string]any{"truncated": len(list) > limit}
	if money && len(totals.spent) == 1 && !totals.spent[""] {
		answer["currency"] = slices.Collect(maps.Keys(totals.spent))[0]
	}
	rows := []any{}
	for _, group := range list[:min(limit, len(list))] {
		row := map[string]any{"finality": "provisional"}
		if g.Type != "" {
			row[g.Name] = shownBucket(g, zone, group.bucket)
		}
		for i, d := range req.Dimensions {
			row[d] = group.keys[i]
		}
		for _, m := range req.Metrics {
			row[m] = group.shown(m)
		}
		rows = append(rows, row)
	}
	answer["rows"] = rows
	sums := map[string]any{}
	for _, m := range req.Metrics {
		sums[m] = totals.shown(m)
	}
	answer["totals"] = sums
	return answer
}

func compareGroups(a, b *group, req *report.Request) int {
	for _, o := range req.OrderBy {
		var c int
		switch i := slices.Index(req.Dimensions, o.Field); {
		case i >= 0:
			c = compareKeys(o.Field, a.keys[i], b.keys[i])
		case o.Field == req.Granularity:
			c = cmp.Compare(a.bucket, b.bucket)
		default:
			x, y := a.value(o.Field), b.value(o.Field)
			if x == nil || y == nil { // last in either direction
				c = cmp.Compare(b2i(x == nil), b2i(y == nil))
				if c != 0 {
					return c
				}
				continue
			}
			c = x.Cmp(y)
		}
		if o.Direction == "desc" {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	if c := cmp.Compare(a.bucket, b.bucket); c != 0 {
		return c
	}
	for i, d := range req.Dimensions {
		if c := compareKeys(d, a.keys[i], b.keys[i]); c != 0 {
			return c
		}
	}
	return 0
}

func compareKeys(dimension, a, b string) int {
	if report.DimensionNamed(dimension).ID {
		x, _ := strconv.ParseUint(a, 10, 64)
		y, _ := strconv.ParseUint(b, 10, 64)
		return cmp.Compare(x, y)
	}
	return cmp.Compare(a, b)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func bodyOf(req *report.Request) string {
	body := map[string]any{
		"advertiser": req.Advertiser, "start": req.Start, "end": req.End, "timezone": req.Timezone,
		"granularity": req.Granularity, "metrics": req.Metrics, "limit": req.Limit,
	}
	if len(req.Dimensions) > 0 {
		body["dimensions"] = req.Dimensions
	}
	filters := []any{}
	for _, f := range req.Filters {
		filters = append(filters, map[string]any{"dimension": f.Dimension, "op": f.Op, "values": f.Values})
	}
	order := []any{}
	for _, o := range req.OrderBy {
		order = append(order, map[string]any{"field": o.Field, "direction": o.Direction})
	}
	body["filters"], body["order_by"] = filters, order
	text, _ := json.Marshal(body)
	return string(text)
}

// oracleZones are the zones of accounts, in which days are rolled up.
var oracleZones = map[uint64]*time.Location{
	8: mustLoad("Asia/Kathmandu"), 9: mustLoad("America/St_Johns"),
}

// oracle asks a server the same as the entries that have come so far.
type oracle struct {
	*ledger
	rnd     *rand.Rand
	server  *Server
	url     string
	entries []entry
	asked   []question
	// rows and mixed count what was answered.
	rows, mixed int
	conn        *sender
}

// sender counts the statements that rows in memory go along with.
type sender struct {
	clickhouse.Conn

	sent atomic.Int64
}

func (s *sender) Blocks(ctx context.Context, q clickhouse.BlockQuery) error {
	if len(q.Sent) > 0 {
		s.sent.Add(1)
	}
	return s.Conn.Blocks(ctx, q)
}

// renew has the server read the newest version, half of the times with what is
// behind its cut; without, reports read the ledger.
func (o *oracle) renew(t *testing.T) {
	t.Helper()
	v := o.server.versions
	<-v.turn // a reading that began before does not count any more
	defer func() { v.turn <- struct{}{} }()
	if o.rnd.IntN(2) == 0 {
		patiently(t, func() int {
			if v.look(t.Context()) != nil {
				return http.StatusServiceUnavailable
			}
			return http.StatusOK
		})
		return
	}
	v.looked = nil
	v.mu.Lock()
	v.readAt = time.Time{} // the last reading lacks what came since
	v.mu.Unlock()
}

// question is a report whose answer must stay what it was.
type question struct{ body, asOf, format, answer string }

// ask asks random reports for the newest version.
func (o *oracle) ask(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		if i%5 == 0 {
			o.renew(t)
		}
		advertiser := uint64(7 + o.rnd.IntN(3))
		own := "UTC"
		if zone := oracleZones[advertiser]; zone != nil {
			own = zone.String()
		}
		req, start, end, zone := randomRequest(o.rnd, own)
		req.Advertiser = strconv.FormatUint(advertiser, 10)
		body := bodyOf(&req)
		want := expect(o.entries, &req, advertiser, start, end, zone)
		var got map[string]any
		status := patiently(t, func() (status int) {
			status, got = post(t, o.url, "all", body)
			return status
		})
		if want == nil {
			o.mixed++
			if status != http.StatusUnprocessableEntity || got["code"] != "mixed_currencies" {
				t.Fatalf("%s: got %d %v, want mixed_currencies", body, status, got)
			}
			continue
		}
		if status != http.StatusOK {
			t.Fatalf("%s: %d %v", body, status, got)
		}
		meta := got["meta"].(map[string]any)
		have := map[string]any{"rows": got["rows"], "totals": got["totals"], "truncated": meta["truncated"]}
		if meta["currency"] != nil {
			have["currency"] = meta["currency"]
		}
		o.rows += len(got["rows"].([]any))
		if haveText, wantText := pretty(have), pretty(want); haveText != wantText {
			t.Fatalf("%s as of %v:\ngot\n%s\nwant\n%s", body, meta["as_of"], head(haveText, wantText), head(wantText, haveText))
		}
		q := question{body: body, asOf: meta["as_of"].(string), format: export.Formats[o.rnd.IntN(len(export.Formats))]}
		q.answer = o.answer(t, &q)
		o.asked = append(o.asked, q)
	}
}

// answer returns the bytes of an answer as of its version.
func (o *oracle) answer(t *testing.T, q *question) string {
	t.Helper()
	pinned := strings.Replace(q.body, "{", `{"as_of":"`+q.asOf+`",`, 1)
	var text []byte
	status := patiently(t, func() int {
		res, answer := call(t, "POST", o.url+"/v1/reports", "all", pinned, "Accept", q.format)
		text = answer
		return res.status
	})
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", pinned, status, text)
	}
	return string(text)
}

// patiently asks again while the storage is away, as the answer tells clients to.
// The embedded server may end when a client leaves in the middle of a statement,
// as the compactors here do, and is up again within a second.
func patiently(t *testing.T, ask func() int) (status int) {
	t.Helper()
	for patience := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if status = ask(); status != http.StatusServiceUnavailable || time.Now().After(patience) {
			return status
		}
	}
}

// again asks some of the earlier questions as of then.
func (o *oracle) again(t *testing.T, n int) {
	t.Helper()
	// Versions that are put together anew have nothing in memory.
	o.server.versions.mu.Lock()
	clear(o.server.versions.pinned)
	o.server.versions.newest = nil
	o.server.versions.mu.Unlock()
	for range n {
		q := o.asked[o.rnd.IntN(len(o.asked))]
		if now := o.answer(t, &q); now != q.answer {
			t.Fatalf("%s as of %s as %s:\nwas\n%q\nis\n%q", q.body, q.asOf, q.format, head(q.answer, now), head(now, q.answer))
		}
	}
}

// arrive writes the next entries, as a block of two partitions.
func (o *oracle) arrive(t *testing.T, entries []entry) {
	t.Helper()
	half := o.rnd.IntN(len(entries) + 1)
	o.Block(t, testLAT.Add(time.Duration(len(o.entries))*time.Second),
		testkit.Span{Partition: 0, Rows: entries[:half]}, testkit.Span{Partition: 1, Rows: entries[half:]})
	o.entries = append(o.entries, entries...)
}

// awaitStorage waits until the storage answers.
func (o *oracle) awaitStorage(t *testing.T) {
	t.Helper()
	patiently(t, func() int {
		if o.writer.Ping(t.Context()) != nil {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
}

// disturbedCut makes a cut while others die over it and race for it.
func (o *oracle) disturbedCut(t *testing.T) {
	t.Helper()
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(o.rnd.IntN(60))*time.Millisecond)
		_, _ = o.compactor(t, oracleZones).Once(ctx) // dies where it may
		cancel()
	}
	o.awaitStorage(t)
	var racing sync.WaitGroup
	for range 2 {
		c := o.compactor(t, oracleZones)
		racing.Go(func() { _, _ = c.Once(t.Context()) }) // one of them loses
	}
	racing.Wait()
	o.awaitStorage(t)
}

func TestReportsAgainstOracle(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	o := &oracle{ledger: newLedger(t, 2), rnd: rnd}
	o.conn = &sender{Conn: o.reader}
	o.server = New(testConfig(), o.conn, newFixedKeys(), zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.ErrorLevel), metrics.NewSet())
	o.url, _ = serveUntil(t.Context(), t, o.server)
	step := 0
	for entries := range slices.Chunk(randomEntries(rnd, 8000), 400) {
		o.arrive(t, entries)
		o.ask(t, 10)
		if step++; step%3 == 0 {
			o.disturbedCut(t)
			o.ask(t, 50)
		}
		o.again(t, 10)
	}
	// The covers of the cuts are no longer kept.
	o.exec(t, "ALTER TABLE cuts UPDATE kept_until = created WHERE true SETTINGS mutations_sync = 2")
	o.again(t, 60)
	newest, err := o.server.versions.reader.Newest(t.Context())
	if err != nil || newest.Number < 5 || len(newest.Cover) < 1 {
		t.Fatalf("newest cut: %+v %v", newest, err)
	}
	if o.conn.sent.Load() < 50 {
		t.Errorf("only %d reports got rows from memory", o.conn.sent.Load())
	}
	t.Logf("%d reports with %d rows, %d of mixed currencies, %d with rows from memory, %d cuts", len(o.asked)+o.mixed, o.rows, o.mixed, o.conn.sent.Load(), newest.Number)
}

func post(t *testing.T, url, key, body string) (int, map[string]any) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/reports", strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, parse(t, text)
}

func parse(t *testing.T, text []byte) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var got map[string]any
	if err := decoder.Decode(&got); err != nil {
		t.Fatalf("no JSON: %v\n%.300s", err, text)
	}
	return got
}

func pretty(value any) string {
	text, _ := json.MarshalIndent(value, "", " ")
	return string(text)
}

// head returns a from a little before where it differs from b.
func head(a, b string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return a[max(0, i-300):min(len(a), i+300)]
}

// shownBucket names a bucket by its start.
func shownBucket(g *report.Granularity, zone *time.Location, bucket int64) string {
	if g.Type == export.Timestamp {
		return time.Unix(bucket, 0).In(zone).Format(time.RFC3339)
	}
	return time.Unix(bucket*report.SecondsPerDay, 0).UTC().Format(time.DateOnly)
}
