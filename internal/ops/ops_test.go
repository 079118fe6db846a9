package ops

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
)

func TestInOrderStopsInTheDirectionOfTheData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var stopped []string
		run := func(name string, drains time.Duration) func(context.Context) error {
			return func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(drains)
				mu.Lock()
				defer mu.Unlock()
				stopped = append(stopped, name)
				return nil
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := InOrder(ctx, run("ingest", 3*time.Second), run("aggregate", time.Second), run("query", 0)); err != nil {
			t.Error(err)
		}
		if want := []string{"ingest", "aggregate", "query"}; !slices.Equal(stopped, want) {
			t.Errorf("stopped %v, want %v", stopped, want)
		}
	})
}

func TestInOrderStopsAllWhenOneEnds(t *testing.T) {
	failure := errors.New("broken")
	waits := func(ctx context.Context) error { <-ctx.Done(); return nil }
	err := InOrder(t.Context(), waits, func(context.Context) error { return failure }, waits)
	if !errors.Is(err, failure) {
		t.Errorf("ends with %v", err)
	}
}

func TestStartedRunsBeforeItIsInOrder(t *testing.T) {
	running := make(chan struct{})
	rest := Started(t.Context(), func(ctx context.Context) error {
		close(running)
		<-ctx.Done()
		return ctx.Err()
	})
	<-running
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := rest(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("ends with %v", err)
	}
}

func TestWatchLoadsWhatChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	var loads atomic.Int32
	fail := errors.New("half written")
	files := []Watched{{Path: path, Load: func() error {
		if loads.Add(1) == 1 {
			return fail
		}
		return nil
	}}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- watch(ctx, files, time.Millisecond, zerolog.Nop()) }()
	for i, content := range []string{"one", "three", "fifteen"} {
		deadline := time.Now().Add(10 * time.Second)
		for loads.Load() <= int32(i) {
			if err := os.WriteFile(path, []byte(strings.Repeat(content, 1+int(time.Now().UnixNano()%50))), 0o600); err != nil {
				t.Fatal(err)
			}
			if time.Now().After(deadline) {
				t.Fatalf("change %d was not seen", i)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAdmin(t *testing.T) {
	set := metrics.NewSet()
	set.NewCounter("some_total").Inc()
	waits := errors.New("ledger does not answer")
	var broken atomic.Bool
	check := func() error {
		if broken.Load() {
			return waits
		}
		return nil
	}
	var admin Admin
	server := httptest.NewServer(admin.routes())
	t.Cleanup(server.Close)
	f := func(path string, status int, want string) {
		t.Helper()
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status || !strings.Contains(string(text), want) {
			t.Errorf("%s: %d %.200s (%v), want %d %s", path, resp.StatusCode, text, err, status, want)
		}
	}
	f("/livez", http.StatusOK, "ok")
	f("/readyz", http.StatusServiceUnavailable, "starting")
	f("/metrics", http.StatusOK, "process_")
	admin.Watch([]Check{check}, []*metrics.Set{set})
	f("/readyz", http.StatusOK, "ok")
	f("/metrics", http.StatusOK, "some_total 1")
	f("/debug/pprof/", http.StatusOK, "goroutine")
	f("/else", http.StatusNotFound, "")
	broken.Store(true)
	f("/livez", http.StatusOK, "ok")
	f("/readyz", http.StatusServiceUnavailable, waits.Error())
	broken.Store(false)
	f("/readyz", http.StatusOK, "ok")
}
