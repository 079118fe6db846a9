package limit

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestEnter(t *testing.T) {
	l := New(Config{MaxReports: 2, MaxWaiting: 1, MaxWait: time.Millisecond})
	enter := func(tenant uint64) (func(), string) {
		t.Helper()
		leave, refusal, err := l.Enter(t.Context(), tenant)
		if err != nil {
			t.Fatal(err)
		}
		if refusal != nil {
			return nil, refusal.Code
		}
		return leave, ""
	}
	first, _ := enter(1)
	second, _ := enter(1)
	if _, code := enter(1); code != "too_many_reports" {
		t.Errorf("a third: %q", code)
	}
	other, code := enter(2)
	if code != "" || l.Running() != 3 {
		t.Errorf("another advertiser has its own share: %q %d", code, l.Running())
	}
	l.cfg.MaxWait = time.Minute
	waited := make(chan func())
	go func() {
		for {
			if leave, _, _ := l.Enter(context.Background(), 1); leave != nil {
				waited <- leave
				return
			}
		}
	}()
	for s := l.hold(1); s != nil; s = l.hold(1) { // until the waiting one has the last place
		l.release(1, s)
		time.Sleep(time.Millisecond)
	}
	if _, code := enter(1); code != "too_many_reports" {
		t.Errorf("one more than may wait: %q", code)
	}
	first()
	third := <-waited
	for _, leave := range []func(){second, third, other} {
		leave()
	}
	if l.Running() != 0 || len(l.tenants) != 0 {
		t.Errorf("%d run, %d advertisers are remembered", l.Running(), len(l.tenants))
	}
}

func TestEnterEndsWithItsContext(t *testing.T) {
	l := New(Config{MaxReports: 1, MaxWaiting: 1, MaxWait: time.Minute})
	leave, _, _ := l.Enter(t.Context(), 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, refusal, err := l.Enter(ctx, 1); refusal != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v %v", refusal, err)
	}
	leave()
	if len(l.tenants) != 0 {
		t.Error("something stays behind")
	}
}

func TestBudgets(t *testing.T) {
	l := New(Config{Rate: 1, CostRate: 10, MaxCost: 100})
	for range burst {
		if r := l.Ask("a"); r != nil {
			t.Fatalf("within the burst: %v", r)
		}
	}
	if r := l.Ask("a"); r == nil || r.Code != "rate_limited" || r.RetryAfter <= 0 {
		t.Errorf("beyond the burst: %v", r)
	}
	if r := l.Ask("b"); r != nil {
		t.Errorf("another key: %v", r)
	}
	if r := l.Spend("a", 100); r != nil {
		t.Errorf("the dearest report: %v", r)
	}
	if r := l.Spend("a", 50); r == nil || r.Code != "budget_spent" || r.RetryAfter < time.Second {
		t.Errorf("a second one: %v", r)
	}
	free := New(Config{})
	for range 1000 {
		if free.Ask("a") != nil || free.Spend("a", 1e9) != nil {
			t.Fatal("no limits are set")
		}
	}
}
