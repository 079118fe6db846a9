package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// viewer is a person at the dashboard.
type viewer struct {
	*tab
	program *program
	key     string

	mu       sync.Mutex
	mistakes []string
}

// The advertiser of the overview, and one with a closed day.
const (
	viewedAdvertiser = 5
	closedAdvertiser = 6
)

// viewedEvents are of yesterday and today, in two currencies, with repeats and
// invalid traffic.
func viewedEvents(now time.Time) string {
	var b strings.Builder
	event := func(text string, args ...any) {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, text, args...)
	}
	for i := range 60 {
		id := i
		if i%12 == 11 {
			id = i - 1 // a repeat
		}
		agent := ""
		if id%10 == 3 {
			agent = `,"user_agent":"curl/8.5.0"`
		}
		event(`{"type":"impression","id":"i%d","advertiser_id":%d,"campaign_id":%d,"ad_group_id":%d,"country":"%s","price":"12.5","pricing":"cpm","currency":"USD","time":%d%s}`,
			id, viewedAdvertiser, 100+id%3, 10+id%2, []string{"US", "DE"}[id%2], now.Add(-time.Duration(id)*40*time.Minute).UnixMilli(), agent)
	}
	for i := range 9 {
		event(`{"type":"click","id":"c%d","impression_id":"i%d","advertiser_id":%d,"campaign_id":%d,"ad_group_id":%d,"country":"%s","price":"0.4","pricing":"cpc","currency":"USD","time":%d}`,
			i, i, viewedAdvertiser, 100+i%3, 10+i%2, []string{"US", "DE"}[i%2], now.Add(-time.Duration(i)*40*time.Minute).UnixMilli())
	}
	return `{"events":[` + b.String() + `]}`
}

// startViewer runs a program with events and opens its dashboard.
func startViewer(t *testing.T) *viewer {
	t.Helper()
	p := startProgram(t)
	made := strings.Fields(p.tool("key", "create", "--data", p.dir, "--scope", "report,finance,admin", "--advertiser", strconv.Itoa(viewedAdvertiser), "--advertiser", strconv.Itoa(closedAdvertiser), "--name", "viewer"))
	v := &viewer{program: p, key: made[len(made)-1]}
	p.tool("account", "set", strconv.Itoa(viewedAdvertiser), "--data", p.dir, "--name", "Example Shoes", "--timezone", "America/New_York", "--currency", "USD")
	status, answer := call(t.Context(), http.MethodPost, p.beacons("/v1/events"), p.key, []byte(viewedEvents(time.Now())))
	if status != http.StatusAccepted {
		t.Fatalf("events: %d %s", status, answer)
	}
	p.waitTotal(browserPatience, viewedAdvertiser, func(f figures) bool { return f.ImpressionsGross == 60 && f.ClicksGross == 9 })
	v.tab = startBrowser(t, chromedp.Flag("lang", "en-US")).open("about:blank")
	v.watch()
	v.do(chromedp.Navigate(p.reports("/")))
	return v
}

// watch notes what the browser has to complain about, such as a violation of
// the Content-Security-Policy.
func (v *viewer) watch() {
	v.t.Helper()
	command(v.tab, runtime.Enable, cdp.Empty{})
	command(v.tab, cdplog.Enable, cdp.Empty{})
	note := func(text string) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.mistakes = append(v.mistakes, text)
	}
	err := chromedp.Listen(v.ctx, func(ev any) {
		switch e := ev.(type) {
		case *runtime.EventExceptionThrown:
			note(e.ExceptionDetails.Text + " " + e.ExceptionDetails.Exception.Description)
		case *cdplog.EventEntryAdded:
			if e.Entry.Level == "error" && e.Entry.Source != "network" {
				note(e.Entry.Text)
			}
		}
	})
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		for _, text := range v.mistakes {
			v.t.Errorf("the browser complains: %s", text)
		}
	})
}

func (v *viewer) signIn(key string) {
	v.t.Helper()
	v.until(`document.querySelector("#key")`)
	eval[bool](v.tab, `(document.querySelector("#key").value = ""), true`)
	v.do(chromedp.SendKeys("#key", key+"\r"))
}

// settled waits until the page shows what it was last asked for.
func (v *viewer) settled() {
	v.t.Helper()
	v.until(`document.querySelector(".breakdown table, [data-format=csv]") && !document.querySelector("main[aria-busy]")`)
}

// act does something in the page and waits for what follows.
func (v *viewer) act(script string, args ...any) {
	v.t.Helper()
	eval[bool](v.tab, fmt.Sprintf(script, args...)+`, true`)
	v.settled()
}

// choose sets a select as a person would.
func (v *viewer) choose(label, value string) {
	v.t.Helper()
	v.act(`(() => { const field = [...document.querySelectorAll("label.field")].find((l) => l.querySelector("span").textContent === %q);
		const select = field.querySelector("select"); select.value = %q; select.dispatchEvent(new Event("change")); })()`, label, value)
}

// shown are the numbers of the page.
type shown struct {
	Cards map[string]string
	Head  []string
	Rows  [][]string
	Chips []string
}

func (v *viewer) shown() shown {
	v.t.Helper()
	v.settled()
	return eval[shown](v.tab, `({
		Cards: Object.fromEntries([...document.querySelectorAll(".metric")].map((c) => [c.dataset.metric, c.querySelector(".value").textContent])),
		Head: [...document.querySelectorAll("#main > .card:nth-of-type(5) thead th")].map((c) => c.textContent),
		Rows: [...document.querySelectorAll("#main > .card:nth-of-type(5) tbody tr")].map((r) => [...r.children].map((c) => c.textContent)),
		Chips: [...document.querySelectorAll(".chip")].map((c) => c.firstChild.textContent),
	})`)
}

