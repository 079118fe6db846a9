package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// picture is a GIF that a page holds itself.
const picture = `<img src="data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==" width="100" height="100">`

func TestATagCountsWhatAPersonSees(t *testing.T) {
	s := newSite(t, startProgram(t))
	s.page("/landing", "", "<h1>Landed</h1>")
	const link = `<a href="#here" style="display:block;width:100px;height:100px">` + picture + `</a>`
	body := s.ad(1, 300, 250, "", link) +
		s.ad(2, 300, 250, "", "") + // 45 % is too little
		s.ad(3, 970, 250, "", "") + // large: 30 % is enough
		s.ad(4, 960, 250, "", "") + // almost large
		s.ad(5, 300, 250, "opacity:0", "") +
		s.ad(6, 300, 250, "", `<img src="/missing.gif">`) + // never rendered
		s.ad(8, 300, 250, "", link) +
		s.ad(7, 300, 250, "", `<a target="_blank" href="CLICK">`+picture+`</a>`)
	want := map[string]tally{
		"1": {"impressions": 1, "viewable": 1, "clicks": 1}, "2": {"impressions": 1}, "3": {"impressions": 1, "viewable": 1},
		"4": {"impressions": 1}, "5": {"impressions": 1}, "7": {"impressions": 1, "viewable": 1, "clicks": 1},
		"8": {"impressions": 1, "viewable": 1, "clicks": 1},
	}
	const glances = 20
	var spare strings.Builder
	for i := range glances {
		spare.WriteString(s.ad(100+i, 300, 250, "", ""))
		want[strconv.Itoa(100+i)] = tally{"impressions": 1}
	}
	p := startBrowser(t).open(s.page("/", "", body+spare.String()+`<div class="gap"></div>`))
	p.until(`counted("impression", 1) && counted("impression", %d)`, 100+glances-1)

	scrolled := eval[float64](p, `performance.now()`)
	p.wheel(eval[float64](p, `document.getElementById(1).getBoundingClientRect().top - 200`))
	p.until(`counted("viewable", 1)`)
	if took := eval[float64](p, `log.find((e) => e.type === "viewable").at`) - scrolled; took < 1000 {
		t.Errorf("viewable after %.0f ms", took)
	}
	eval[bool](p, `show(2, 0.45), wait(1500).then(() => true)`)
	eval[bool](p, `show(4, 0.35), wait(1500).then(() => true)`)
	eval[bool](p, `show(5, 1), wait(1500).then(() => true)`)
	eval[bool](p, `show(6, 1), wait(1500).then(() => true)`)
	eval[bool](p, `show(3, 0.35), true`)
	p.until(`counted("viewable", 3)`)

	// A glance is less than a second. On a slow machine one may take longer;
	// then it is no glance, and the next ad is tried.
	glanced := 0
	glance := func(look string) {
		t.Helper()
		for {
			glanced++
			if glanced == glances {
				t.Fatal("the machine is too slow for a glance")
			}
			id := 100 + glanced
			longest := eval[float64](p, fmt.Sprintf(`(async (id) => { let longest = 0, since = 0;
				const begin = async () => { since = performance.now(); };
				const end = async () => { await frames(); longest = Math.max(longest, performance.now() - since); };
				%s
				return longest; })(%d)`, look, id))
			if longest < 900 {
				return
			}
			eval[bool](p, `wait(1500).then(() => true)`)
			if eval[bool](p, fmt.Sprintf(`counted("viewable", %d)`, id)) {
				want[strconv.Itoa(id)]["viewable"] = 1
			}
		}
	}
	glance(`await begin(); show(id, 1); await wait(500); scrollTo(0, 0); await end();`)
	// Half a second twice, and between them the tab is behind another one.
	glance(`await begin(); show(id, 1); await wait(400); const other = open("about:blank"); await wait(100);
		longest = performance.now() - since;
		if (document.visibilityState !== "hidden") throw Error("the tab is not hidden");
		await wait(1500); other.close();
		while (document.visibilityState === "hidden") await wait(5);
		await begin(); await wait(400); scrollTo(0, 0); await end();`)

	p.do(chromedp.Click(`#\31  a`)) // a link that a person clicks
	p.until(`counted("click", 1)`)
	eval[bool](p, `document.querySelector("#\\31  a").click(), true`) // a script does not count
	p.do(chromedp.Click(`#\33 `))                                     // nor does what is no link
	p.do(chromedp.Focus(`#\38  a`), chromedp.KeyEvent("\r"))          // the keyboard does
	p.until(`counted("click", 8) && counted("viewable", 8)`)
	eval[bool](p, `show(7, 1), true`)
	p.until(`counted("viewable", 7)`)
	p.do(chromedp.Click(`#\37  a`)) // the redirect counts this one
	s.wantCampaigns(want)
	p.until(`kept().length === 0`)
}

