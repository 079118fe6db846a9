package ingest

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adtally/adtally/ingest/produce"
	"github.com/adtally/adtally/internal/testkit/wait"
	"github.com/adtally/adtally/proto"
)

func TestRejectedGoWithTheirReason(t *testing.T) {
	t.Parallel()
	k := new(kept)
	r := startWith(t, nil, func(d *Deps) { d.Rejects = k })
	f := func(a answer, status int, want ...produce.Rejected) {
		t.Helper()
		a.want(t, status)
		var got []produce.Rejected
		wait.Until(t, 10*time.Second, "the reports", func() bool {
			got = append(got, k.take()...)
			return len(got) >= len(want)
		})
		if len(got) != len(want) {
			t.Fatalf("%d reports, want %d: %+v", len(got), len(want), got)
		}
		for i, g := range got {
			w := want[i]
			if g.Route != w.Route || g.Reason != w.Reason || g.Field != w.Field || g.Advertiser != w.Advertiser || g.KeyID != w.KeyID || string(g.Body) != string(w.Body) {
				t.Errorf("got  %+v %s\nwant %+v %s", g, g.Body, w, w.Body)
			}
			if time.Since(g.Received) > time.Minute || g.Detail == "" && g.Reason != "missing_field" {
				t.Errorf("received %v, detail %q", g.Received, g.Detail)
			}
		}
	}
	good := r.sign(nil)
	empty := r.sign(func(tk *proto.Token) { tk.Currency = "usd" })
	old := strconv.FormatInt(time.Now().Add(-745*time.Hour).UnixMilli(), 10)

	f(r.do("GET", "/i/"+empty, ""), 400, produce.Rejected{Route: "impression", Reason: "bad_token", Field: "token.currency", Advertiser: 1, KeyID: "k1", Body: []byte(empty)})
	f(r.do("GET", "/c/"+good+"?ts="+old, ""), 302, produce.Rejected{Route: "click", Reason: "too_old", Field: "ts", Advertiser: 1, KeyID: "k1", Body: []byte(good)})
	f(r.do("GET", "/t/"+good+"?e=x&key=secret", ""), 400, produce.Rejected{Route: "video", Reason: "unknown_type", Field: "e", Advertiser: 1, KeyID: "k1", Body: []byte(good)})
	f(r.do("GET", "/i/my-Key_42", ""), 400, produce.Rejected{Route: "impression", Reason: "bad_token", Field: "token", Body: []byte("aa-aaa_00")})

	f(r.post("/e", `[{"token":"`+good+`","type":"click"},{"token":"`+good+`","type":"x","time":1,"email":"a@b"},{"type":"click","id":"7"}]`), 202,
		produce.Rejected{Route: "client_batch", Reason: "unknown_type", Field: "type", Advertiser: 1, KeyID: "k1", Body: []byte(`{"token":"` + good + `","type":"x","time":1}`)},
		produce.Rejected{Route: "client_batch", Reason: "missing_field", Field: "token", Body: []byte(`{"type":"click","id":"7"}`)})

	f(r.post("/v1/events", `[`+minimal+`,{"type":"click","id":"a\"b","advertiser_id":9,"campaign_id":{"x":[1]},"user_id":"me","ip":"192.0.2.1","user_agent":"x","gdpr_consent":"C","gpp":"D","gpp_sid":[7],"os":null,"mail":"m"},"me@home.example"]`), 202,
		produce.Rejected{Route: "server_batch", Reason: "bad_value", Field: "campaign_id", Advertiser: 9, Body: []byte(`{"type":"click","id":"a\"b","advertiser_id":9,"campaign_id":"…","os":null,"gpp_sid":"…"}`)},
		produce.Rejected{Route: "server_batch", Reason: "bad_value"})
	f(r.post("/v1/events", `[{"type":"click","ip":"192.0.2.1","user_id":"Zoë-12",]`), 400,
		produce.Rejected{Route: "server_batch", Reason: "bad_json", Body: []byte(`[{"type":"aaaaa","ip":"000.0.0.0","user_id":"aaaa-00",]`)})
	f(r.do("POST", "/v1/events", "not gzip", "Authorization: Bearer all", "Content-Encoding: gzip"), 400, produce.Rejected{Route: "server_batch", Reason: "bad_encoding"})

	// Nobody vouches for a request without a key, and HEAD counts nothing.
	f(r.do("POST", "/v1/events?key=all", "["), 401)
	f(r.do("HEAD", "/i/"+empty, ""), 400)
	f(r.post("/v1/events", "["+minimal+"]"), 202)
	if all := k.take(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

// TestReportsAreBounded checks how much of a body goes to the rejected topic.
func TestReportsAreBounded(t *testing.T) {
	t.Parallel()
	k := new(kept)
	r := startWith(t, nil, func(d *Deps) { d.Rejects = k })
	long := strings.Repeat("x", 100_000)
	r.post("/v1/events", `[{"type":"click","id":"`+long+`"}]`).want(t, 202)
	r.post("/v1/events", `["`+long+`" x`).want(t, 400)
	r.do("GET", "/i/"+long[:8000], "").want(t, 400)
	all := k.take()
	if len(all) != 3 {
		t.Fatalf("%d reports", len(all))
	}
	for _, rej := range all {
		if len(rej.Body) > maxReported || len(rej.Body) < maxReported/2 {
			t.Errorf("%s: %d bytes of a body", rej.Reason, len(rej.Body))
		}
	}
	if !strings.HasSuffix(string(all[1].Body), `a" a`) {
		t.Errorf("the fault is not in the report: …%s", all[1].Body[len(all[1].Body)-20:])
	}
}

// TestFloodDoesNotFillTheRejectedTopic sends what nobody vouches for.
func TestFloodDoesNotFillTheRejectedTopic(t *testing.T) {
	t.Parallel()
	k := new(kept)
	r := startWith(t, func(c *Config) { c.RejectedRate = 5 }, func(d *Deps) { d.Rejects = k })
	began := time.Now()
	for range 200 {
		r.do("GET", "/i/"+flip(r.sign(nil), 9), "").want(t, 400)
	}
	most := 6 + int(5*time.Since(began).Seconds())
	n := len(k.take())
	if n < 5 || n > most {
		t.Errorf("%d reports of 200, want 5 to %d", n, most)
	}
	r.wantMetric(`adtally_ingest_rejected_records_total{outcome="rate_limited"}`, strconv.Itoa(200-n))
	r.wantMetric(`adtally_ingest_events_rejected_total{reason="bad_signature"}`, "200")
	// A signature alone is no limit to what can be sent: tokens are public.
	for range 200 {
		r.do("GET", "/t/"+r.sign(nil)+"?e=x", "").want(t, 400)
	}
	if n := len(k.take()); n < 50 || n >= 200 {
		t.Errorf("%d reports of 200 with a signature, want at least 50", n)
	}
	// What came with a key is not limited.
	r.post("/v1/events", "["+strings.Repeat("{},", 99)+"{}]").want(t, 202)
	if n := len(k.take()); n != 100 {
		t.Errorf("%d reports of 100 authentic events", n)
	}
}
