package ingest

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adtally/adtally/proto"
)

// rejected is what one event of a batch got.
type rejected struct {
	Index  int    `json:"index"`
	ID     string `json:"id"`
	Reason string `json:"reason"`
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

type batchAnswer struct {
	Accepted int        `json:"accepted"`
	Rejected []rejected `json:"rejected"`
	Warnings []rejected `json:"warnings"`
}

func (a answer) batch(tb testing.TB) batchAnswer {
	tb.Helper()
	a.want(tb, 202)
	var b batchAnswer
	if err := json.Unmarshal([]byte(a.body), &b); err != nil {
		tb.Fatalf("%v in %s", err, a.body)
	}
	return b
}

func TestServerEventsRejected(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	n := 0
	f := func(event, why, field string) {
		t.Helper()
		b := r.post("/v1/events", `[`+minimal+`,`+event+`,`+minimal+`]`).batch(t)
		n += 2
		if b.Accepted != 2 || len(b.Rejected) != 1 {
			t.Fatalf("%s: %+v", event, b)
		}
		if bad := b.Rejected[0]; bad.Index != 1 || bad.Reason != why || bad.Field != field {
			t.Errorf("%s: %+v, want %s of %s", event, bad, why, field)
		}
	}
	with := func(fields string) string { return strings.TrimSuffix(minimal, "}") + "," + fields + "}" }
	without := func(field string) string {
		var m map[string]any
		_ = json.Unmarshal([]byte(minimal), &m)
		delete(m, field)
		text, _ := json.Marshal(m)
		return string(text)
	}
	for _, field := range []string{"type", "id", "advertiser_id"} {
		f(without(field), "missing_field", field)
	}
	f(`{"type":"click","impression_id":"x","advertiser_id":1,"campaign_id":2}`, "missing_field", "id")
	f(`{"type":"tick","id":"x","advertiser_id":1,"campaign_id":2}`, "unknown_type", "type")
	f(`{"type":1,"id":"x","advertiser_id":1,"campaign_id":2}`, "unknown_type", "type")
	f(`{"type":"click","id":"","advertiser_id":1,"campaign_id":2}`, "missing_field", "id")
	f(`{"type":"click","id":7,"advertiser_id":1,"campaign_id":2}`, "bad_value", "id")
	f(`{"type":"click","id":"`+strings.Repeat("i", 129)+`","advertiser_id":1,"campaign_id":2}`, "bad_value", "id")
	f(`{"type":"click","id":"x","advertiser_id":0,"campaign_id":2}`, "bad_value", "advertiser_id")
	for _, id := range []string{`1.0`, `1e3`, `-1`, `18446744073709551616`, `"x"`, `""`, `"0x1"`, `"+1"`, `" 1"`, `true`, `[1]`} {
		f(`{"type":"click","id":"x","advertiser_id":1,"campaign_id":`+id+`}`, "bad_value", "campaign_id")
		f(with(`"publisher_id":`+id), "bad_value", "publisher_id")
	}
	f(with(`"impression_id":"y"`), "bad_value", "impression_id")
	f(with(`"advertiser_id":3`), "bad_value", "advertiser_id")
	f(with(`"country":"USA"`), "bad_value", "country")
	f(with(`"country":"U1"`), "bad_value", "country")
	f(with(`"country":"é"`), "bad_value", "country")
	f(with(`"region":"`+strings.Repeat("r", 17)+`"`), "bad_value", "region")
	for _, field := range []string{"device", "os", "browser", "variant"} {
		f(with(`"`+field+`":"`+strings.Repeat("v", 65)+`"`), "bad_value", field)
		f(with(`"`+field+`":5`), "bad_value", field)
	}
	f(with(`"user_id":5`), "bad_value", "user_id")
	f(with(`"ip":{}`), "bad_value", "ip")
	f(with(`"price":"1"`), "missing_field", "pricing")
	f(with(`"price":"1","pricing":"cpm"`), "missing_field", "currency")
	f(with(`"price":"1","pricing":"cpx","currency":"USD"`), "bad_value", "pricing")
	f(with(`"price":"1","pricing":"cpm","currency":"usd"`), "bad_value", "currency")
	f(with(`"currency":"USDT"`), "bad_value", "currency")
	for _, price := range []string{`"-1"`, `-1`, `"1e3"`, `1e3`, `"1.0000001"`, `"1000001"`, `"9223372036854775808"`, `"NaN"`, `"1,5"`, `""`, `"."`, `{}`, `"` + strings.Repeat("0", 40) + `"`} {
		f(with(`"price":`+price+`,"pricing":"cpm","currency":"USD"`), "bad_value", "price")
	}
	says := func(fields, detail string) {
		t.Helper()
		if bad := r.post("/v1/events", `[`+with(fields)+`]`).batch(t).Rejected; len(bad) != 1 || bad[0].Detail != detail {
			t.Errorf("%s: %+v, want the detail %q", fields, bad, detail)
		}
	}
	says(`"region":"`+strings.Repeat("r", 17)+`"`, "longer than 16 bytes")
	says(`"price":"`+strings.Repeat("0", 40)+`","pricing":"cpm","currency":"USD"`, "longer than 32 bytes")
	says(`"time":0`, "events are counted up to 744h0m0s after they happened")
	for _, at := range []string{`"yesterday"`, `"2026-11-20"`, `"2026-11-20T10:00:00"`, `""`, `"1732096800123"`, `1.5`, `-1`, `1e12`, `true`, `9999999999999999`} {
		f(with(`"time":`+at), "bad_value", "time")
	}
	f(with(`"time":`+strconv.FormatInt(time.Now().Add(-745*time.Hour).UnixMilli(), 10)), "too_old", "time")
	f(with(`"time":0`), "too_old", "time")
	f(`7`, "bad_value", "")
	f(`[{}]`, "bad_value", "")
	if r.stored() != n {
		t.Errorf("%d records, want the %d accepted", r.stored(), n)
	}
}

func TestClientEventsRejected(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	good := r.sign(nil)
	f := func(event, why, field string) {
		t.Helper()
		b := r.post("/e", "["+event+"]").batch(t)
		if b.Accepted != 0 || len(b.Rejected) != 1 || b.Rejected[0].Reason != why || b.Rejected[0].Field != field {
			t.Errorf("%s: %+v, want %s of %s", event, b, why, field)
		}
	}
	f(`{"token":"`+flip(good, 10)+`","type":"click","id":"c\"1"}`, "bad_signature", "token")
	f(`{"token":"`+flip(good, len(good)-2)+`","type":"click"}`, "bad_signature", "token")
	f(`{"token":"nope","type":"click"}`, "bad_token", "token")
	f(`{"token":7,"type":"click"}`, "bad_value", "token")
	f(`{"type":"click"}`, "missing_field", "token")
	f(`{"token":"`+good+`"}`, "missing_field", "type")
	f(`{"token":"`+good+`","type":"view"}`, "unknown_type", "type")
	f(`{"token":"`+good+`","type":"click","id":5}`, "bad_value", "id")
	f(`{"token":"`+good+`","type":"click","time":"x"}`, "bad_value", "time")
	f(`{"token":"`+good+`","type":"click","time":1}`, "too_old", "time")
	f(`{"token":"`+r.sign(func(tk *proto.Token) { tk.Currency = "usd" })+`","type":"click"}`, "bad_token", "token.currency")
	if r.stored() != 0 {
		t.Error("a rejected event was counted")
	}
	b := r.post("/e", `[{"token":"`+flip(good, 10)+`","type":"click","id":"c\"1"}]`).batch(t)
	if b.Rejected[0].ID != `c"1` {
		t.Errorf("id %q in the answer", b.Rejected[0].ID)
	}
	r.wantMetric(`adtally_ingest_events_rejected_total{reason="bad_signature"}`, "3")
}

// TestBodiesThatCountNothing is rows 15, 16 and 18.
func TestBodiesThatCountNothing(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *Config) { c.MaxBody = 16 << 10 })
	f := func(body string, status int, code string, headers ...string) {
		t.Helper()
		headers = append([]string{"Authorization: Bearer all", "Content-Type: application/json"}, headers...)
		a := r.do("POST", "/v1/events", body, headers...)
		shown := body[:min(len(body), 80)]
		if a.status != status || !strings.Contains(a.body, `"code":"`+code+`"`) || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%q: %d %s, want %d %s", shown, a.status, a.body, status, code)
		}
	}
	after := func(bad string) string { return "[" + minimal + "," + bad }
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	field := func(value string) string { return after(`{"x":` + value + `}]`) }
	for _, body := range []string{
		"", " ", "x", "7", `"events"`, "null", "{", "[", after(""), after("]"), after(minimal), after(minimal + "]]"), after("{]"),
		`{"events":7}`, `{"events":{}}`, `{"events":[` + minimal + `]`, `{"events":[],"events":[` + minimal + `]}`, minimal, "{}",
		`{"events":[]} []`, "\x00", "\ufeff[]", field("NaN"), field("Infinity"), field("1e400"), field("-1e999"), field("01"), field("1."), field(".5"), field("+1"), field("0x10"),
		field(strings.Repeat("9", 65)), field(`"` + "\xff" + `"`), field(`"\ud800"`), field(`"\ud800A"`), field(`"\udc00\ud800"`), field(`"\x"`),
		field(`"\u12"`), field(`"\u12g4"`), field("\"\n\""), field(`"`), field("tru"), field("nul"), field(`{"a"}`), field(`{a:1}`), field(`{"a":1,}`), field(`[1,]`), field(`[1 2]`),
		field(nested(63)), field(nested(5000)), after(`{"x":1}} ]`), "[" + minimal + " " + minimal + "]",
	} {
		f(body, 400, "bad_json")
	}
	r.do("POST", "/v1/events", field(nested(62)), "Authorization: Bearer all").want(t, 202, `"accepted":1`)
	lines := "Content-Type: application/x-ndjson"
	for _, body := range []string{minimal + "\n{", minimal + " " + minimal, minimal + "\nx", "x\n" + minimal} {
		f(body, 400, "bad_json", lines)
	}
	r.do("POST", "/v1/events", minimal+"\n[]\n7", "Authorization: Bearer all", lines).want(t, 202, `"accepted":1`, `"reason":"bad_value"`)
	many := "[" + strings.Repeat(minimal+",", 200) + minimal + "]"
	f(many, 413, "too_large")
	f(strings.Repeat("{}\n", 201), 413, "too_large", lines)
	f("["+strings.Repeat(" ", 16<<10)+"]", 413, "too_large")
	f(pack("["+strings.Repeat(" ", 128<<10)+"]"), 413, "too_large", "Content-Encoding: gzip")
	f(pack("["+strings.Repeat("  ", 5<<20)+"]"), 413, "too_large", "Content-Encoding: gzip")
	f(pack(pack("["+minimal+"]")), 400, "bad_json", "Content-Encoding: gzip")
	f("["+minimal+"]", 400, "bad_encoding", "Content-Encoding: gzip")
	f(pack("[" + minimal + "]")[:40], 400, "bad_encoding", "Content-Encoding: gzip")
	f("["+minimal+"]", 415, "unsupported_encoding", "Content-Encoding: br")
	f("["+minimal+"]", 415, "unsupported_encoding", "Content-Encoding: gzip, gzip")
	f("["+minimal+"]", 415, "unsupported_media_type", "Content-Type: multipart/form-data; boundary=x")
	if r.stored() != 2 {
		t.Errorf("%d records, want the 2 of the accepted bodies", r.stored())
	}
}
