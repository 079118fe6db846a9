package ingest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/adtally/adtally/ingest/consent"
	"github.com/adtally/adtally/ingest/network"
	"github.com/adtally/adtally/proto"
)

const (
	unspecified   = proto.Consent_CONSENT_UNSPECIFIED
	full          = proto.Consent_CONSENT_FULL
	noIdentifiers = proto.Consent_CONSENT_NO_IDENTIFIERS
)

func TestConsentOfBeacons(t *testing.T) {
	t.Parallel()
	r := startWith(t, nil, func(d *Deps) { wireConsent(t, d) })
	n := 0
	f := func(query string, want proto.Consent, headers ...string) {
		t.Helper()
		for path, status := range map[string]int{"/i/": 200, "/c/": 302} {
			n++
			r.do("GET", path+r.sign(nil)+"?"+query, "", headers...).want(t, status)
			if e := newest(r, n); e.Consent != want {
				t.Errorf("%s%s %v: %v, want %v", path, query, headers, e.Consent, want)
			}
		}
		n++
		r.do("POST", "/e?"+query, `[{"token":"`+r.sign(nil)+`","type":"video_q1"}]`, headers...).want(t, 202, `"accepted":1`)
		if e := newest(r, n); e.Consent != want {
			t.Errorf("/e?%s %v: %v, want %v", query, headers, e.Consent, want)
		}
	}
	f("", unspecified)
	f("cb=1", unspecified)
	f("gdpr=0", full)
	f("gdpr=1", noIdentifiers)
	f("gdpr=1&gdpr_consent="+tcfGrants, full)
	f("gdpr=1&gdpr_consent="+tcfRefuses, noIdentifiers)
	f("gdpr=1&gdpr_consent="+tcfGrants, noIdentifiers, "Sec-GPC: 1")
	f("", noIdentifiers, "Sec-GPC: 1")
	f("", unspecified, "Sec-GPC: 0")
	f("us_privacy=1YNN", full)
	f("us_privacy=1YYN", noIdentifiers)
	f("gpp=DBABLA~BVVqAAAAAWA&gpp_sid=7", full)
	f("gpp=nonsense&gpp_sid=7", noIdentifiers)
	f("gdpr=%24%7BGDPR%7D", noIdentifiers)
	f("gdpr=0&gdpr=1", full)         // row 11: the first counts
	f("%67dpr=1&x=y", noIdentifiers) // row 11: escapes of a name are undone once
	r.wantMetric(`adtally_ingest_consent_decisions_total{reason="gpc"}`, "6")
}

func TestConsentOfClientEvents(t *testing.T) {
	t.Parallel()
	r := startWith(t, nil, func(d *Deps) { wireConsent(t, d) })
	n := 0
	f := func(query, members string, want proto.Consent) {
		t.Helper()
		n++
		r.post("/e?"+query, `[{"token":"`+r.sign(nil)+`","type":"click",`+members+`}]`).want(t, 202, `{"accepted":1,"rejected":[]}`)
		if e := newest(r, n); e.Consent != want {
			t.Errorf("%s %s: %v, want %v", query, members, e.Consent, want)
		}
	}
	f("gdpr=1", `"gdpr_consent":"`+tcfGrants+`"`, full) // the parameter and the member are one signal each
	f("gdpr=1&gdpr_consent="+tcfGrants, `"gdpr_consent":"`+tcfRefuses+`"`, noIdentifiers)
	f("", `"gdpr":0`, full)
	f("", `"gdpr":"1"`, noIdentifiers)
	f("", `"gdpr":1,"gdpr_consent":"`+tcfGrants+`"`, full)
	f("", `"gdpr":true`, noIdentifiers)
	f("", `"gdpr":{"a":1}`, noIdentifiers)
	f("", `"gdpr":null`, unspecified)
	f("", `"us_privacy":""`, unspecified)
	f("", `"us_privacy":"1YYN"`, noIdentifiers)
	f("", `"gpp":"DBABLA~BVVqAAAAAWA","gpp_sid":[7]`, full)
	f("", `"gpp":"DBABLA~BVVqAAAAAWA","gpp_sid":[ 7 , 0 ]`, full)
	f("", `"gpp":"DBABLA~BVVqAAAAAWA","gpp_sid":[]`, full)
	f("", `"gpp":"DBABLA~BVVqAAAAAWA","gpp_sid":7`, full)
	f("", `"gpp":"DBABLA~BVVqAAAAAWA","gpp_sid":[8]`, noIdentifiers)
	f("", `"gpp":"DBABLA~BVVqAAAAAWA","gpp_sid":["x"]`, noIdentifiers)
}

