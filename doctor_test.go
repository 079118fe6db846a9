package main

import (
	"strings"
	"testing"
)

func TestDoctorCommand(t *testing.T) {
	p := startProgram(t, "--ingest-path-prefix", "/x/")
	token := p.token(`{"advertiser_id":5,"campaign_id":50,"price":"2.50","pricing":"cpm","currency":"EUR"}`)
	forged := token[:len(token)-3] + "AAA"

	f := func(what, stdin string, flags []string, code int, want ...string) {
		t.Helper()
		args := []string{"doctor", "--data", p.dir}
		if what != "" {
			args = append(args, "--", what)
		}
		args = append(args[:1:1], append(flags, args[1:]...)...)
		var out, errs strings.Builder
		got := run(t.Context(), args, nil, strings.NewReader(stdin), &out, &errs)
		text := out.String() + errs.String()
		if got != code {
			t.Errorf("adtally %q: %d %s, want %d", args, got, text, code)
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("adtally %q says\n%s\nwhich lacks %q", args, text, w)
			}
		}
	}
	f(token, "", nil, exitDone, "read as impression: counts", "campaign_id", "50", "price_per_event", "0.0025")
	f(p.beacons("/x/c/"+token+"?gdpr=1"), "", nil, exitFailed, "read as click")
	f(p.beacons("/x/i/"+token+"?cb=${CACHEBUSTER}"), "", nil, exitFailed, "counts as invalid traffic", "macro left", "${CACHEBUSTER}")
	f(forged, "", nil, exitFailed, "does not count", "bad_signature")
	f(token, "", []string{"--user-agent", "curl/8.5.0"}, exitFailed, "flag", "non_browser")
	f("", `{"type":"impression","id":"a","advertiser_id":1,"campaign_id":2,"contry":"US"}`, nil, exitDone, "read as server_batch: counts", "contry")
	f("", `[{"type":"nonsense","id":"a","advertiser_id":1,"campaign_id":2}]`, []string{"--format", "json"}, exitFailed, `"reason":"unknown_type"`)
	f("", "", nil, exitUsage, "beacon URL")

	// The doctor counts nothing.
	p.waitTotal(0, 5, func(got figures) bool { return got.ImpressionsGross == 0 && got.ClicksGross == 0 })
}