// asked is the answer of the API to what the page shows.
func (v *viewer) asked(more map[string]any) (answer struct {
	Rows   []map[string]any
	Totals map[string]any
},
) {
	v.t.Helper()
	query := eval[string](v.tab, "location.search")
	values, err := url.ParseQuery(strings.TrimPrefix(query, "?"))
	if err != nil {
		v.t.Fatal(err)
	}
	zone, err := time.LoadLocation(values.Get("timezone"))
	if err != nil {
		v.t.Fatal(err)
	}
	today := time.Now().In(zone)
	days := map[string]int{"": 6, "today": 0, "28d": 27}[values.Get("range")]
	request := map[string]any{
		"advertiser": viewedAdvertiser, "timezone": values.Get("timezone"), "granularity": "total", "dimensions": []string{"campaign"},
		"metrics": []string{"impressions", "clicks", "ctr", "spend", "impressions_gross", "impressions_invalid", "impressions_duplicate"},
		"start":   today.AddDate(0, 0, -days).Format(time.DateOnly), "end": today.AddDate(0, 0, 1).Format(time.DateOnly),
		"order_by": []map[string]string{{"field": "impressions", "direction": "desc"}},
	}
	maps.Copy(request, more)
	body, _ := json.Marshal(request)
	status, text := call(v.t.Context(), http.MethodPost, v.program.reports("/v1/reports"), v.key, body)
	if err := json.Unmarshal(text, &answer); err != nil || status != http.StatusOK {
		v.t.Fatalf("report: %d %s", status, text)
	}
	return answer
}

// agrees compares the page with the API.
func (v *viewer) agrees(more map[string]any) {
	v.t.Helper()
	page, api := v.shown(), v.asked(more)
	number := func(name string) string { return fmt.Sprint(api.Totals[name]) }
	want := map[string]string{"impressions": number("impressions"), "clicks": number("clicks"), "spend": "$" + cents(v.t, number("spend"))}
	for name, value := range want {
		if page.Cards[name] != value {
			v.t.Errorf("%s: the page says %q, the API %q", name, page.Cards[name], value)
		}
	}
	if len(page.Rows) != len(api.Rows) {
		v.t.Fatalf("the page has %d rows, the API %d: %v", len(page.Rows), len(api.Rows), page.Rows)
	}
	by := "campaign"
	if dims, ok := more["dimensions"].([]string); ok {
		by = dims[0]
	}
	for i, row := range api.Rows {
		if got := page.Rows[i]; got[0] != fmt.Sprint(row[by]) || got[1] != fmt.Sprint(row["impressions"]) {
			v.t.Errorf("row %d: the page says %v, the API %v", i, got, row)
		}
	}
}

// cents rounds a decimal to two places, half away from zero.
func cents(t *testing.T, text string) string {
	t.Helper()
	var whole, part int
	var digits string
	if _, err := fmt.Sscanf(text, "%d.%s", &whole, &digits); err != nil {
		digits = ""
		if _, err := fmt.Sscanf(text, "%d", &whole); err != nil {
			t.Fatalf("%q is no decimal", text)
		}
	}
	digits = (digits + "000")[:3]
	if _, err := fmt.Sscanf(digits, "%d", &part); err != nil {
		t.Fatalf("%q is no decimal", text)
	}
	total := whole*1000 + part + 5
	return fmt.Sprintf("%d.%02d", total/1000, total%1000/10)
}

// shoot writes what the page looks like into the folder screenshots, for eyes.
func (v *viewer) shoot(name string) {
	v.t.Helper()
	if err := os.MkdirAll("screenshots", 0o755); err != nil {
		v.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(v.ctx, browserPatience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join("screenshots", name+".png"), picture, 0o600)
	}
	if err != nil {
		v.t.Fatal(err)
	}
}

func (v *viewer) size(width, height int64) {
	v.t.Helper()
	command(v.tab, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1})
}

func (v *viewer) scheme(name string) {
	v.t.Helper()
	command(v.tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
}

// axe is the source of axe-core, which is fetched once.
var axe = sync.OnceValues(func() (string, error) {
	const file = "query/dashboard/npm/node_modules/axe-core/axe.min.js"
	if _, err := os.Stat(file); err != nil {
		install := exec.Command("npm", "--prefix", "query/dashboard/npm", "ci", "--ignore-scripts", "--no-fund", "--no-audit")
		if out, err := install.CombinedOutput(); err != nil {
			return "", fmt.Errorf("install axe-core: %w: %s", err, out)
		}
	}
	text, err := os.ReadFile(file)
	return string(text), err
})

// accessible fails the test where axe-core finds a serious violation.
func (v *viewer) accessible(what string) {
	v.t.Helper()
	source, err := axe()
	if err != nil {
		v.t.Fatal(err)
	}
	found := eval[[]string](v.tab, source+`; axe.run(document, {resultTypes: ["violations"]}).then((r) =>
		r.violations.filter((x) => x.impact === "serious" || x.impact === "critical").map((x) => x.id + ": " + x.nodes.map((n) => n.html.slice(0, 120) + " " + n.failureSummary).slice(0, 3).join(" | ")))`)
	for _, violation := range found {
		v.t.Errorf("%s: %s", what, violation)
	}
}

// step is a part of a visit, as a test of its own.
func (v *viewer) step(name string, do func()) {
	parent := v.t
	parent.Run(name, func(t *testing.T) {
		v.t, v.program.t = t, t
		defer func() { v.t, v.program.t = parent, parent }()
		do()
	})
}
