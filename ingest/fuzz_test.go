package ingest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/adtally/adtally/ingest/jsonscan"
	"github.com/adtally/adtally/ingest/network"
	"github.com/adtally/adtally/ingest/produce"
	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/proto"
)

// offline returns a server with everything that one can have, which is not
// listening and whose sink acks all.
func offline(tb testing.TB, sink Sink) *Server {
	tb.Helper()
	var tokens atomic.Pointer[token.Keyring]
	tokens.Store(newRing(tb))
	cfg := defaults(tb)
	cfg.TenantRate = 1_000_000_000
	cfg.TrustedProxies = []string{"0.0.0.0/32"} // the peer of a request without connection
	deps := Deps{
		Sink: sink, Tokens: &tokens, Keys: testKeys{"all": testGrant{scope: "ingest"}}, IDKey: testIDKey, Log: zerolog.Nop(), Metrics: metrics.NewSet(),
		Rejects: new(kept),
	}
	wireConsent(tb, &deps)
	wireLists(tb, &deps, network.GeoConfig{Database: placesFile(tb)})
	s, err := New(cfg, deps)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// stricter lists what the scanner refuses although encoding/json takes it.
var stricter = []error{jsonscan.ErrDepth, jsonscan.ErrNumber, jsonscan.ErrSurrogate, jsonscan.ErrUTF8, errNoEvents, errTwice, errTooMany}

// FuzzBatch reads any body: an array that the scanner takes is JSON to
// encoding/json too, and the other way round; every event that is accepted
// survives its encoding.
func FuzzBatch(f *testing.F) {
	s := offline(f, discard{})
	tok := string(newRing(f).Sign(nil, fullToken()))
	for _, seed := range []string{
		"[" + minimal + "]", `{"events":[` + minimal + `]}`, minimal + "\n" + minimal, `[{"token":"` + tok + `","type":"click","id":"a"}]`,
		`[{"type":"click","id":"\ud83d\ude00\n","time":"2026-11-20T10:00:00.123Z","advertiser_id":"1","campaign_id":2,"price":"1.25","pricing":"cpm","currency":"USD","country":"us"}]`,
		`[1e400]`, `["\ud800"]`, `[{"token":"` + tok + `","type":"click","gdpr":1,"gpp_sid":[2, 7],"gpp":"DBABLA~BVVqAAAAAWA","gdpr_consent":"` + tcfGrants + `"}]`,
		`[{"type":"click","id":"a","advertiser_id":1,"campaign_id":2,"user_id":"u","ip":"81.2.70.1","user_agent":"curl/8","us_privacy":{},"gpp_sid":[}]`,
		`[{"a":[{"b":null}]}]`, "[\"\xff\"]", `{"a":-0.0E+1}`, "\x00", `[{"type":1,"type":2}]`,
	} {
		f.Add([]byte(seed), true, false)
		f.Add([]byte(seed), false, true)
	}
	f.Fuzz(func(t *testing.T, body []byte, server, lines bool) {
		original := slices.Clone(body)
		known := clientFields
		if server {
			known = serverFields
		}
		var r reader
		r.start(body, known, 200, lines)
		sc := acquire(&s.singles)
		defer sc.batch.Release()
		ring := s.deps.Tokens.Load()
		sc.visit = visit{now: time.Unix(1_795_168_800, 0), lists: s.lists()}
		for r.next() {
			var bad rejection
			if server {
				bad = s.fillFromServer(sc, &r.raw, testGrant{})
			} else {
				bad = s.fillFromClient(sc, &r.raw, ring)
			}
			if bad.reason != "" {
				r.reject(refusal{rejection: bad})
				continue
			}
			checkAccepted(t, s, sc)
		}
		for _, bad := range r.rejected {
			if known := appendKnown(nil, bad.text); len(known) > 0 && len(known) < maxReported-utf8.UTFMax && !json.Valid(known) {
				t.Fatalf("the report of %q is not JSON: %s", bad.text, known)
			}
		}
		if shape := appendShape(nil, body); len(shape) != len(body) {
			t.Fatalf("%d bytes have a shape of %d", len(body), len(shape))
		}
		if !bytes.Equal(body, original) {
			t.Fatal("the body was changed")
		}
		if out := appendAll(&r); !json.Valid(out) {
			t.Fatalf("the answer is not JSON: %s", out)
		}
		if r.lines || slices.ContainsFunc(stricter, func(err error) bool { return errors.Is(r.err, err) }) {
			return
		}
		if valid := json.Valid(body); valid != (r.err == nil) {
			t.Fatalf("encoding/json says %v, the reader %v", valid, r.err)
		}
	})
}

func checkAccepted(t *testing.T, s *Server, sc *scratch) {
	t.Helper()
	s.add(sc)
	var back proto.Event
	if err := back.UnmarshalVT(sc.batch.Event(sc.batch.Len() - 1)); err != nil || !protobuf.Equal(&back, &sc.event) {
		t.Fatalf("encoded %v, decoded %v, %v", &sc.event, &back, err)
	}
	if back.AdvertiserId == 0 || back.EventID().IsZero() || back.Type.Name() == "" || back.TimeUs == 0 || back.PriceNanos < 0 {
		t.Fatalf("accepted %v", &back)
	}
}

func appendAll(r *reader) []byte {
	out := []byte("[")
	for i := range r.rejected {
		out = appendRejection(out, i, &r.rejected[i])
	}
	for i, w := range r.warnings {
		out = appendWarning(out, i+len(r.rejected), w)
	}
	return append(out, ']')
}

// FuzzQuery puts any query behind a valid token: the beacon counts, or is too
// old to.
func FuzzQuery(f *testing.F) {
	s := offline(f, discard{})
	tok := newRing(f).Sign(nil, fullToken())
	for _, seed := range []string{
		"", "cb=1&ts=1795168800000", "ts=%%TS%%", "cb=[X]&gdpr=${GDPR}&gdpr_consent=%24%7BX%7D", "e=start&e=end", "%", "%zz=%", "&&==&", "ts=-1", "ts=99999999999999999999",
		"gdpr=1&gdpr_consent=" + tcfGrants, "gdpr=0&gpp=DBABLA~BVVqAAAAAWA&gpp_sid=7,8&us_privacy=1YNN", "gpp=DB%2F&gpp_sid=-1,x",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		if len(query) > 7000 || bytes.ContainsFunc(query, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '#' }) {
			return // not part of a query on the wire
		}
		var ctx fasthttp.RequestCtx
		request := fmt.Appendf(nil, "GET /i/%s?%s HTTP/1.1\r\nHost: h\r\n\r\n", tok, query)
		if err := ctx.Request.Read(bufio.NewReaderSize(bytes.NewReader(request), 8<<10)); err != nil {
			t.Fatal(err)
		}
		s.serve(&ctx)
		tooOld := bytes.Contains(ctx.Response.Body(), []byte(`"too_old"`))
		if status := ctx.Response.StatusCode(); status != 200 && (status != 400 || !tooOld) {
			t.Fatalf("%d %s", status, ctx.Response.Body())
		}
	})
}

