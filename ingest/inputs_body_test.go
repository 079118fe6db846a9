package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
)

// TestHostileJSON is row 16 against the fields that are read.
func TestHostileJSON(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	f := func(event, want string) {
		t.Helper()
		a := r.post("/v1/events", "["+event+"]")
		if a.status != 400 && a.status != 202 || !strings.Contains(a.body, want) {
			t.Errorf("%.80s: %d %s", event, a.status, a.body)
		}
	}
	with := func(fields string) string { return strings.TrimSuffix(minimal, "}") + "," + fields + "}" }
	f(with(`"x":`+strings.Repeat("[", 60_000)+strings.Repeat("]", 60_000)), "nested deeper")
	f(with(`"advertiser_id":3`), `"detail":"given twice"`)
	f(with(`"advertise\u0072_id":3`), `"detail":"given twice"`)
	f(with(`"price":1e400`), "too long or too large")
	f(with(`"price":NaN`), "broken JSON")
	f(with(`"variant":"\ud800"`), "half a surrogate pair")
	f(with("\"variant\":\"\xc3\""), "invalid UTF-8")
	f(with("\"variant\":\"\xed\xa0\x80\""), "invalid UTF-8")
	f(with(`"time":`+strings.Repeat("9", 64)), `"field":"time"`)
	f(with(`"ad_group_id":1e2`), `"field":"ad_group_id"`)
	if r.stored() != 0 {
		t.Errorf("%d records", r.stored())
	}
	r.wantMetric("adtally_ingest_panics_total", "0")
}

// TestMixedBatch is row 18.
func TestMixedBatch(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *Config) { c.MaxBody = 4 << 20 })
	b := r.post("/v1/events", `[`+minimal+`,{"type":"click"},`+minimal+`]`).batch(t)
	if b.Accepted != 2 || len(b.Rejected) != 1 || b.Rejected[0].Index != 1 {
		t.Errorf("%+v", b)
	}
	events := r.events(2)
	if events[0].EventID() != events[1].EventID() {
		t.Error("one id became two")
	}
	r.post("/v1/events", "["+strings.Repeat("{},", 100_000)+"{}]").want(t, 413, `"code":"too_large"`)
	if r.stored() != 2 {
		t.Errorf("%d records", r.stored())
	}
}

// logBuffer is what a server logged.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

// TestLogLines is row 29: whatever is sent, a request makes one line at most,
// escaped and capped.
func TestLogLines(t *testing.T) {
	t.Parallel()
	var out logBuffer
	r := startWith(t, nil, func(d *Deps) { d.Log = zerolog.New(&out).Level(zerolog.TraceLevel) })
	const forged = "\n{\"level\":\"error\",\"message\":\"forged\"}\n"
	check := func(what string) {
		t.Helper()
		text := out.take()
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if text != "" && len(lines) > 1 {
			t.Errorf("%s: %d lines: %s", what, len(lines), text)
		}
		for _, line := range lines {
			if text == "" {
				continue
			}
			if !json.Valid([]byte(line)) || len(line) > 8<<10 || strings.ContainsAny(line, "\x1b\x07\x00") {
				t.Errorf("%s: %.300q", what, line)
			}
		}
	}
	f := func(request string) {
		t.Helper()
		_ = r.raw(request)
		check(fmt.Sprintf("%.60q", request))
	}
	get := "GET /i/" + r.sign(nil) + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
	f(get + "User-Agent: \x1b[31mred\x1b[0m\r\n\r\n")
	f(get + "User-Agent: a" + forged + "\r\n\r\n")
	f(get + "User-Agent: " + strings.Repeat("x", 1<<20) + "\r\n\r\n")
	f("GET /i/\x1b[31m" + forged + " HTTP/1.1\r\nHost: h\r\n\r\n")
	f("\x1b[2J" + forged)
	f("GET /i/%0a%7b%22level%22:%22error%22%7d?cb=%1b[31m HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	for _, path := range []string{"/e", "/v1/events", "/doctor"} {
		for _, body := range []string{forged, "\x1b[31m", "[" + forged + "]", `[{"token":"` + forged + `"}]`, `[{"type":"\n{\"level\":\"error\"}\u001b[31m"}]`, strings.Repeat("\n{}", 40_000)} {
			_ = r.do("POST", path, body, "Authorization: Bearer all", "Content-Type: application/json")
			check(path + " " + body[:min(len(body), 60)])
		}
	}
	_ = r.do("POST", "/v1/events", forged, "Authorization: Bearer panic")
	check("panic")
	_ = r.do("POST", "/v1/events", forged, "Authorization: Bearer away")
	check("keys away")
}

