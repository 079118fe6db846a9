package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
)

func testConfig(dir string) Config {
	return Config{Dir: dir, MaxBytes: 1000, Keep: time.Hour, Workers: 2, MaxOpen: 3}
}

// start runs a Manager until stop is called or the test ends.
func start(t *testing.T, cfg Config, run Runner) (m *Manager, stop func()) {
	t.Helper()
	m = New(cfg, run, zerolog.Nop(), metrics.NewSet())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	var stopped atomic.Bool
	stop = func() {
		if stopped.Swap(true) {
			return
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(stop)
	for _, err := m.Get(1, "x"); errors.Is(err, ErrNotReady); _, err = m.Get(1, "x") {
		time.Sleep(time.Millisecond)
	}
	return m, stop
}

func wait(t *testing.T, m *Manager, j Job) Job {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !j.ended(); {
		if time.Now().After(end) {
			t.Fatalf("job stays %s", j.State)
		}
		time.Sleep(time.Millisecond)
		var err error
		if j, err = m.Get(j.Tenant, j.ID); err != nil {
			t.Fatal(err)
		}
	}
	return j
}

func say(text string) Runner {
	return func(_ context.Context, _ Job, w io.Writer) (Outcome, error) {
		_, err := io.WriteString(w, text)
		return Outcome{Rows: 1}, err
	}
}

var request = json.RawMessage(`{"metrics":["clicks"]}`)

func TestJobIsDoneOnceAndSurvives(t *testing.T) {
	dir := t.TempDir()
	m, stop := start(t, testConfig(dir), say("result"))
	first, err := m.Submit(7, "once", "text/csv", request)
	if err != nil {
		t.Fatal(err)
	}
	j := wait(t, m, first)
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("result")))
	if j.State != Done || j.Bytes != 6 || j.Rows != 1 || j.SHA256 != sum || j.Expires.Before(time.Now()) {
		t.Fatalf("got %+v", j)
	}
	again, err := m.Submit(7, "once", "text/csv", json.RawMessage(`{ "metrics": ["clicks"] }`))
	if err != nil || again.ID != j.ID || again.State != Done {
		t.Errorf("the same again: %+v %v", again, err)
	}
	if _, err := m.Submit(7, "once", "text/csv", json.RawMessage(`{}`)); !errors.Is(err, ErrConflict) {
		t.Errorf("another request under the key: %v", err)
	}
	other, err := m.Submit(8, "once", "text/csv", request)
	if err != nil || other.ID == j.ID {
		t.Errorf("another tenant's key: %+v %v", other, err)
	}
	wait(t, m, other)
	for _, id := range []string{j.ID, j.ID[:25] + "z", "", "../../etc/passwd"} {
		if _, err := m.Get(9, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("tenant 9 gets %q: %v", id, err)
		}
	}
	stop()

	m, _ = start(t, testConfig(dir), func(context.Context, Job, io.Writer) (Outcome, error) {
		t.Error("a job that is done runs again")
		return Outcome{}, nil
	})
	if kept, err := m.Get(7, j.ID); err != nil || kept.SHA256 != j.SHA256 {
		t.Fatalf("after a restart: %+v %v", kept, err)
	}
	f, err := m.Open(&j)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, _ := io.ReadAll(f); string(text) != "result" {
		t.Errorf("the result is %q", text)
	}
	m.expire(time.Now().Add(2 * time.Hour))
	if _, err := m.Get(7, j.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("an expired job: %v", err)
	}
	if left, _ := filepath.Glob(dir + "/*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestJobThatWasCutOffRunsAgain(t *testing.T) {
	dir := t.TempDir()
	begun := make(chan struct{})
	m, stop := start(t, testConfig(dir), func(ctx context.Context, _ Job, w io.Writer) (Outcome, error) {
		_, _ = io.WriteString(w, "half")
		close(begun)
		<-ctx.Done()
		return Outcome{}, ctx.Err()
	})
	j, err := m.Submit(7, "", "text/csv", request)
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	stop()
	// What kill -9 leaves: a part of a result, and half a record.
	for _, name := range []string{j.ID + ".part", ".new-1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, _ = start(t, testConfig(dir), say("whole"))
	if j = wait(t, m, j); j.State != Done || j.Bytes != 5 {
		t.Errorf("got %+v", j)
	}
	if left, _ := filepath.Glob(dir + "/*.part"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestJobsFail(t *testing.T) {
	var runs atomic.Int32
	m, _ := start(t, testConfig(t.TempDir()), func(_ context.Context, j Job, w io.Writer) (Outcome, error) {
		switch j.Format {
		case "large":
			_, err := io.WriteString(w, strings.Repeat("x", 2<<20))
			return Outcome{}, err
		case "shaky":
			if runs.Add(1) == 1 {
				return Outcome{}, io.ErrUnexpectedEOF
			}
			return Outcome{}, nil
		default:
			return Outcome{Failure: json.RawMessage(`{"code":"mixed_currencies"}`)}, nil
		}
	})
	f := func(format string, state State, failure string) {
		t.Helper()
		j, err := m.Submit(7, "", format, request)
		if err != nil {
			t.Fatal(err)
		}
		if j = wait(t, m, j); j.State != state || !strings.Contains(string(j.Failure), failure) {
			t.Errorf("%s: %s %s", format, j.State, j.Failure)
		}
	}
	f("large", Failed, "result_too_large")
	f("bad", Failed, "mixed_currencies")
	f("shaky", Done, "")
}

func TestOpenJobsAreBounded(t *testing.T) {
	hold := make(chan struct{})
	m, _ := start(t, testConfig(t.TempDir()), func(context.Context, Job, io.Writer) (Outcome, error) {
		<-hold
		return Outcome{}, nil
	})
	var list []Job
	for range 3 {
		j, err := m.Submit(7, "", "text/csv", request)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, j)
	}
	if _, err := m.Submit(7, "", "text/csv", request); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	if _, err := m.Submit(8, "", "text/csv", request); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	close(hold)
	for _, j := range list {
		wait(t, m, j)
	}
}

// Tenants take turns, whoever asked for more, and earlier.
func TestTenantsTakeTurns(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Workers = 1
	begun, goOn := make(chan Job), make(chan struct{})
	m, stop := start(t, cfg, func(ctx context.Context, j Job, _ io.Writer) (Outcome, error) {
		select {
		case begun <- j:
			<-goOn
		case <-ctx.Done():
		}
		return Outcome{}, ctx.Err()
	})
	submit := func(tenant uint64, name string) {
		t.Helper()
		if _, err := m.Submit(tenant, name, name, request); err != nil {
			t.Fatal(err)
		}
	}
	submit(1, "1a")
	order := []string{(<-begun).Format}
	for _, name := range []string{"1b", "1c", "2a", "2b", "3a"} {
		submit(uint64(name[0]-'0'), name)
	}
	for range 5 {
		goOn <- struct{}{}
		order = append(order, (<-begun).Format)
	}
	close(goOn)
	stop()
	if got := strings.Join(order, " "); got != "1a 2a 3a 1b 2b 1c" {
		t.Errorf("jobs began in the order %s", got)
	}
}
