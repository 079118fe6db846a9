package main

import (
	"context"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// browserPatience is how long a page may take for what it does by itself.
const browserPatience = 60 * time.Second

// browser is a headless Chromium that ends with the test.
type browser struct {
	t   *testing.T
	ctx context.Context
}

// startBrowser runs a browser whose agent is that of a person: a headless one is
// invalid traffic.
func startBrowser(t *testing.T, more ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("this test needs Chromium, which is not installed: apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // CI runs as root
		chromedp.UserAgent(browserAgent),
		chromedp.WindowSize(1200, 800),
	)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), append(options, more...)...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	return &browser{t: t, ctx: ctx}
}

// tab is one page of a browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// open shows a URL in a new tab.
func (b *browser) open(url string) *tab {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // the tab lives as long as the context of its first step
		b.t.Fatal(err)
	}
	p := &tab{t: b.t, ctx: ctx}
	p.do(chromedp.Navigate(url))
	return p
}

// do does what a person would, or fails the test.
func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, browserPatience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// eval returns the value of an expression, awaited if it is a promise.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, browserPatience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// until waits until an expression is true.
func (p *tab) until(format string, args ...any) {
	p.t.Helper()
	expression := fmt.Sprintf(format, args...)
	deadline := time.Now().Add(browserPatience)
	for !eval[bool](p, "!!("+expression+")") {
		if time.Now().After(deadline) {
			p.t.Fatalf("waited %s for %s; the page says\n%s", browserPatience, expression, eval[string](p, "document.body.innerText"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// command sends a command of the DevTools protocol to a tab.
func command[P, R any](p *tab, what cdp.Command[P, R], params P) R {
	p.t.Helper()
	out, err := chromedp.Call(p.ctx, what, params)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// setOffline takes the network away from a tab, or gives it back.
func (p *tab) setOffline(offline bool) {
	p.t.Helper()
	command(p, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
		MatchedNetworkConditions: []*network.Conditions{{Offline: offline, DownloadThroughput: -1, UploadThroughput: -1}},
	})
	command(p, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: offline, DownloadThroughput: -1, UploadThroughput: -1})
}

// wheel turns the mouse wheel in the middle of the page.
func (p *tab) wheel(pixels float64) {
	p.t.Helper()
	command(p, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: "mouseWheel", X: 400, Y: 300, DeltaX: 0.001, DeltaY: pixels}) // a DeltaX of 0 would not be sent, and is asked for
}