// FuzzDoctor asks the doctor about anything: the answer is JSON, whatever it
// says, and nothing is counted.
func FuzzDoctor(f *testing.F) {
	s := offline(f, uncounted{t: f})
	tok := string(newRing(f).Sign(nil, fullToken()))
	for _, seed := range []string{
		"", "/i/" + tok, "https://h/c/" + tok + "?cb=[X]&ts=%%T%%&gdpr=1", `{"url":"/t/` + tok + `?e=q1"}`, `{"url":7}`, "//", "http://[", "/i/%",
		`[{"token":"` + tok + `","type":"click","id":"${A}","os":1}]`, "[" + minimal + ",7]", minimal + "\n" + minimal, `{"a":1,"events":[` + minimal + `],"b":2}`,
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, keyed bool) {
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetMethod("POST")
		ctx.Request.SetRequestURI("/doctor")
		if keyed {
			ctx.Request.Header.Set("Authorization", "Bearer all")
		}
		ctx.Request.SetBody(body)
		s.serve(&ctx)
		status := ctx.Response.StatusCode()
		if status != 200 && status != 400 && (keyed || status != 401) && status != 413 || !json.Valid(ctx.Response.Body()) {
			t.Fatalf("%d %s", status, ctx.Response.Body())
		}
	})
}

// uncounted is a Sink that nothing may be appended to.
type uncounted struct {
	discard
	t testing.TB
}

func (u uncounted) Append(*produce.Batch, time.Duration) produce.Outcome {
	u.t.Error("something was counted")
	return produce.Acked
}