// TestUserHashNeedsConsent is row 35: without consent the id is dropped before
// Kafka, and the event is still counted.
func TestUserHashNeedsConsent(t *testing.T) {
	t.Parallel()
	r := startWith(t, nil, func(d *Deps) { wireConsent(t, d) })
	users := newUsers(t)
	n := 0
	f := func(user, members string, want proto.Consent, hashed bool, headers ...string) {
		t.Helper()
		n++
		body := fmt.Sprintf(`[{"type":"click","id":"x%d","advertiser_id":1,"campaign_id":2,"user_id":%q%s}]`, n, user, members)
		r.do("POST", "/v1/events", body, append(headers, "Authorization: Bearer all")...).want(t, 202, `{"accepted":1,"rejected":[]}`)
		e := newest(r, n)
		hash := uint64(0)
		if hashed {
			hash = users.Hash(1, []byte(user), e.TimeUs)
		}
		if e.UserHash != hash || e.Consent != want {
			t.Errorf("%s %s: hash %d and %v, want %d and %v", user, members, e.UserHash, e.Consent, hash, want)
		}
	}
	f("u-1", ``, unspecified, true)
	f("u-1", `,"gdpr":1,"gdpr_consent":"`+tcfGrants+`"`, full, true)
	f("u-1", `,"gdpr":1,"gdpr_consent":"`+tcfRefuses+`"`, noIdentifiers, false)
	f("u-1", `,"gdpr":1,"gdpr_consent":"broken"`, noIdentifiers, false)
	f("u-1", `,"us_privacy":"1YYN"`, noIdentifiers, false)
	f("u-1", ``, noIdentifiers, false, "Sec-GPC: 1")
	f(strings.Repeat("long", 200), ``, unspecified, true)
	f("", ``, unspecified, false)
	f("00000000-0000-0000-0000-000000000000", ``, unspecified, false)
	f("${USER_ID}", ``, unspecified, false)
	if e := newest(r, n); proto.Flag(e.InvalidFlags) != proto.FlagUnexpandedMacro {
		t.Errorf("flags %v", proto.Flag(e.InvalidFlags))
	}
}

func TestWithoutDeciderNoUserIsHashed(t *testing.T) {
	t.Parallel()
	r := startWith(t, nil, func(d *Deps) { d.Users = newUsers(t) })
	r.post("/v1/events", `[`+strings.TrimSuffix(minimal, "}")+`,"user_id":"u","gdpr":0}]`).want(t, 202, `"accepted":1`)
	if e := r.event(); e.UserHash != 0 || e.Consent != unspecified {
		t.Errorf("%v", e)
	}
	if (consent.Decision{}).Identifiers {
		t.Error("the zero decision keeps identifiers")
	}
}

// want checks what an event says of its sender.
func wantSender(t *testing.T, what string, e *proto.Event, device, os, browser string, flags proto.Flag, votes ...string) {
	t.Helper()
	var got []string
	for _, v := range e.Votes {
		got = append(got, proto.Flag(v.Flag).String()+"/"+v.List)
		if v.Version == "" {
			t.Errorf("%s: vote %v names no version", what, v)
		}
	}
	if e.Device != device || e.Os != os || e.Browser != browser || proto.Flag(e.InvalidFlags) != flags || fmt.Sprint(got) != fmt.Sprint(votes) {
		t.Errorf("%s: %s, %s, %s, flags %q, votes %v; want %s, %s, %s, %q, %v",
			what, e.Device, e.Os, e.Browser, proto.Flag(e.InvalidFlags), got, device, os, browser, flags, votes)
	}
}

const (
	crawlerVote = "crawler/crawler-user-agents"
	browserVote = "non_browser/known-browsers"
	centreVote  = "data_centre/ranges.txt"
)

