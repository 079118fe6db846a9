package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asOfVersion asks for everything of the load's advertiser, as of a version, and
// returns the rows and totals as text, and which version it was.
func asOfVersion(t *testing.T, p *program, asOf string) (text, name string) {
	t.Helper()
	now := time.Now().UTC()
	body := fmt.Appendf(nil, `{"advertiser":1,"start":"%s","end":"%s","timezone":"UTC","granularity":"day","dimensions":["campaign","country"],"as_of":"%s",
"metrics":["impressions","impressions_gross","clicks","duplicates","spend"]}`,
		now.AddDate(0, 0, -2).Format(time.DateOnly), now.AddDate(0, 0, 2).Format(time.DateOnly), asOf)
	deadline := time.Now().Add(time.Minute)
	for {
		status, answer := call(t.Context(), http.MethodPost, p.reports("/v1/reports"), p.key, body)
		var got struct {
			Rows, Totals json.RawMessage
			Meta         struct {
				AsOf string `json:"as_of"`
			}
		}
		if status == http.StatusOK && json.Unmarshal(answer, &got) == nil {
			return string(got.Rows) + string(got.Totals), got.Meta.AsOf
		}
		if time.Now().After(deadline) {
			t.Fatalf("as of %q: %d %s", asOf, status, answer)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Cuts are made every second while the program is killed and traffic goes on; every
// version that was ever answered is answered again the same.
func TestVersionsOutliveKills(t *testing.T) {
	p := startProgram(t, "--compact-interval", "1s")
	l := &load{p: p, advertiser: 1, events: 1 << 30, batch: 100, repeatEvery: 13, retry: true, enough: make(chan struct{})}
	sent := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { sent <- l.send(ctx) }()

	versions := map[string]string{}
	for range 3 {
		cuts := map[string]bool{}
		p.wait(2*time.Minute, "cuts to be made", func() bool {
			text, name := asOfVersion(t, p, "")
			versions[name] = text
			cut, _, _ := strings.Cut(name, ".")
			cuts[cut] = true
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond) // spreads the looks
			return len(cuts) >= 3
		})
		p.stop(syscall.SIGKILL)
		p.start()
	}
	close(l.enough)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	want := exactNet(l.expect())
	p.waitTotal(90*time.Second, 1, want)
	if out := p.tool("compact", "--once", "--data", p.dir); !strings.Contains(out, "cut") {
		t.Errorf("compact --once says %q", out)
	}
	p.waitTotal(60*time.Second, 1, want)
	for name, text := range versions {
		if again, asOf := asOfVersion(t, p, name); again != text || asOf != name {
			t.Errorf("version %s was\n%s\nand is\n%s", name, text, again)
		}
	}
	t.Logf("%d versions", len(versions))
}
