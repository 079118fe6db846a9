package ingest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/adtally/adtally/proto"
)

const minimal = `{"type":"impression","id":"x","advertiser_id":1}`

func pack(text string) string {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return buf.String()
}

func TestServerEventWithEveryField(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	at := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	r.post("/v1/events", `{"events":[{"type":"click","id":"c-1","impression_id":"i-1","time":"`+at.Format(time.RFC3339Nano)+`",
		"advertiser_id":18446744073709551615,"campaign_id":"9007199254740993","ad_group_id":9007199254740993,"creative_id":4,"placement_id":5,"publisher_id":"6",
		"country":"us","region":"US-CA","device":"mobile","os":"ios","browser":"safari","variant":"a\"\u00e9\ud83d\ude00","user_id":"u","ip":"192.0.2.1","user_agent":"x/1",
		"price":"1.25","pricing":"cpc","currency":"USD"}]}`).want(t, 202, `{"accepted":1,"rejected":[]}`)
	e := r.event()
	want := &proto.Event{
		Type: proto.EventType_EVENT_TYPE_CLICK, TimeUs: at.UnixMicro(), ReceivedUs: e.ReceivedUs,
		AdvertiserId: 18446744073709551615, CampaignId: 9007199254740993, AdGroupId: 9007199254740993, CreativeId: 4, PlacementId: 5, PublisherId: 6,
		Country: "US", Region: "US-CA", Device: "mobile", Os: "ios", Browser: "safari", Variant: "a\"é😀",
		PriceNanos: 1_250_000_000, Pricing: proto.Pricing_PRICING_CPC, Currency: "USD",
	}
	want.SetEventID(hash(18446744073709551615, "c-1"))
	want.SetImpressionID(hash(18446744073709551615, "i-1"))
	if !protobuf.Equal(e, want) {
		t.Errorf("got  %v\nwant %v", e, want)
	}
	r.wantMetric(`adtally_ingest_events_accepted_total{type="click"}`, "1")
	r.wantMetric(`adtally_ingest_requests_total{route="server_batch",class="2xx"}`, "1")
}

func TestServerEventIDs(t *testing.T) {
	t.Parallel()
	f := func(fields string, event, impression string) {
		t.Helper()
		r := start(t, nil)
		r.post("/v1/events", `[{"advertiser_id":1,"campaign_id":2,`+fields+`}]`).want(t, 202, `"accepted":1`)
		e := r.event()
		wantImp := proto.ID{}
		if impression != "" {
			wantImp = hash(1, impression)
		}
		if e.EventID() != hash(1, event) || e.ImpressionID() != wantImp {
			t.Errorf("%s: ids %v and %v", fields, e.EventID(), e.ImpressionID())
		}
	}
	f(`"type":"impression","id":"x"`, "x", "x")
	f(`"type":"impression","impression_id":"x"`, "x", "x")
	f(`"type":"impression","id":"x","impression_id":"x"`, "x", "x")
	f(`"type":"impression","id":null,"impression_id":"x"`, "x", "x")
	f(`"type":"viewable","id":"v","impression_id":"x"`, "v", "x")
	f(`"type":"conversion","id":"v"`, "v", "")
	f(`"type":"video_q3","id":"`+strings.Repeat("i", 128)+`"`, strings.Repeat("i", 128), "")
}

func TestServerEventPrices(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	n := 0
	f := func(price, pricing string, want int64) {
		t.Helper()
		n++
		body := fmt.Sprintf(`[{"type":"impression","id":"x%d","advertiser_id":1,"campaign_id":2,"price":%s,"pricing":%q,"currency":"EUR"}]`, n, price, pricing)
		r.post("/v1/events", body).want(t, 202, `"accepted":1`)
		if e := newest(r, n); e.PriceNanos != want {
			t.Errorf("price %s %s is %d nanos, want %d", price, pricing, e.PriceNanos, want)
		}
	}
	f(`"1.25"`, "cpm", 1_250_000)
	f(`1.25`, "cpm", 1_250_000)
	f(`0.000001`, "cpm", 1)
	f(`"0.000001"`, "flat", 1000)
	f(`"1000000"`, "cpa", 1_000_000_000_000_000)
	f(`0`, "cpc", 0)
}