func TestATagSurvivesBadNetworks(t *testing.T) {
	s := newSite(t, startProgram(t))
	add := func(p *tab, campaign int) {
		t.Helper()
		html, _ := json.Marshal(s.ad(campaign, 300, 250, "", `<a href="#here">`+picture+`</a>`))
		eval[bool](p, fmt.Sprintf(`document.body.insertAdjacentHTML("afterbegin", %s), document.querySelector(".gap").remove(), true`, html))
		p.until(`counted("viewable", %d)`, campaign)
		p.do(chromedp.Click(fmt.Sprintf(`[id="%d"] a`, campaign)))
		p.until(`counted("click", %d)`, campaign)
	}
	all := tally{"impressions": 1, "viewable": 1, "clicks": 1}
	url := s.page("/", "", `<div class="gap"></div>`)
	p := startBrowser(t).open(url)
	p.until(`window.adtally?.tag`)

	p.setOffline(true)
	add(p, 1)
	p.until(`kept().length === 3`)
	p.setOffline(false)
	s.wantCampaigns(map[string]tally{"1": all})
	p.until(`kept().length === 0`)

	s.fail("refuse")
	add(p, 2)
	p.until(`kept().length === 3 && kept().every((e) => e.first)`)
	s.fail("lose") // it arrives, and the tag cannot know
	p.do(chromedp.Navigate(url + "?again"))
	p.until(`window.adtally?.tag`)
	s.wantCampaigns(map[string]tally{"1": all, "2": all})
	p.until(`kept().length === 3`)
	s.fail("")
	p.do(chromedp.Reload())
	p.until(`kept().length === 0`)

	// A page that is left at once.
	token := s.program.token(fmt.Sprintf(`{"advertiser_id":%d,"campaign_id":3}`, tagAdvertiser))
	s.page("/thanks", "", "<h1>Thanks</h1>")
	eval[bool](p, fmt.Sprintf(`adtally.push((tag) => tag.track(%q, "conversion", {id: "order-1"})), (location = "/thanks"), true`, token))
	p.until(`location.pathname === "/thanks" && window.adtally?.tag`)
	eval[bool](p, fmt.Sprintf(`adtally.push((tag) => { tag.track(%q, "conversion", {id: "order-1"}); tag.flush(); }), true`, token))
	s.wantCampaigns(map[string]tally{"1": all, "2": all, "3": {"conversions": 1}})
	s.wantDuplicates(4, 7)
}

// Chromium prepares no page for a tab that is driven from outside, so these
// pages drive themselves and report to their server.
func TestATagWaitsForPreparedPages(t *testing.T) {
	s := newSite(t, startProgram(t))
	s.page("/next", `<script>
	addEventListener("adtally", () => fetch("/counted" + (performance.getEntriesByType("navigation")[0].activationStart > 0 ? "" : "/early")));
	if (document.prerendering) setTimeout(() => fetch("/prepared"), 2500);
	else fetch("/unprepared");
</script>`, s.ad(1, 300, 250, "", ""))
	url := s.page("/", `<script type="speculationrules">{"prerender":[{"urls":["/next"],"eagerness":"immediate"}]}</script><script>
	(async () => {
		while (!(await fetch("/go?" + Math.random())).ok) await wait(50);
		location = "/next";
	})();
</script>`, "")
	eval[bool](startBrowser(t).open("about:blank"), fmt.Sprintf(`open(%q, "_blank", "noopener"), true`, url))
	s.waitVisit("/prepared")
	s.wantCampaigns(nil)
	s.page("/go", "", "")
	s.waitVisit("/counted")
	s.wantCampaigns(map[string]tally{"1": {"impressions": 1}})
	for _, path := range []string{"/counted/early", "/unprepared"} {
		if s.visits(path) > 0 {
			t.Errorf("the page reported %s", path)
		}
	}
}

