package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// site is a publisher's pages, and a way to the beacon server that can fail.
type site struct {
	t       *testing.T
	program *program
	pages   *httptest.Server
	beacons *httptest.Server

	mu      sync.Mutex
	html    map[string]string
	visited map[string]int
	queries []url.Values
	// failure is what the way does to batches: "", "refuse" before they
	// arrive, or "lose" their answers.
	failure string
}

// advertiser of the tests with tags. Each ad has a campaign of its own.
const tagAdvertiser = 77

func newSite(t *testing.T, p *program) *site {
	t.Helper()
	s := &site{t: t, program: p, html: make(map[string]string), visited: make(map[string]int)}
	s.pages = httptest.NewServer(http.HandlerFunc(s.servePage))
	s.beacons = httptest.NewServer(http.HandlerFunc(s.pass))
	t.Cleanup(s.pages.Close)
	t.Cleanup(s.beacons.Close)
	return s
}

func (s *site) servePage(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	text := s.html[r.URL.Path]
	s.visited[r.URL.Path]++
	s.mu.Unlock()
	switch {
	case r.URL.Path == "/tone.wav":
		http.ServeContent(w, r, "tone.wav", time.Time{}, strings.NewReader(tone(4)))
	case text == "":
		http.NotFound(w, r)
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, text)
	}
}

// pass sends a request on to the beacon server.
func (s *site) pass(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	failure := s.failure
	if r.URL.Path == "/e" {
		s.queries = append(s.queries, r.URL.Query())
	} else {
		failure = ""
	}
	s.mu.Unlock()
	if failure == "refuse" {
		panic(http.ErrAbortHandler)
	}
	req, _ := http.NewRequestWithContext(r.Context(), r.Method, s.program.beacons(r.URL.RequestURI()), r.Body)
	req.Header, req.ContentLength = r.Header.Clone(), r.ContentLength
	resp, err := client.Do(req)
	if err != nil || failure == "lose" {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

func (s *site) fail(how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = how
}

// page puts up a page with the tag. What is counted in it is kept in log, as
// {type, campaign, at}.
func (s *site) page(path, head, body string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.html[path] = `<!doctype html><meta charset="utf-8"><style>body{margin:0}.gap{height:2000px}[data-adtally]{display:block;background:#abc}</style>
<script>
	const log = [];
	addEventListener("adtally", (e) => log.push({type: e.detail.type, campaign: e.target.id, at: performance.now()}));
	const counted = (type, id) => log.some((e) => e.type === type && e.campaign === String(id));
	const wait = (ms) => new Promise((done) => setTimeout(done, ms));
	// Scrolls so that a part of an ad's height is at the bottom of the window.
	const show = (id, part) => {
		const box = document.getElementById(id).getBoundingClientRect();
		scrollTo({top: scrollY + box.top + box.height * part - innerHeight, behavior: "instant"});
	};
	const frames = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
	const kept = () => Object.entries(localStorage).filter(([name]) => name.startsWith("adtally ")).map(([, text]) => JSON.parse(text));
</script>` + head + `<script async src="` + s.beacons.URL + `/beacon.js"></script>` + body
	return s.pages.URL + path
}

// ad returns an element that is the ad of a campaign.
func (s *site) ad(campaign, width, height int, more, inner string) string {
	s.t.Helper()
	token := s.program.token(fmt.Sprintf(`{"advertiser_id":%d,"campaign_id":%d,"landing_url":"%s/landing"}`, tagAdvertiser, campaign, s.pages.URL))
	inner = strings.ReplaceAll(inner, "CLICK", s.beacons.URL+"/c/"+token)
	return fmt.Sprintf(`<div class="gap"></div><div id="%d" data-adtally="%s" style="width:%dpx;height:%dpx;%s">%s</div>`,
		campaign, token, width, height, more, inner)
}

// tally is what a report says of a campaign; other counters must be 0.
type tally map[string]int64

// wantCampaigns waits until the report says exactly this of campaigns.
func (s *site) wantCampaigns(want map[string]tally) {
	s.t.Helper()
	metrics := []string{"impressions", "viewable", "clicks", "conversions", "video_start", "video_q1", "video_mid", "video_q3", "video_complete"}
	for _, name := range slices.Clip(metrics) {
		metrics = append(metrics, name+"_invalid")
	}
	now := time.Now().UTC()
	body, _ := json.Marshal(map[string]any{
		"advertiser": tagAdvertiser, "timezone": "UTC", "granularity": "total", "dimensions": []string{"campaign"}, "metrics": metrics,
		"start": now.AddDate(0, 0, -1).Format(time.DateOnly), "end": now.AddDate(0, 0, 2).Format(time.DateOnly),
	})
	var got map[string]tally
	deadline := time.Now().Add(browserPatience)
	for !equalCampaigns(got, want) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the report says\n%v, want\n%v", got, want)
		}
		time.Sleep(50 * time.Millisecond)
		got = s.campaigns(body)
	}
}

func (s *site) campaigns(body []byte) map[string]tally {
	status, text := call(s.t.Context(), http.MethodPost, s.program.reports("/v1/reports"), s.program.key, body)
	var answer struct{ Rows []map[string]any }
	if err := json.Unmarshal(text, &answer); status != http.StatusOK || err != nil {
		s.t.Fatalf("report: %d %v %s", status, err, text)
	}
	got := make(map[string]tally)
	for _, row := range answer.Rows {
		one := make(tally)
		for name, value := range row {
			if n, ok := value.(float64); ok && n != 0 {
				one[name] = int64(n)
			}
		}
		got[row["campaign"].(string)] = one
	}
	return got
}

func equalCampaigns(a, b map[string]tally) bool {
	return maps.EqualFunc(a, b, maps.Equal[tally, tally])
}

// tone is a sound of so many seconds: the least that a video element plays.
func tone(seconds int) string {
	const rate = 8000
	head := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x40\x1f\x00\x00\x01\x00\x08\x00data\x00\x00\x00\x00")
	binary.LittleEndian.PutUint32(head[4:], uint32(36+rate*seconds))
	binary.LittleEndian.PutUint32(head[40:], uint32(rate*seconds))
	return string(head) + strings.Repeat("\x80", rate*seconds)
}

// wantDuplicates checks how many repeats arrived, which counted nothing.
func (s *site) wantDuplicates(least, most int64) {
	s.t.Helper()
	f := s.program.waitTotal(browserPatience, tagAdvertiser, func(f figures) bool { return f.Duplicates >= least })
	if f.Duplicates > most {
		s.t.Errorf("%d duplicates, want at most %d", f.Duplicates, most)
	}
}

func (s *site) visits(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.visited[path]
}

func (s *site) waitVisit(path string) {
	s.t.Helper()
	s.program.wait(browserPatience, "a visit of "+path, func() bool { return s.visits(path) > 0 })
}