// revocable is Keys of which one can be taken away.
type revocable struct {
	mu   sync.Mutex
	keys testKeys
}

func (k *revocable) Lookup(ctx context.Context, bearer string) (Grant, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys.Lookup(ctx, bearer)
}

// TestKeysThatAreNotTaken is row 30, and that no key is logged.
func TestKeysThatAreNotTaken(t *testing.T) {
	t.Parallel()
	const key = "adt_Secret0123456789abcdefghijklmnopqrstuvwxyz"
	keys := &revocable{keys: testKeys{key: testGrant{scope: "ingest"}, "adt_report": testGrant{scope: "report"}}}
	var out logBuffer
	rejects := new(kept)
	r := startWith(t, nil, func(d *Deps) {
		d.Keys, d.Rejects, d.Log = keys, rejects, zerolog.New(&out).Level(zerolog.TraceLevel)
	})
	body := "[" + minimal + "]"
	f := func(status int, path string, headers ...string) {
		t.Helper()
		a := r.do("POST", path, body, headers...)
		a.want(t, status)
		if strings.Contains(a.body, key) || strings.Contains(fmt.Sprint(a.header), key) {
			t.Errorf("the answer repeats the key: %s", a.body)
		}
	}
	f(202, "/v1/events", "Authorization: Bearer "+key)
	f(401, "/v1/events?key="+key)
	f(401, "/v1/events?access_token="+key+"&authorization=Bearer%20"+key)
	f(401, "/v1/events", "X-Api-Key: "+key)
	f(401, "/v1/events", "Cookie: key="+key)
	f(401, "/v1/events", "Authorization: Bearer "+strings.ToLower(key))
	f(401, "/v1/events", "Authorization: Bearer "+key+"%00")
	f(401, "/v1/events", "Authorization: Bearer  "+key)
	f(401, "/v1/events", "Authorization: Basic "+key)
	f(403, "/v1/events", "Authorization: Bearer adt_report")
	got := r.raw(fmt.Sprintf("POST /v1/events HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer %s\x00\r\nContent-Length: %d\r\n\r\n%s", key, len(body), body))
	if !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("a trailing NUL: %q", got)
	}
	keys.mu.Lock()
	delete(keys.keys, key)
	keys.mu.Unlock()
	f(401, "/v1/events", "Authorization: Bearer "+key)
	r.do("GET", "/i/"+key, "").want(t, 400)
	if r.stored() != 1 {
		t.Errorf("%d records, want 1", r.stored())
	}
	var reported strings.Builder
	for _, rej := range rejects.take() {
		fmt.Fprintf(&reported, "%s %s\n", rej.Detail, rej.Body)
	}
	if logged := out.take(); strings.Contains(logged, "Secret") || strings.Contains(reported.String(), "Secret") {
		t.Errorf("a key was logged or reported: %s %s", logged, reported.String())
	}
}

// TestFaultsAreNotTold is row 37: what goes wrong inside is not said outside.
func TestFaultsAreNotTold(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	for key, status := range map[string]int{"panic": 500, "away": 503} {
		a := r.do("POST", "/v1/events", "[]", "Authorization: Bearer "+key)
		a.want(t, status)
		if strings.Contains(a.body+fmt.Sprint(a.header), "as the test asked") {
			t.Errorf("%s: %s", key, a.body)
		}
	}
}
