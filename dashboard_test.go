package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
)

func TestDashboard(t *testing.T) {
	v := startViewer(t)
	v.signIn("not-a-key")
	v.until(`document.querySelector(".signin .error").textContent.includes("not known")`)
	v.accessible("sign-in")
	v.shoot("sign-in")
	v.signIn(v.key)
	v.agrees(nil)
	if kept := eval[string](v.tab, `document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + location.href`); strings.Contains(kept, v.key) || strings.Contains(kept, "adtally_session") {
		t.Errorf("scripts can read the key: %s", kept)
	}
	v.accessible("overview")
	v.shoot("overview")

	v.step("counting", func() {
		v.act(`document.querySelector("input[value=gross]").click()`)
		want := fmt.Sprint(v.asked(nil).Totals["impressions_gross"])
		if got := v.shown().Cards["impressions"]; got != want || got != "60" {
			v.t.Errorf("gross is %s, want %s", got, want)
		}
		v.act(`document.querySelector("input[value=invalid]").click()`)
		if got, want := v.shown().Cards["impressions"], fmt.Sprint(v.asked(nil).Totals["impressions_invalid"]); got != want || got == "0" {
			v.t.Errorf("invalid is %s, want %s", got, want)
		}
		v.reasons()
		v.act(`document.querySelector("input[value=net]").click()`)
	})
	v.step("sort and chart by keyboard", func() {
		focus := func(script string) {
			eval[bool](v.tab, script+`.focus(), true`)
			v.do(chromedp.KeyEvent("\r"))
		}
		focus(`document.querySelector("th[aria-sort] .sort")`)
		v.until(`document.querySelector("th[aria-sort=descending]").textContent.startsWith("Campaign")`)
		v.settled()
		if rows := v.shown().Rows; rows[0][0] != "102" || rows[2][0] != "100" {
			v.t.Errorf("sorted by campaign: %v", rows)
		}
		focus(`document.querySelector("[data-metric=clicks]")`)
		v.until(`document.querySelector(".plot").getAttribute("aria-label").startsWith("Clicks")`)
		v.act(`document.querySelectorAll("th[aria-sort] .sort")[1].click()`)
	})
	v.step("filter", func() {
		v.act(`document.querySelector(".addfilter select").value = "country"`)
		v.do(chromedp.SendKeys(".addfilter input", "US\r"))
		v.until(`document.querySelector(".chip")`)
		us := []map[string]any{{"dimension": "country", "op": "in", "values": []string{"US"}}}
		v.until(`document.querySelector("[data-metric=impressions] .value").textContent === %q`, fmt.Sprint(v.asked(map[string]any{"filters": us}).Totals["impressions"]))
		v.agrees(map[string]any{"filters": us})
		v.do(chromedp.Reload()) // a link to a view is a view
		v.agrees(map[string]any{"filters": us})
		v.act(`document.querySelector(".chip button").click()`)
		v.agrees(nil)
	})
	v.step("drill down", func() {
		first := v.shown().Rows[0][0]
		v.act(`document.querySelector("tbody .open").click()`)
		page := v.shown()
		if !slices.Equal(page.Chips, []string{"Campaign: " + first}) || page.Head[0] != "Ad group" {
			v.t.Errorf("inside of %s: %v %v", first, page.Chips, page.Head)
		}
		v.agrees(map[string]any{"dimensions": []string{"ad_group"}, "filters": []map[string]any{{"dimension": "campaign", "op": "in", "values": []string{first}}}})
		v.act(`document.querySelector(".chip button").click()`)
		v.choose("Break down by", "campaign")
	})
	v.step("time zone", func() {
		v.choose("Dates", "today")
		v.choose("Time zone", "Pacific/Kiritimati")
		v.agrees(nil)
		early := v.shown().Cards["impressions"]
		v.choose("Time zone", "UTC") // ten hours more of today, or fourteen less
		v.agrees(nil)
		if late := v.shown().Cards["impressions"]; late == early {
			v.t.Errorf("both zones have %s impressions today", late)
		}
		v.choose("Time zone", "America/New_York")
		v.choose("Dates", "7d")
	})
	v.step("download", v.downloads)
	v.step("narrow and dark", func() {
		v.size(390, 800)
		v.settled()
		if wide := eval[int](v.tab, `document.documentElement.scrollWidth`); wide > 390 {
			v.t.Errorf("on a screen of 390 pixels the page is %d wide", wide)
		}
		v.accessible("narrow")
		v.shoot("narrow")
		v.size(1200, 800)
		v.scheme("dark")
		v.until(`getComputedStyle(document.body).backgroundColor === "rgb(18, 21, 28)"`)
		v.settled()
		v.accessible("dark")
		v.shoot("dark")
		v.scheme("light")
	})
	v.step("pages", v.otherPages)
	v.step("server gone and back", func() {
		v.act(`history.pushState(null, "", "/"), dispatchEvent(new PopStateEvent("popstate"))`)
		v.program.stop(syscall.SIGTERM)
		v.until(`document.querySelector("#notice").textContent.includes("does not answer")`)
		if v.shown().Cards["impressions"] == "" {
			v.t.Error("what was shown is gone")
		}
		v.shoot("server-gone")
		v.program.start()
		v.until(`!document.querySelector("#notice").textContent`)
		v.agrees(nil)
	})
	v.step("revoked key", func() {
		id := eval[string](v.tab, `fetch("/v1/session").then((r) => r.json()).then((who) => who.key.id)`)
		v.program.tool("key", "revoke", id, "--data", v.program.dir)
		v.until(`document.querySelector(".signin .error")?.textContent.includes("revoked or has expired")`)
		v.shoot("revoked")
	})
}

