package query

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/testkit"
)

// visited is the answer to a browser.
type visited struct {
	status  int
	cookies []*http.Cookie
	text    []byte
}

// visit sends a request as a browser would.
func visit(t *testing.T, method, url, site, body string, cookies ...*http.Cookie) visited {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if site != "" {
		req.Header.Set("Sec-Fetch-Site", site)
	}
	for _, c := range cookies {
		req.AddCookie(c)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	return visited{res.StatusCode, res.Cookies(), text.Bytes()}
}

func TestSession(t *testing.T) {
	cfg := testConfig()
	cfg.Secret = []byte("shared by all instances")
	cfg.BeaconURL = "https://b.example.com/"
	url := serve(t, cfg, nil, newFixedKeys(), zerolog.Nop())
	f := func(site, body string, status int, code string) []*http.Cookie {
		t.Helper()
		res := visit(t, "POST", url+"/v1/session", site, body)
		if res.status != status || !strings.Contains(string(res.text), code) {
			t.Errorf("%q %s: %d %s", site, body, res.status, res.text)
		}
		return res.cookies
	}
	f("", `{"key":"two"}`, 403, "cross_origin")
	f("same-site", `{"key":"two"}`, 403, "cross_origin")
	f("cross-site", `{"key":"two"}`, 403, "cross_origin")
	f("same-origin", `{}`, 400, "missing_field")
	f("same-origin", `two`, 400, "missing_field")
	f("same-origin", `{"key":"nobody"}`, 401, "unknown_key")
	f("same-origin", `{"key":"`+strings.Repeat("x", 1000)+`"}`, 413, "body_too_large")
	cookies := f("same-origin", `{"key":"two"}`, 204, "")
	if len(cookies) != 1 {
		t.Fatalf("cookies %v", cookies)
	}
	cookie := cookies[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || strings.Contains(cookie.Value, "two") {
		t.Errorf("cookie %v", cookie)
	}

	// Another instance with the same secret knows the session.
	url = serve(t, cfg, nil, newFixedKeys(), zerolog.Nop())
	who := func(site string, c *http.Cookie, status int) (out identity) {
		t.Helper()
		res := visit(t, "GET", url+"/v1/session", site, "", c)
		if res.status != status {
			t.Errorf("%q: %d %s", site, res.status, res.text)
		}
		if err := json.Unmarshal(res.text, &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	got := who("same-origin", cookie, 200)
	if got.Key.ID != "two" || got.All || len(got.Advertisers) != 2 || got.Advertisers[1].Name != "Eight" || got.BeaconURL != cfg.BeaconURL {
		t.Errorf("who: %+v", got)
	}
	for _, site := range []string{"", "none", "same-site", "cross-site"} {
		who(site, cookie, 401)
	}
	changed := *cookie
	changed.Value = cookie.Value[:len(cookie.Value)-2] + "AA"
	who("same-origin", &changed, 401)
	expired := *cookie
	expired.Value = newSessions(cfg.Secret).seal("two", time.Now().Add(-time.Second))
	who("same-origin", &expired, 401)
	foreign := *cookie
	foreign.Value = newSessions([]byte("another")).seal("two", time.Now().Add(time.Hour))
	who("same-origin", &foreign, 401)

	res := visit(t, "DELETE", url+"/v1/session", "same-origin", "", cookie)
	if gone := res.cookies; res.status != http.StatusNoContent || len(gone) != 1 || gone[0].MaxAge >= 0 || gone[0].Value != "" {
		t.Errorf("sign-out: %d %v", res.status, gone)
	}
}

func TestBeaconURLIsChecked(t *testing.T) {
	f := func(url string, ok bool) {
		t.Helper()
		cfg := testConfig()
		cfg.BeaconURL = url
		if err := cfg.Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
	}
	f("", true)
	f("https://b.example.com/x/", true)
	f("http://127.0.0.1:8080/", true)
	f("b.example.com", false)
	f("javascript:alert(1)", false)
	f("https://b.example.com/; script-src *", false)
	f("https://b.example.com/?x", false)
}

func TestAuditNeedsAdmin(t *testing.T) {
	l := newLedger(t, 2)
	url := serve(t, testConfig(), l.reader, newFixedKeys(), zerolog.Nop())
	res, _ := call(t, "GET", url+"/v1/audit", "ingest", "")
	if res.status != http.StatusForbidden {
		t.Errorf("without the scope: %d", res.status)
	}
	get := func() (out audit) {
		t.Helper()
		res, text := call(t, "GET", url+"/v1/audit", "all", "")
		if err := json.Unmarshal(text, &out); err != nil || res.status != http.StatusOK {
			t.Fatalf("%d %s", res.status, text)
		}
		return out
	}
	if out := get(); !out.OK || len(out.Partitions) != 0 {
		t.Errorf("an empty ledger: %+v", out)
	}
	row := entry{Advertiser: 7, Minute: testLAT, Type: 1, Net: 10}
	l.Block(t, testLAT, testkit.Span{Partition: 0, Rows: []entry{row}}, testkit.Span{Partition: 1})
	if out := get(); !out.OK || len(out.Partitions) != 2 || out.Partitions[0].Counted != 10 || out.Partitions[0].Accepted != 10 || out.Partitions[0].Position != 2 {
		t.Errorf("two whole partitions: %+v", out)
	}
	l.Next[1] += 2
	l.Block(t, testLAT, testkit.Span{Partition: 1})
	if out := get(); out.OK || len(out.Partitions[1].Faults) != 1 || out.Partitions[1].Faults[0].Kind != "gap" {
		t.Errorf("a gap: %+v", out)
	}
}
