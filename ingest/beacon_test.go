package ingest

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adtally/adtally/proto"
)

func TestBeaconsAreCounted(t *testing.T) {
	t.Parallel()
	f := func(path string, want proto.EventType) {
		t.Helper()
		r := start(t, nil)
		before := time.Now()
		a := r.do("GET", strings.Replace(path, "TOKEN", r.sign(nil), 1), "")
		a.want(t, 200, "GIF89a")
		if len(a.body) != 43 || a.header.Get("Content-Type") != "image/gif" {
			t.Errorf("%d bytes of %s, want a GIF of 43", len(a.body), a.header.Get("Content-Type"))
		}
		if got := a.header.Get("Cache-Control"); got != "no-store, no-cache, must-revalidate, private" {
			t.Errorf("Cache-Control: %s", got)
		}
		e := r.event()
		checkFullToken(t, e, want)
		if imp := hash(1, "imp-1"); e.EventID() != imp {
			t.Errorf("event id %v, want the impression's %v", e.EventID(), imp)
		}
		if at := time.UnixMicro(e.ReceivedUs); at.Before(before.Truncate(time.Microsecond)) || at.After(time.Now()) {
			t.Errorf("received at %v, sent at %v", at, before)
		}
		if e.TimeUs != e.ReceivedUs {
			t.Errorf("time %d, want the arrival %d", e.TimeUs, e.ReceivedUs)
		}
		r.wantMetric(`adtally_ingest_events_accepted_total{type="`+want.Name()+`"}`, "1")
		r.wantMetric(`adtally_ingest_produced_events_total{outcome="acked"}`, "1")
	}
	f("/i/TOKEN", proto.EventType_EVENT_TYPE_IMPRESSION)
	f("/i/TOKEN?cb=123&gdpr=1&gdpr_consent=CPx&gpp=DBA&gpp_sid=7&us_privacy=1YNN", proto.EventType_EVENT_TYPE_IMPRESSION)
	f("/v/TOKEN", proto.EventType_EVENT_TYPE_VIEWABLE)
	for step, typ := range videoSteps {
		f("/t/TOKEN?e="+step, typ)
	}
}

func checkFullToken(t *testing.T, e *proto.Event, typ proto.EventType) {
	t.Helper()
	if e.Type != typ {
		t.Errorf("type %v, want %v", e.Type, typ)
	}
	if e.ImpressionID() != hash(1, "imp-1") {
		t.Errorf("impression id %v", e.ImpressionID())
	}
	if e.AdvertiserId != 1 || e.CampaignId != 2 || e.AdGroupId != 3 || e.CreativeId != 4 || e.PlacementId != 5 || e.PublisherId != 6 {
		t.Errorf("ids %d %d %d %d %d %d", e.AdvertiserId, e.CampaignId, e.AdGroupId, e.CreativeId, e.PlacementId, e.PublisherId)
	}
	if e.PriceNanos != 1_250_000 || e.Pricing != proto.Pricing_PRICING_CPM || e.Currency != "USD" || e.Variant != "a" {
		t.Errorf("price %d %v %s, variant %s", e.PriceNanos, e.Pricing, e.Currency, e.Variant)
	}
	if e.InvalidFlags != 0 || len(e.Votes) != 0 || e.Device != "" || e.UserHash != 0 {
		t.Errorf("flags %v, votes %v, device %q, user %d", proto.Flag(e.InvalidFlags), e.Votes, e.Device, e.UserHash)
	}
}

func TestClickRedirects(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	text := r.sign(nil)
	ids := map[proto.ID]bool{}
	for range 2 {
		a := r.do("GET", "/c/"+text, "")
		a.want(t, 302)
		if a.body != "" || a.header.Get("Location") != "https://shop.example/landing?x=1&y=2" || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("body %q, headers %v", a.body, a.header)
		}
	}
	for _, e := range r.events(2) {
		checkFullToken(t, e, proto.EventType_EVENT_TYPE_CLICK)
		ids[e.EventID()] = true
	}
	if len(ids) != 2 || ids[hash(1, "imp-1")] || ids[proto.ID{}] {
		t.Errorf("click ids %v, want two fresh ones", ids)
	}
	r.do("GET", "/c/"+r.sign(func(tk *proto.Token) { tk.LandingUrl = "" }), "").want(t, 400, `"code":"bad_token"`, `"field":"token.landing_url"`)
	if r.stored() != 2 {
		t.Error("a click without landing page was counted")
	}
	r.wantMetric(`adtally_ingest_requests_total{route="click",class="3xx"}`, "2")
}