func TestATagFollowsAVideo(t *testing.T) {
	s := newSite(t, startProgram(t))
	video := func(campaign int) string {
		return s.ad(campaign, 400, 300, "", `<video muted preload="auto" src="/tone.wav" style="width:400px;height:300px"></video>`)
	}
	p := startBrowser(t).open(s.page("/", "", video(1)+video(2)+video(3)))
	p.until(`counted("impression", 1) && counted("impression", 2) && counted("impression", 3)`)
	eval[bool](p, `show(1, 1), wait(2500).then(() => true)`) // does not play
	eval[bool](p, `show(2, 1), document.querySelector("[id='2'] video").play().then(() => true)`)
	p.until(`counted("video_complete", 2)`)
	started := eval[float64](p, `log.find((e) => e.type === "video_start").at`)
	if viewable := eval[float64](p, `log.find((e) => e.type === "viewable").at`); viewable-started < 1990 { // both clocks start at the same event, one after the other
		t.Errorf("viewable %.0f ms after it started", viewable-started)
	}
	eval[bool](p, `show(3, 0.45), document.querySelector("[id='3'] video").play().then(() => true)`) // too little of it
	p.until(`counted("video_complete", 3)`)
	steps := tally{"impressions": 1, "video_start": 1, "video_q1": 1, "video_mid": 1, "video_q3": 1, "video_complete": 1}
	seen := maps.Clone(steps)
	seen["viewable"] = 1
	s.wantCampaigns(map[string]tally{"1": {"impressions": 1}, "2": seen, "3": steps})
}

// platform is what consent platforms put into a page.
const platform = `<script>
	window.__tcfapi = (command, version, answer) => answer({gdprApplies: true, tcString: "TC", purpose: {consents: {1: %s}}}, true);
	window.__gpp = (command, answer) => answer({pingData: {gppString: "GPP", applicableSections: [7, 8], signalStatus: "ready"}}, true);
	window.__uspapi = (command, version, answer) => answer({uspString: "1YNN"}, true);
	for (const name of ["__tcfapi", "__gpp", "__uspapi"]) {
		const frame = document.createElement("iframe");
		frame.name = name + "Locator";
		document.documentElement.append(frame);
		addEventListener("message", (m) => {
			const call = m.data?.[name + "Call"];
			if (!call) return;
			const answer = (returnValue, success) => m.source.postMessage({[name + "Return"]: {returnValue, success, callId: call.callId}}, "*");
			if (name === "__gpp") __gpp(call.command, answer);
			else window[name](call.command, call.version, answer);
		});
	}
</script>`

func TestATagPassesConsentOn(t *testing.T) {
	s := newSite(t, startProgram(t))
	b := startBrowser(t)
	// sent opens a page, waits for its batch and returns its parameters.
	sent := func(url string) url.Values {
		t.Helper()
		s.mu.Lock()
		s.queries = nil
		s.mu.Unlock()
		b.open(url)
		var first map[string][]string
		s.program.wait(browserPatience, "a batch", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.queries) > 0 {
				first = s.queries[0]
			}
			return first != nil
		})
		return first
	}
	want := func(got url.Values) {
		t.Helper()
		for name, value := range map[string]string{"gdpr": "1", "gdpr_consent": "TC", "gpp": "GPP", "gpp_sid": "7,8", "us_privacy": "1YNN"} {
			if got.Get(name) != value {
				t.Errorf("%s is %q, want %q", name, got.Get(name), value)
			}
		}
	}
	want(sent(s.page("/", fmt.Sprintf(platform, "true"), s.ad(1, 300, 250, "", ""))))
	s.page("/frame", "", s.ad(2, 300, 250, "", ""))
	frame := strings.Replace(s.pages.URL, "127.0.0.1", "localhost", 1) + "/frame" // another origin
	want(sent(s.page("/framing", fmt.Sprintf(platform, "true"), `<iframe src="`+frame+`"></iframe>`)))
	if got := sent(s.page("/none", "", s.ad(3, 300, 250, "", ""))); len(got) != 1 || got.Get("sent") == "" {
		t.Errorf("without a platform: %v", got)
	}
	// Without consent to storage nothing is stored.
	s.fail("refuse")
	p := b.open(s.page("/refused", fmt.Sprintf(platform, "false"), s.ad(4, 300, 250, "", "")))
	p.until(`counted("impression", 4)`)
	if n := eval[int](p, "localStorage.length"); n != 0 {
		t.Errorf("%d texts in the storage", n)
	}
	s.fail("")
	one := tally{"impressions": 1}
	s.wantCampaigns(map[string]tally{"1": one, "2": one, "3": one, "4": one})
}
