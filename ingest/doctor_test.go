package ingest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/adtally/adtally/ingest/network"
	"github.com/adtally/adtally/ingest/produce"
	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/proto"
)

func (a answer) diagnosed(tb testing.TB) report {
	tb.Helper()
	a.want(tb, 200)
	var out report
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		tb.Fatalf("%v in %s", err, a.body)
	}
	if a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" {
		tb.Errorf("headers %v", a.header)
	}
	return out
}

func startDoctor(t *testing.T) *rig {
	t.Helper()
	r := startWith(t, nil, func(d *Deps) {
		wireConsent(t, d)
		wireLists(t, d, network.GeoConfig{Database: placesFile(t)})
		d.Rejects = forbidden{t}
	})
	t.Cleanup(func() {
		if n := r.stored(); n != 0 {
			t.Errorf("the doctor counted %d events", n)
		}
		r.wantMetric(`adtally_ingest_events_rejected_total{reason="bad_signature"}`, "0")
	})
	return r
}

// forbidden is a Rejects that nothing may be put into.
type forbidden struct{ t *testing.T }

func (f forbidden) Put(r *produce.Rejected) { f.t.Errorf("reported %+v", r) }

func TestDoctorReadsBeacons(t *testing.T) {
	t.Parallel()
	r := startDoctor(t)
	one := func(body string, headers ...string) diagnosis {
		t.Helper()
		out := r.do("POST", "/doctor", body, append(headers, "Content-Type: text/plain")...).diagnosed(t)
		if out.Counted != 0 || len(out.Events) != 1 {
			t.Fatalf("%+v", out)
		}
		return out.Events[0]
	}
	text := r.sign(func(tk *proto.Token) { tk.Expires = time.Now().Add(time.Hour).Unix() })
	query := "?cb=[CACHEBUSTER]&gdpr=1&gdpr_consent=" + tcfGrants + "&utm=1&ts=%%TS%%"
	for _, body := range []string{"https://ads.example/c/" + text + query, "/c/" + text + query, `{"url":"http://x/c/` + text + query + `"}`, " /c/" + text + query + "\n"} {
		d := one(body, "User-Agent: "+googlebot)
		e := d.Event
		if !d.Counts || d.As != "click" || d.Signature != "ok" || d.KeyID != "k1" || d.Token.State != "valid" || e == nil {
			t.Fatalf("%s: %+v", body, d)
		}
		want := readEvent{
			Type: "click", Time: e.Time, Received: e.Received, ImpressionID: "imp-1", Advertiser: "1", Campaign: "2", AdGroup: "3", Creative: "4", Placement: "5", Publisher: "6",
			Price: "0.00125", Pricing: "cpm", Currency: "USD", Device: "bot", OS: "other", Browser: "other", Variant: "a",
			LandingURL: "https://shop.example/landing?x=1&y=2", Partition: e.Partition,
		}
		if *e != want || e.Time != e.Received {
			t.Errorf("got  %+v\nwant %+v", *e, want)
		}
		if *d.Consent != (readConsent{Decision: "full", Reason: "granted", Identifiers: true}) {
			t.Errorf("consent %+v", d.Consent)
		}
		flags, macros := fmt.Sprint(d.Flags), fmt.Sprint(d.Macros)
		if !strings.Contains(flags, "{crawler crawler-user-agents 1.") || !strings.Contains(flags, "{non_browser known-browsers ") || !strings.Contains(flags, "{unexpanded_macro  }") || len(d.Flags) != 3 {
			t.Errorf("flags %s", flags)
		}
		if macros != "[{cb [CACHEBUSTER]}]" && macros != "[{cb [CACHEBUSTER]} {ts %%TS%%}]" || fmt.Sprint(d.Unknown) != "[utm]" {
			t.Errorf("macros %s, unknown %v", macros, d.Unknown)
		}
	}
	if d := one("/i/"+text, "User-Agent: "+chrome, "Sec-GPC: 1"); !d.Event.Bills || d.Consent.Reason != "gpc" || d.Consent.Identifiers || len(d.Flags) != 0 || d.Event.Browser != "chrome" {
		t.Errorf("%+v", d)
	}
	if d := one("/t/" + text + "?e=end"); d.Counts || d.Reason != "unknown_type" || d.Field != "e" || d.Event != nil || d.Token == nil {
		t.Errorf("%+v", d)
	}
	if d := one("/nowhere/" + text); d.Counts || d.As != "other" || d.Reason != "not_found" {
		t.Errorf("%+v", d)
	}
	if d := one("/i/" + text + "?x=%%NAME%%"); fmt.Sprint(d.Macros) != "[{x %%NAME%%}]" && fmt.Sprint(d.Macros) != "[{query %%NAME%%}]" {
		t.Errorf("%+v", d.Macros)
	}
	if d := one("/c/" + r.sign(func(tk *proto.Token) { tk.LandingUrl = "https://x.example/?a=${ID}" })); fmt.Sprint(d.Macros) != "[{token.landing_url ${ID}}]" {
		t.Errorf("%+v", d.Macros)
	}
	for _, body := range []string{"a b", "http://[::1", "x\x00y"} {
		r.do("POST", "/doctor", body, "Content-Type: text/plain").want(t, 400, `"code":"bad_url"`)
	}
}