// reasons compares invalid traffic by reason with what the API answers.
func (v *viewer) reasons() {
	api := v.asked(map[string]any{
		"dimensions": []string{"invalid_reason"}, "metrics": []string{"impressions_invalid"},
		"filters": []map[string]any{{"dimension": "invalid_reason", "op": "ne", "values": []string{""}}}, "order_by": []any{},
	})
	shown := eval[[]string](v.tab, `[...document.querySelectorAll("[aria-label='Invalid traffic by reason'] tbody tr")].map((r) => r.children[0].textContent + "=" + r.children[1].textContent)`)
	total := 0.0
	for _, row := range api.Rows {
		n := row["impressions_invalid"].(float64)
		total += n
		words := strings.ReplaceAll(strings.ReplaceAll(row["invalid_reason"].(string), "_", " "), ",", " + ")
		if want := strings.ToUpper(words[:1]) + words[1:] + "=" + fmt.Sprint(n); !slices.Contains(shown, want) {
			v.t.Errorf("by reason the page says %v, want %s", shown, want)
		}
	}
	if all := v.asked(nil).Totals["impressions_invalid"]; total == 0 || fmt.Sprint(total) != fmt.Sprint(all) || len(shown) != len(api.Rows) {
		v.t.Errorf("by reason there are %v impressions in %v, %v are invalid", total, shown, all)
	}
}

// download clicks on something and returns the file that matches a pattern.
func (v *viewer) download(click, pattern string) []byte {
	v.t.Helper()
	dir := v.t.TempDir()
	ctx := chromedp.FromContext(v.ctx)
	if _, err := chromedp.CallBrowser(v.ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
		Behavior: "allow", BrowserContextID: ctx.BrowserContextID, DownloadPath: dir,
	}); err != nil {
		v.t.Fatal(err)
	}
	eval[bool](v.tab, click+`.click(), true`)
	var text []byte
	v.program.wait(browserPatience, "the file", func() bool {
		files, _ := filepath.Glob(filepath.Join(dir, pattern))
		if len(files) == 1 {
			text, _ = os.ReadFile(files[0]) // it is there before its content is
		}
		return len(text) > 0
	})
	return text
}