func TestHeadCountsNothing(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	text := r.sign(nil)
	for _, path := range []string{"/i/", "/v/", "/t/", "/c/"} {
		head := r.do("HEAD", path+text+"?e=start", "")
		get := r.do("GET", path+text+"?e=start", "")
		for _, h := range []string{"Content-Type", "Cache-Control", "Location", "Content-Length"} {
			if path == "/c/" && h == "Content-Length" {
				continue // RFC 9110 lets HEAD leave it out; fasthttp does where it is 0
			}
			if head.header.Get(h) != get.header.Get(h) {
				t.Errorf("%s %s: HEAD %q, GET %q", path, h, head.header.Get(h), get.header.Get(h))
			}
		}
		if head.status != get.status || head.body != "" {
			t.Errorf("%s: HEAD %d %q, GET %d", path, head.status, head.body, get.status)
		}
	}
	if n := r.stored(); n != 4 {
		t.Errorf("%d records, want the 4 of GET", n)
	}
	r.do("HEAD", "/i/"+text[:len(text)-1]+"x", "").want(t, 400)
}

// TestTokensThatDoNotCount is rows 1, 2, 3 and 9; see TestForgedTokens.
func TestTokensThatDoNotCount(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	f := func(text, code string) {
		t.Helper()
		for _, path := range []string{"/i/", "/v/", "/t/", "/c/"} {
			a := r.do("GET", path+text+"?e=start&url=https://evil.example", "")
			a.want(t, 400, `"code":"`+code+`"`)
			if a.header.Get("Location") != "" || a.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s%s: headers %v", path, text, a.header)
			}
		}
	}
	good := r.sign(nil)
	payload, mac, _ := strings.Cut(good, ".")
	other := newRing(t)
	f(flip(good, 20), "bad_signature")
	f(flip(good, len(good)-3), "bad_signature")
	f(payload+"."+mac[:2], "bad_signature")
	f(payload+".", "bad_signature")
	f(payload+"."+mac+"A", "bad_signature")
	f(payload, "bad_token")
	f(payload+"=."+mac, "bad_token")
	f("x", "bad_token")
	f(payload+"%2e"+mac, "bad_token")
	f(r.sign(func(tk *proto.Token) { tk.AdvertiserId = 0 }), "bad_token")
	f(r.sign(func(tk *proto.Token) { tk.PriceNanos = -1 }), "bad_token")
	f(string(other.Sign(nil, &proto.Token{})), "bad_token") // signed, but empty
	if r.stored() != 0 {
		t.Error("a refused token was counted")
	}
	r.wantMetric(`adtally_ingest_events_rejected_total{reason="bad_signature"}`, "20")
	r.wantMetric(`adtally_ingest_events_rejected_total{reason="bad_token"}`, "28")
}

// flip changes one character of a base64url text into another.
func flip(text string, at int) string {
	c := byte('A')
	if text[at] == c {
		c = 'B'
	}
	return text[:at] + string(c) + text[at+1:]
}

func TestBeaconTimes(t *testing.T) {
	t.Parallel()
	f := func(ts string, wantUs func(e *proto.Event) int64, flags proto.Flag) {
		t.Helper()
		r := start(t, nil)
		r.do("GET", "/i/"+r.sign(nil)+"?ts="+ts, "").want(t, 200)
		e := r.event()
		if want := wantUs(e); e.TimeUs != want || proto.Flag(e.InvalidFlags) != flags {
			t.Errorf("ts=%s: time %d, want %d; flags %v, want %v", ts, e.TimeUs, want, proto.Flag(e.InvalidFlags), flags)
		}
	}
	millis := func(at time.Time) string { return strconv.FormatInt(at.UnixMilli(), 10) }
	exactly := func(at time.Time) func(*proto.Event) int64 {
		return func(*proto.Event) int64 { return at.UnixMilli() * 1000 }
	}
	arrival := func(e *proto.Event) int64 { return e.ReceivedUs }
	now := time.Now()
	f(millis(now.Add(-time.Hour)), exactly(now.Add(-time.Hour)), 0)
	f(millis(now.Add(-743*time.Hour)), exactly(now.Add(-743*time.Hour)), 0)
	f(millis(now.Add(4*time.Minute)), exactly(now.Add(4*time.Minute)), 0)
	f(millis(now.Add(6*time.Minute)), arrival, proto.FlagFutureTime)
	f("99999999999999999999", arrival, 0)
	f("soon", arrival, 0)
	f("-5", arrival, 0)
	f("$%7BTIMESTAMP%7D", arrival, proto.FlagUnexpandedMacro)
}

func TestBeaconTooOld(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	query := "?ts=" + strconv.FormatInt(time.Now().Add(-745*time.Hour).UnixMilli(), 10)
	r.do("GET", "/i/"+r.sign(nil)+query, "").want(t, 400, `"code":"too_old"`, `"field":"ts"`)
	r.do("GET", "/c/"+r.sign(nil)+query, "").want(t, 302)
	if r.stored() != 0 {
		t.Error("an event that is too old was counted")
	}
	r.wantMetric(`adtally_ingest_events_rejected_total{reason="too_old"}`, "2")
	r.wantMetric(`adtally_ingest_clicks_lost_total{reason="too_old"}`, "1")
}