func TestDoctorReadsSignatures(t *testing.T) {
	t.Parallel()
	r := startDoctor(t)
	other, err := token.NewKeyring("k9", []token.Key{{ID: "k9", Secret: []byte(strings.Repeat("z", 32))}})
	if err != nil {
		t.Fatal(err)
	}
	f := func(text, signature, reason, state string) {
		t.Helper()
		events := r.do("POST", "/doctor", "/i/"+text, "Content-Type: text/plain").diagnosed(t).Events
		events = append(events, r.do("POST", "/doctor", `[{"token":"`+text+`","type":"impression"}]`, "Content-Type: application/json").diagnosed(t).Events...)
		for _, d := range events {
			got := ""
			if d.Token != nil {
				got = d.Token.State
			}
			if d.Signature != signature || d.Reason != reason || got != state || d.Counts != (reason == "") {
				t.Errorf("%s: %+v", text, d)
			}
		}
	}
	now := time.Now()
	f(r.sign(nil), "ok", "", "valid")
	f(r.sign(func(tk *proto.Token) { tk.Expires = now.Add(-time.Minute).Unix() }), "ok", "", "expired")
	f(r.sign(func(tk *proto.Token) { tk.Issued = now.Add(time.Hour).Unix() }), "ok", "", "not_yet_valid")
	f(r.sign(func(tk *proto.Token) { tk.PriceNanos = -1 }), "ok", "bad_token", "valid")
	f(flip(r.sign(nil), 30), "bad", "bad_signature", "")
	f(string(other.Sign(nil, fullToken())), "unknown_key", "bad_signature", "")
	f("${TOKEN}", "syntax", "bad_token", "")
	f("x", "syntax", "bad_token", "")
}

func TestDoctorReadsBatches(t *testing.T) {
	t.Parallel()
	r := startDoctor(t)
	text := r.sign(nil)
	body := `{"sdk":1,"events":[
		{"token":"` + text + `","type":"click","id":"${ID}","campaign_id":9,"colour":1,"us_privacy":"1YYN"},
		{"type":"conversion","id":"c","impression_id":"i","advertiser_id":1,"campaign_id":2,"price":"2.5","pricing":"cpa","currency":"EUR","user_id":"u","ip":"81.2.70.9","user_agent":"` + iphone + `"},
		{"type":"conversion","id":"d","advertiser_id":7,"campaign_id":2}]}`
	out := r.do("POST", "/doctor", body, "Content-Type: application/json", "Authorization: Bearer one", "User-Agent: "+chrome).diagnosed(t)
	if len(out.Events) != 3 || fmt.Sprint(out.Unknown) != "[sdk]" {
		t.Fatalf("%+v", out)
	}
	client, server, foreign := out.Events[0], out.Events[1], out.Events[2]
	if client.As != "client_batch" || !client.Counts || client.Event.Campaign != "2" || fmt.Sprint(client.Unknown) != "[campaign_id colour]" ||
		fmt.Sprint(client.Macros) != "[{id ${ID}}]" || fmt.Sprint(client.Flags) != "[{unexpanded_macro  }]" || client.Consent.Reason != "us_privacy" || client.Event.Browser != "chrome" {
		t.Errorf("%+v %+v", client, client.Event)
	}
	if e := server.Event; server.As != "server_batch" || server.Index != 1 || server.Signature != "" || e.ID != "c" || e.ImpressionID != "i" || e.Price != "2.5" || !e.Bills ||
		e.Country != "US" || e.Region != "US-CA" || e.OS != "ios" || !server.Consent.UserHashed {
		t.Errorf("%+v %+v %+v", server, server.Event, server.Consent)
	}
	if foreign.Counts || foreign.Reason != "forbidden" || foreign.Event != nil {
		t.Errorf("%+v", foreign)
	}
	if strings.Contains(fmt.Sprint(out), "81.2.70") {
		t.Error("the answer repeats an address")
	}
	f := func(body string, status int, code string, headers ...string) {
		t.Helper()
		r.do("POST", "/doctor", body, headers...).want(t, status, `"code":"`+code+`"`)
	}
	f("["+minimal+"]", 401, "unauthorized")
	f("["+minimal+"]", 401, "unauthorized", "Authorization: Bearer nobody")
	f("["+minimal+"]", 403, "forbidden", "Authorization: Bearer report")
	f("[", 400, "bad_json")
	f("", 400, "bad_json")
	f("["+strings.Repeat("{},", 200)+"{}]", 413, "too_large", "Authorization: Bearer all")
	f("[]", 415, "unsupported_media_type", "Content-Type: image/gif")
	if out := r.do("POST", "/doctor", minimal+"\n7", "Content-Type: application/x-ndjson", "Authorization: Bearer all").diagnosed(t); len(out.Events) != 2 || !out.Events[0].Counts || out.Events[1].Reason != "bad_value" {
		t.Errorf("%+v", out)
	}
	if a := r.do("OPTIONS", "/doctor", "", "Origin: https://page.example"); a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != "https://page.example" {
		t.Errorf("%d %v", a.status, a.header)
	}
	r.do("GET", "/doctor", "").want(t, 405)
}

func TestDoctorTakesABareToken(t *testing.T) {
	t.Parallel()
	r := startDoctor(t)
	f := func(text, signature string) {
		t.Helper()
		d := r.do("POST", "/doctor", text+"\n", "Content-Type: text/plain").diagnosed(t).Events[0]
		if d.As != "impression" || d.Signature != signature {
			t.Errorf("%+v", d)
		}
	}
	text := r.sign(nil)
	f(text, signatureOK)
	f(text[:len(text)-2]+"AA", signatureBad)
	// A host alone is a URL, and an event without a token is named.
	if d := r.do("POST", "/doctor", "ads.example").diagnosed(t).Events[0]; d.As != "other" {
		t.Errorf("%+v", d)
	}
	r.do("POST", "/doctor", `[{"token":"`+text+`","type":"click"},`+minimal+`]`, "Content-Type: application/json").
		want(t, 401, `"detail":"event 1 has none`)
}