// TestAgents is row 34: crawlers and prefetches get their answers and are
// flagged, not dropped.
func TestAgents(t *testing.T) {
	t.Parallel()
	r := startWith(t, nil, func(d *Deps) { wireLists(t, d, network.GeoConfig{}) })
	n := 0
	f := func(ua, device, os, browser string, flags proto.Flag, votes ...string) {
		t.Helper()
		check := func(what string, a answer, status int, flags proto.Flag) {
			t.Helper()
			a.want(t, status)
			n++
			wantSender(t, what+" by "+ua, newest(r, n), device, os, browser, flags, votes...)
		}
		agent := "User-Agent: " + ua
		check("pixel", r.do("GET", "/i/"+r.sign(nil), "", agent), 200, flags)
		check("click", r.do("GET", "/c/"+r.sign(nil), "", agent, "Purpose: prefetch"), 302, flags|proto.FlagPrefetch)
		check("client event", r.do("POST", "/e", `[{"token":"`+r.sign(nil)+`","type":"conversion"}]`, agent), 202, flags)
		body := fmt.Sprintf(`[{"type":"click","id":"x","advertiser_id":1,"campaign_id":2,"user_agent":%q}]`, ua)
		check("server event", r.do("POST", "/v1/events", body, "Authorization: Bearer all", "User-Agent: "+curl, "Purpose: prefetch"), 202, flags)
	}
	f(chrome, "desktop", "linux", "chrome", 0)
	f(iphone, "mobile", "ios", "safari", 0)
	f(googlebot, "bot", "other", "other", proto.FlagCrawler|proto.FlagNonBrowser, crawlerVote, browserVote)
	f(curl, "bot", "other", "other", proto.FlagCrawler|proto.FlagNonBrowser, crawlerVote, browserVote)

	// Without an agent a request is no browser's; a server may leave it out.
	r.do("GET", "/i/"+r.sign(nil), "", "User-Agent: ").want(t, 200)
	wantSender(t, "no agent", newest(r, n+1), "other", "other", "other", proto.FlagNonBrowser, browserVote)
	r.post("/v1/events", "["+minimal+"]").want(t, 202)
	wantSender(t, "server event without agent", newest(r, n+2), "", "", "", 0)
	// What a server says of the device counts, and flags are set all the same.
	r.post("/v1/events", `[`+strings.TrimSuffix(minimal, "}")+`,"device":"tv","browser":"x","user_agent":"`+curl+`"}]`).want(t, 202)
	wantSender(t, "explicit fields", newest(r, n+3), "tv", "other", "x", proto.FlagCrawler|proto.FlagNonBrowser, crawlerVote, browserVote)
}

// TestListsAreSwapped reloads lists under a running server.
func TestListsAreSwapped(t *testing.T) {
	t.Parallel()
	r := startWith(t, nil, func(d *Deps) { wireLists(t, d, network.GeoConfig{}) })
	r.do("GET", "/i/"+r.sign(nil), "", "User-Agent: "+googlebot).want(t, 200)
	if e := newest(r, 1); len(e.Votes) != 2 {
		t.Errorf("votes %v", e.Votes)
	}
	r.server.deps.Lists.Store(new(Lists))
	r.do("GET", "/i/"+r.sign(nil), "", "User-Agent: "+googlebot).want(t, 200)
	wantSender(t, "no lists", newest(r, 2), "", "", "", 0)
}

// TestClientAddress is row 20: only the rightmost address that is not a trusted
// proxy's is believed, and no address is stored.
func TestClientAddress(t *testing.T) {
	t.Parallel()
	r := startWith(t, func(c *Config) { c.TrustedProxies = []string{"127.0.0.0/8", "10.0.0.0/8"} },
		func(d *Deps) { wireLists(t, d, network.GeoConfig{Database: placesFile(t)}) })
	n := 0
	f := func(region string, flags proto.Flag, forwarded ...string) {
		t.Helper()
		var head strings.Builder
		fmt.Fprintf(&head, "GET /i/%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\nUser-Agent: %s\r\n", r.sign(nil), chrome)
		for _, line := range forwarded {
			head.WriteString("X-Forwarded-For: " + line + "\r\n")
		}
		if got := r.raw(head.String() + "\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Fatalf("%q: %q", forwarded, got)
		}
		n++
		e := newest(r, n)
		if e.Region != region || e.Country != region[:min(2, len(region))] || proto.Flag(e.InvalidFlags) != flags {
			t.Errorf("%q: %s, flags %q; want %s, %q", forwarded, e.Region, proto.Flag(e.InvalidFlags), region, flags)
		}
		if text := e.String(); strings.Contains(text, "81.2.7") || strings.Contains(text, "192.0.2") {
			t.Errorf("an address is in %s", text)
		}
	}
	centre := proto.FlagDataCentre
	f("", 0)
	f("US-CA", 0, "81.2.70.9")
	f("US-CA", 0, "192.0.2.1, 81.2.70.9") // the leftmost is anyone's
	f("US-CA", 0, "81.2.71.1, 81.2.70.9, 10.1.2.3")
	f("", centre, "81.2.70.9, 192.0.2.1")
	f("", centre, "2001:db8:dc::5")
	f("", centre, "[2001:db8:dc::5]:443")
	f("", 0, "2001:db8:dc::5%eth0")
	f("", 0, "unknown")
	f("", 0, "81.2.70.9, unknown")
	f("", 0, "127.0.0.1")
	f("", 0, "81.2.70.9", "192.0.2.1") // two lines
	f("US-CA", 0, strings.Repeat("192.0.2.1, ", 100)+"81.2.70.9")
	f("DE-BE", 0, "81.2.71.200:8080")
	// Prefixes of addresses that proxies put in other headers are not read.
	r.do("GET", "/i/"+r.sign(nil), "", "X-Real-Ip: 192.0.2.1", "Forwarded: for=192.0.2.1", "User-Agent: "+chrome).want(t, 200)
	wantSender(t, "other headers", newest(r, n+1), "desktop", "linux", "chrome", 0)
}