// downloads compares files with what the API answers.
func (v *viewer) downloads() {
	t := v.t
	table := v.download(`document.querySelector("[data-format=parquet]")`, "adtally-5-*.parquet")
	if !bytes.HasPrefix(table, []byte("PAR1")) || !bytes.HasSuffix(table, []byte("PAR1")) || !bytes.Contains(table, []byte("impressions")) {
		t.Errorf("the Parquet file has %d bytes: %.40q", len(table), table)
	}
	text := v.download(`document.querySelector("[data-format=csv]")`, "adtally-5-*.csv")
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	api := v.asked(nil)
	if len(lines) != 1+len(api.Rows) || !strings.HasPrefix(lines[0], "campaign,impressions,") {
		t.Fatalf("the file is %q", text)
	}
	for i, row := range api.Rows {
		if want := fmt.Sprintf("%v,%v,", row["campaign"], row["impressions"]); !strings.HasPrefix(lines[i+1], want) {
			t.Errorf("line %d is %q, want %q", i+1, lines[i+1], want)
		}
	}
}

func (v *viewer) otherPages() {
	t := v.t
	v.do(chromedp.Navigate(v.program.reports("/operator")))
	v.until(`document.querySelector("#main").textContent.includes("The books add up") && document.querySelector("table")`)
	v.until(`[...document.querySelectorAll(".instances tbody tr")].some((r) => r.textContent === "Stateready")`)
	for _, figure := range []string{"Events in the spool0", "Disk taken by the spool", "Oldest event in the spool", "Events in flight, at the last audit", "Last cut"} {
		v.until(`[...document.querySelectorAll(".instances tbody tr")].some((r) => r.textContent.startsWith(%q) && r.lastChild.textContent !== "–")`, figure)
	}
	v.accessible("operator")
	v.shoot("operator")
	v.closedDay()

	v.do(chromedp.Navigate(v.program.reports("/doctor")))
	examine := func(text, verdict, detail string) {
		t.Helper()
		v.until(`document.querySelector("#tag")`)
		eval[bool](v.tab, fmt.Sprintf(`(document.querySelector("#tag").value = %q), document.querySelector("#main button.primary").click(), true`, text))
		v.until(`document.querySelector("#diagnosis").textContent.includes(%q) && document.querySelector("#diagnosis").textContent.includes(%q)`, verdict, detail)
	}
	token := v.program.token(`{"advertiser_id":5,"campaign_id":100,"landing_url":"https://example.com/"}`)
	examine(`<p><div data-adtally="`+token+`"><a href="`+v.program.beacons("/c/"+token)+`">x</a></div>`, "Would be counted", "valid")
	v.accessible("doctor")
	v.shoot("doctor")
	examine(v.program.beacons("/i/"+token+"?cb=${CACHEBUSTER}"), "Would be counted as invalid traffic", "${CACHEBUSTER} in cb")
	examine(token[:len(token)-2]+"xx", "Would not be counted", "not valid")
	examine("<p>nothing</p>", "No diagnosis", "no token and no beacon URL")
	if n := eval[int](v.tab, `performance.getEntriesByType("resource").filter((e) => e.name.includes("/doctor")).length`); n == 0 {
		t.Error("the beacon server was not asked")
	}
}