func TestServerEventTimes(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	n := 0
	now := time.Now()
	f := func(text string, want time.Time, flag proto.Flag) {
		t.Helper()
		n++
		r.post("/v1/events", fmt.Sprintf(`[{"type":"click","id":"x%d","advertiser_id":1,"campaign_id":2,"time":%s}]`, n, text)).want(t, 202, `"accepted":1`)
		e := newest(r, n)
		if want.IsZero() {
			want = time.UnixMicro(e.ReceivedUs)
		}
		if e.TimeUs != want.UnixMicro() || proto.Flag(e.InvalidFlags) != flag {
			t.Errorf("%s: %v flags %v, want %v", text, time.UnixMicro(e.TimeUs), proto.Flag(e.InvalidFlags), want)
		}
	}
	quoted := func(at time.Time, layout string) string { return strconv.Quote(at.Format(layout)) }
	old := now.Add(-30 * 24 * time.Hour)
	f(`null`, time.Time{}, 0)
	f(quoted(old.UTC(), time.RFC3339), old.Truncate(time.Second), 0)
	f(quoted(old.In(time.FixedZone("", 5*3600+45*60)), time.RFC3339Nano), old, 0)
	f(quoted(old.UTC(), "2006-01-02T15:04:05.000Z07:00"), old.Truncate(time.Millisecond), 0)
	f(strconv.FormatInt(old.UnixMilli(), 10), old.Truncate(time.Millisecond), 0)
	f(quoted(now.Add(10*time.Minute).UTC(), time.RFC3339), time.Time{}, proto.FlagFutureTime)
}

func TestClientBatch(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	text := r.sign(nil)
	at := time.Now().Add(-time.Minute).UnixMilli()
	var b strings.Builder
	fmt.Fprintf(&b, `{"token":%q,"type":"impression","id":"ignored"},`, text)
	fmt.Fprintf(&b, `{"token":%q,"type":"video_q1","time":%d},`, text, at)
	fmt.Fprintf(&b, `{"token":%q,"type":"click","id":"mine"},`, text)
	fmt.Fprintf(&b, `{"token":%q,"type":"click"},`, text)
	fmt.Fprintf(&b, `{"token":%q,"type":"conversion","id":"${ID}"}`, text)
	r.do("POST", "/e", "["+b.String()+"]", "Purpose: prefetch").want(t, 202, `"accepted":5`)
	byType := map[proto.EventType][]*proto.Event{}
	for _, e := range r.events(5) {
		byType[e.Type] = append(byType[e.Type], e)
		flags := proto.FlagPrefetch
		if e.Type == proto.EventType_EVENT_TYPE_CONVERSION {
			flags |= proto.FlagUnexpandedMacro
		}
		if proto.Flag(e.InvalidFlags) != flags {
			t.Errorf("%v: flags %v", e.Type, proto.Flag(e.InvalidFlags))
		}
		e.InvalidFlags = 0
		checkFullToken(t, e, e.Type)
	}
	imp := hash(1, "imp-1")
	if e := byType[proto.EventType_EVENT_TYPE_IMPRESSION][0]; e.EventID() != imp {
		t.Errorf("impression has id %v", e.EventID())
	}
	if e := byType[proto.EventType_EVENT_TYPE_VIDEO_Q1][0]; e.EventID() != imp || e.TimeUs != at*1000 {
		t.Errorf("video step has id %v, time %d", e.EventID(), e.TimeUs)
	}
	if e := byType[proto.EventType_EVENT_TYPE_CONVERSION][0]; e.EventID() != hash(1, "${ID}") {
		t.Errorf("conversion has id %v", e.EventID())
	}
	clicks := byType[proto.EventType_EVENT_TYPE_CLICK]
	ids := map[proto.ID]bool{clicks[0].EventID(): true, clicks[1].EventID(): true}
	if !ids[hash(1, "mine")] || len(ids) != 2 || ids[imp] {
		t.Errorf("clicks have ids %v", ids)
	}
}

func TestBatchForms(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	n := 0
	f := func(body, contentType string, encoding ...string) {
		t.Helper()
		headers := append([]string{"Authorization: Bearer all", "Content-Type: " + contentType}, encoding...)
		a := r.do("POST", "/v1/events", body, headers...)
		a.want(t, 202, `"accepted":2,"rejected":[]`)
		if n += 2; r.stored() != n {
			t.Errorf("%s: %d records, want %d", contentType, r.stored(), n)
		}
	}
	two := minimal + "," + minimal
	f(`{"events":[`+two+`]}`, "application/json")
	f(" [ "+two+" ]\n", "application/json; charset=utf-8")
	f(`[`+two+`]`, "text/plain;charset=UTF-8")
	f(`{"events":[`+two+`]}`, "text/plain")
	f(minimal+"\n"+minimal, "text/plain")
	f(`{"events":[`+two+`]}`, "application/x-www-form-urlencoded")
	f(minimal+"\n\n"+minimal+"\n", "application/x-ndjson")
	f(minimal+"\r\n"+minimal+"\r\n", "Application/X-NDJSON")
	f(`[`+two+`]`, "application/x-ndjson")
	f(pack(`[`+two+`]`), "application/json", "Content-Encoding: gzip")
	f(pack(minimal+"\n"+minimal), "text/plain", "Content-Encoding: GZIP")
	r.do("POST", "/v1/events", "["+two+"]", "Authorization: bearer all").want(t, 202, `"accepted":2`) // no media type
	r.post("/v1/events", `{"events":[]}`).want(t, 202, `{"accepted":0,"rejected":[]}`)
	r.post("/v1/events", `[]`).want(t, 202, `{"accepted":0,"rejected":[]}`)
}