// TestUntrustedPeer is row 20 without a proxy: whatever a client says, it is its
// connection that counts.
func TestUntrustedPeer(t *testing.T) {
	t.Parallel()
	r := startWith(t, nil, func(d *Deps) {
		wireLists(t, d, network.GeoConfig{CountryHeader: "CF-IPCountry", RegionHeader: "X-Region"})
	})
	r.do("GET", "/i/"+r.sign(nil), "", "X-Forwarded-For: 192.0.2.1", "CF-IPCountry: US", "X-Region: CA", "User-Agent: "+chrome).want(t, 200)
	e := r.event()
	if e.InvalidFlags != 0 || e.Country != "" || e.Region != "" {
		t.Errorf("%v", e)
	}
}

func TestPlaceFromHeaders(t *testing.T) {
	t.Parallel()
	r := startWith(t, func(c *Config) { c.TrustedProxies = []string{"127.0.0.1"} },
		func(d *Deps) {
			wireLists(t, d, network.GeoConfig{CountryHeader: "CF-IPCountry", RegionHeader: "X-Region"})
		})
	r.do("GET", "/i/"+r.sign(nil), "", "CF-IPCountry: us", "X-Region: CA").want(t, 200)
	if e := newest(r, 1); e.Country != "US" || e.Region != "US-CA" {
		t.Errorf("%s %s", e.Country, e.Region)
	}
	r.do("POST", "/e", `[{"token":"`+r.sign(nil)+`","type":"click"}]`, "CF-IPCountry: XX").want(t, 202)
	if e := newest(r, 2); e.Country != "" {
		t.Errorf("%s", e.Country)
	}
	// The headers are those of the server's own request.
	r.do("POST", "/v1/events", "["+minimal+"]", "Authorization: Bearer all", "CF-IPCountry: US").want(t, 202)
	if e := newest(r, 3); e.Country != "" {
		t.Errorf("%s", e.Country)
	}
}

func TestAddressOfServerEvents(t *testing.T) {
	t.Parallel()
	r := startWith(t, nil, func(d *Deps) { wireLists(t, d, network.GeoConfig{Database: placesFile(t)}) })
	n := 0
	f := func(members, country, region string, flags proto.Flag) {
		t.Helper()
		n++
		r.post("/v1/events", fmt.Sprintf(`[{"type":"click","id":"x%d","advertiser_id":1,"campaign_id":2,%s}]`, n, members)).want(t, 202, `"accepted":1`)
		if e := newest(r, n); e.Country != country || e.Region != region || proto.Flag(e.InvalidFlags) != flags {
			t.Errorf("%s: %s, %s, %q", members, e.Country, e.Region, proto.Flag(e.InvalidFlags))
		}
	}
	f(`"ip":"81.2.70.9"`, "US", "US-CA", 0)
	f(`"ip":"81.2.70.9","country":"fr"`, "FR", "", 0) // not the region of another country
	f(`"ip":"81.2.70.9","country":"us"`, "US", "US-CA", 0)
	f(`"ip":"81.2.70.9","region":"x"`, "US", "x", 0)
	f(`"ip":"192.0.2.77"`, "", "", proto.FlagDataCentre)
	f(`"ip":"2001:db8:dc::1"`, "", "", proto.FlagDataCentre)
	f(`"ip":"nonsense"`, "", "", 0)
	f(`"ip":"192.0.2.1:80"`, "", "", 0)
	f(`"ip":""`, "", "", 0)
}