// TestBeaconFlags is rows 8 and 34: flagged and stored, not dropped.
func TestBeaconFlags(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	n := 0
	f := func(text, query, header string, want proto.Flag) {
		t.Helper()
		n++
		r.do("GET", "/i/"+text+query, "", header).want(t, 200)
		e := newest(r, n)
		if got := proto.Flag(e.InvalidFlags); got != want {
			t.Errorf("%q %q: flags %q, want %q", query, header, got, want)
		}
	}
	now := time.Now()
	text := r.sign(nil)
	f(text, "", "Purpose: view", 0)
	f(text, "", "Sec-Purpose: prefetch;prerender", proto.FlagPrefetch)
	f(text, "", "Purpose: Prefetch", proto.FlagPrefetch)
	f(text, "", "X-Moz: prefetch", proto.FlagPrefetch)
	f(text, "", "X-Purpose: preview", proto.FlagPrefetch)
	f(r.sign(func(tk *proto.Token) { tk.Expires = now.Add(-time.Second).Unix() }), "", "", proto.FlagExpiredToken)
	f(r.sign(func(tk *proto.Token) { tk.Expires = now.Add(-8760 * time.Hour).Unix() }), "", "", proto.FlagExpiredToken)
	f(r.sign(func(tk *proto.Token) { tk.Expires = now.Add(time.Hour).Unix() }), "", "", 0)
	f(r.sign(func(tk *proto.Token) { tk.Issued = now.Add(10 * time.Minute).Unix() }), "", "", proto.FlagExpiredToken)
	f(r.sign(func(tk *proto.Token) { tk.Issued = now.Add(4 * time.Minute).Unix() }), "", "", 0)
	for _, macro := range []string{"${AUCTION_ID}", "[CACHEBUSTER]", "[timestamp]", "a[X]b"} {
		f(text, "?cb="+url.QueryEscape(macro), "", proto.FlagUnexpandedMacro)
	}
	f(text, "?cb=[CACHEBUSTER]", "", proto.FlagUnexpandedMacro)
	f(text, "?cb=%%CACHEBUSTER%%&ts=%%TS%%", "", proto.FlagUnexpandedMacro)
	for _, value := range []string{"[0]", "[]", "100%25", "a%20b", "$5", "[1,2]", "%5B", "%24%7B%7D"} {
		f(text, "?cb="+value, "", 0)
	}
	r.wantMetric(`adtally_ingest_events_flagged_total{flag="prefetch"}`, "4")
	r.wantMetric(`adtally_ingest_events_flagged_total{flag="expired_token"}`, "3")
	r.wantMetric(`adtally_ingest_events_flagged_total{flag="unexpanded_macro"}`, "6")
}

// newest returns the event of a topic of n that came last.
func newest(r *rig, n int) *proto.Event {
	r.t.Helper()
	var last *proto.Event
	for _, e := range r.events(n) {
		if last == nil || e.ReceivedUs > last.ReceivedUs {
			last = e
		}
	}
	return last
}

// TestPathsAndMethods is rows 32, 33 and 36.
func TestPathsAndMethods(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *Config) { c.PathPrefix = "/x/y/" })
	text := r.sign(nil)
	f := func(method, path string, status int, allow string) {
		t.Helper()
		a := r.do(method, path, "")
		a.want(t, status)
		if got := a.header.Get("Allow"); got != allow {
			t.Errorf("%s %s: Allow %q, want %q", method, path, got, allow)
		}
	}
	f("GET", "/x/y/i/"+text, 200, "")
	f("GET", "/i/"+text, 404, "")
	f("GET", "/x/y/", 404, "")
	f("GET", "/", 404, "")
	f("GET", "/x/y/i/", 404, "")
	f("GET", "/x/y//i/"+text, 404, "")
	f("GET", "/x/y/%69/"+text, 404, "")
	f("GET", "/x/y/i/../i/"+text, 400, "")
	f("GET", "/x/y/i/%2e%2e/"+text, 400, "")
	f("GET", "/x/y/i%2f"+text, 404, "")
	f("GET", "/x/y/z/"+text, 404, "")
	f("GET", "/x/y/metrics", 404, "")
	f("GET", "/x/y/debug/pprof", 404, "")
	f("POST", "/x/y/i/"+text, 405, "GET, HEAD")
	f("OPTIONS", "/x/y/c/"+text, 405, "GET, HEAD")
	f("PURGE", "/x/y/i/"+text, 405, "GET, HEAD")
	f("GET", "/x/y/e", 405, "POST, OPTIONS")
	f("GET", "/x/y/v1/events", 405, "POST")
	f("OPTIONS", "/x/y/v1/events", 405, "POST")
	f("GET", "/x/y/t/"+text, 400, "")
	f("GET", "/x/y/t/"+text+"?e=end", 400, "")
	if r.stored() != 1 {
		t.Errorf("%d records, want 1", r.stored())
	}
	r.wantMetric(`adtally_ingest_requests_total{route="other",class="4xx"}`, "10")
}