func TestUnknownFieldsAreCountedAndReported(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	b := r.post("/v1/events", `{"sdk":"x","events":[`+minimal+`,`+strings.TrimSuffix(minimal, "}")+`,"colour":{"a":[1,null,true]}}],"more":0}`).batch(t)
	want := []rejected{
		{Index: -1, Field: "sdk", Reason: "unknown_field"},
		{Index: 1, Field: "colour", Reason: "unknown_field"},
		{Index: -1, Field: "more", Reason: "unknown_field"},
	}
	if b.Accepted != 2 || fmt.Sprint(b.Warnings) != fmt.Sprint(want) {
		t.Errorf("%+v", b)
	}
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, `"%s%d":1,`, strings.Repeat("é", 60), i)
	}
	b = r.post("/v1/events", `[{`+many.String()+minimal[1:]+`]`).batch(t)
	if b.Accepted != 1 || len(b.Warnings) != 20 || len(b.Warnings[0].Field) != 64 {
		t.Errorf("%d accepted, %d warnings", b.Accepted, len(b.Warnings))
	}
	b = r.post("/e", `[{"token":"`+r.sign(nil)+`","type":"click","campaign_id":9}]`).batch(t)
	if b.Accepted != 1 || len(b.Warnings) != 1 || b.Warnings[0].Field != "campaign_id" {
		t.Errorf("unsigned campaign: %+v", b)
	}
	if e := newest(r, 4); e.CampaignId != 2 {
		t.Errorf("campaign %d came from outside the token", e.CampaignId)
	}
}

// TestKeys is row 30.
func TestKeys(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	f := func(header string, status int, code string) {
		t.Helper()
		a := r.do("POST", "/v1/events", "["+minimal+"]", "Content-Type: application/json", header)
		a.want(t, status, `"code":"`+code+`"`)
		if status == 401 && a.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("headers %v", a.header)
		}
	}
	f("", 401, "unauthorized")
	f("Authorization: Bearer nobody", 401, "unauthorized")
	f("Authorization: Bearer ALL", 401, "unauthorized")
	f("Authorization: Bearer", 401, "unauthorized")
	f("Authorization: Basic all", 401, "unauthorized")
	f("Authorization: all", 401, "unauthorized")
	f("Authorization: Bearer report", 403, "forbidden")
	f("Authorization: Bearer away", 503, "unavailable")
	if r.do("POST", "/v1/events?key=all", "["+minimal+"]").status != 401 {
		t.Error("a key in the URL was taken")
	}
	other := strings.Replace(minimal, `"advertiser_id":1`, `"advertiser_id":7`, 1)
	b := r.do("POST", "/v1/events", "["+other+","+minimal+"]", "Authorization: Bearer one").batch(t)
	if b.Accepted != 1 || b.Rejected[0].Reason != "forbidden" || b.Rejected[0].Index != 0 || b.Rejected[0].ID != "x" {
		t.Errorf("%+v", b)
	}
	if r.stored() != 1 {
		t.Errorf("%d records, want 1", r.stored())
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	f := func(a answer, status int) {
		t.Helper()
		a.want(t, status)
		if a.header.Get("Access-Control-Allow-Origin") != "https://page.example" || a.header.Get("Access-Control-Allow-Credentials") != "true" || a.header.Get("Vary") != "Origin" ||
			a.header.Get("Access-Control-Expose-Headers") != "Retry-After" {
			t.Errorf("headers %v", a.header)
		}
	}
	origin := "Origin: https://page.example"
	pre := r.do("OPTIONS", "/e", "", origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type")
	f(pre, 204)
	if pre.header.Get("Access-Control-Max-Age") == "" || !strings.Contains(pre.header.Get("Access-Control-Allow-Methods"), "POST") ||
		!strings.Contains(pre.header.Get("Access-Control-Allow-Headers"), "Content-Type") {
		t.Errorf("headers %v", pre.header)
	}
	f(r.do("POST", "/e", `[{"token":"`+r.sign(nil)+`","type":"click"}]`, origin), 202)
	f(r.do("POST", "/e", `[`, origin), 400)
	f(r.do("POST", "/e", strings.Repeat(" ", 128<<10+1), origin), 413)
	f(r.do("GET", "/e", "", origin), 405)
	if a := r.do("POST", "/e", `[]`); a.status != 202 || a.header.Get("Access-Control-Allow-Origin") != "" || a.header.Get("Vary") != "Origin" {
		t.Errorf("without origin: %d %v", a.status, a.header)
	}
	if a := r.do("POST", "/v1/events", `[]`, origin, "Authorization: Bearer all"); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a page may use the server endpoint: %v", a.header)
	}
	if r.stored() != 1 {
		t.Errorf("%d records, want 1", r.stored())
	}
}