// closedDay closes a day and looks at it.
func (v *viewer) closedDay() {
	p := v.program
	v.do(chromedp.Navigate(p.reports("/finance?advertiser=5")))
	v.until(`document.querySelector("#main").textContent.includes("No day is closed yet") || document.querySelector("#main table")`)
	day := time.Now().UTC().AddDate(0, 0, -3).Truncate(24 * time.Hour)
	p.postEvents(0, 4, closedAdvertiser, day.Add(time.Hour))
	p.waitImpressions(closedAdvertiser, day, 4)
	date := day.Format(time.DateOnly)
	p.wait(browserPatience, "the day to close", func() bool {
		_, err := p.command("close", "--day", date, "--close-lateness", "0s")
		return err == nil
	})
	v.do(chromedp.Navigate(p.reports("/finance?advertiser=6")))
	v.until(`[...document.querySelectorAll("#main tbody tr")].some((r) => r.children[2].textContent === "4" && r.children[4].textContent === "$0.01")`)
	v.accessible("finance")
	v.shoot("finance")
	eval[bool](v.tab, `[...document.querySelectorAll("#main tbody tr")].find((r) => r.children[2].textContent === "4").querySelector("button").click(), true`)
	v.until(`document.querySelector("a[download]")`)
	named := eval[string](v.tab, `document.querySelector("a[download]").closest("tr").lastChild.textContent`)
	file := v.download(`document.querySelector("a[download]")`, "statement.parquet")
	if sum := sha256.Sum256(file); hex.EncodeToString(sum[:]) != named {
		v.t.Errorf("the file has the hash %x, the page says %s", sum, named)
	}
	v.verifies(file)
	v.adjusted(day)
}

// verifies has the page check an export, as it is and with one byte changed.
func (v *viewer) verifies(file []byte) {
	v.t.Helper()
	click := `document.querySelector(".actions button:not(:disabled)").click(), true`
	eval[bool](v.tab, click)
	v.until(`document.querySelector(".verified")?.textContent.includes("Everything agrees")`)
	v.accessible("verified")
	v.shoot("finance-files")
	paths, err := filepath.Glob(filepath.Join(v.program.dir, "exports", "*", "day=*", "statement.parquet"))
	if err != nil || len(paths) != 1 {
		v.t.Fatalf("exports: %v %v", paths, err)
	}
	damaged := bytes.Clone(file)
	damaged[len(damaged)/2]++
	if err := os.WriteFile(paths[0], damaged, 0o600); err != nil {
		v.t.Fatal(err)
	}
	eval[bool](v.tab, click)
	v.until(`document.querySelector(".verified")?.textContent.includes("statement.parquet was changed")`)
	v.accessible("damaged")
	v.shoot("finance-damaged")
}

// adjusted sends late events for a closed day and closes the next: the page then
// shows what was adjusted, and what changed.
func (v *viewer) adjusted(day time.Time) {
	v.t.Helper()
	p := v.program
	p.postEvents(4, 6, closedAdvertiser, day.Add(time.Hour))
	p.waitImpressions(closedAdvertiser, day, 6)
	p.must("close", "--day", day.AddDate(0, 0, 1).Format(time.DateOnly), "--close-lateness", "0s")
	v.do(chromedp.Navigate(p.reports("/finance?advertiser=6")))
	row := func(table string) string {
		return `[...document.querySelectorAll("[aria-label='` + table + `'] tbody tr")].map((r) => [...r.children].map((c) => c.textContent).join("|"))`
	}
	v.until(`document.querySelector("[aria-label='Adjustments']") && document.querySelector("[aria-label='Changed after the close']")`)
	adjustments, changes := eval[[]string](v.tab, row("Adjustments")), eval[[]string](v.tab, row("Changed after the close"))
	net := 0
	for _, text := range adjustments {
		var n int
		_, _ = fmt.Sscan(strings.Split(text, "|")[3], &n) // another text stays 0
		net += n
	}
	if net != 2 {
		v.t.Errorf("adjustments: %v", adjustments)
	}
	before, now := 0, 0
	for _, text := range changes {
		cells := strings.Split(text, "|")
		var a, b int
		_, _ = fmt.Sscan(cells[4], &a)
		_, _ = fmt.Sscan(cells[5], &b)
		before, now = before+a, now+b
		if cells[3] != "late" {
			v.t.Errorf("change: %s", text)
		}
	}
	if now-before != 2 {
		v.t.Errorf("changes: %v", changes)
	}
	v.accessible("adjustments")
	v.shoot("finance-adjustments")
	v.size(390, 800)
	v.shoot("finance-narrow")
	v.size(1200, 800)
	v.scheme("dark")
	v.shoot("finance-dark")
	v.scheme("light")
}
