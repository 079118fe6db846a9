package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/adtally/adtally/bench/internal/measure"
)

const (
	// saturating is how long the load is pushed as far as it goes.
	saturating = 8 * time.Second
	// watching is how long events are followed at half of that.
	watching = 30 * time.Second
	// probeEvery is the mean time between two events that are followed.
	probeEvery = 50 * time.Millisecond
	// askEvery is the pause between two reports: without one, asking takes a core.
	askEvery = 5 * time.Millisecond
	// loadConns send batches of loadBatch events.
	loadConns = 16
	loadBatch = 100
	// probeAdvertiser has nothing but events that are followed.
	probeAdvertiser = 999_999
)

// fresh measures the time from the answer to a beacon until a report shows it,
// on the whole program, while it bears half of the load that it can.
func fresh(ctx context.Context, l *lab) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "aggregate: from an accepted event until a report shows it, adtally run with its own servers, %s for each interval, %s\n\n",
		watching, time.Now().UTC().Format(time.DateOnly))
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "flush interval\tload, events/s\tsaturated\tfollowed\tp50 ms\tp99 ms\tmax ms\tbar 1.03 x + 20")
	for _, interval := range []time.Duration{time.Second, 500 * time.Millisecond} {
		seen, err := l.follow(ctx, interval)
		if err != nil {
			return fmt.Errorf("flush interval %s: %w", interval, err)
		}
		slices.Sort(seen.delays)
		at := func(p float64) float64 {
			return seen.delays[min(len(seen.delays)-1, int(p*float64(len(seen.delays))))].Seconds() * 1e3
		}
		fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%d\t%.0f\t%.0f\t%.0f\t%.0f\n", interval, seen.load, seen.saturated, len(seen.delays),
			at(0.5), at(0.99), at(1), 1.03*interval.Seconds()*1e3+20)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return measure.Publish(filepath.Join(l.out, "aggregate-fresh.txt"), text.Bytes())
}

// followed is what became of the events.
type followed struct {
	saturated, load float64
	delays          []time.Duration
}

// program is a running adtally run.
type program struct {
	*measure.Process
	key   string
	ports struct{ Ingest, Query int }
	sent  atomic.Int64
}

// follow starts the program, finds the load that it can bear, and follows single
// events at half of it.
func (l *lab) follow(ctx context.Context, interval time.Duration) (f followed, err error) {
	p, err := l.program(ctx, interval)
	if err != nil {
		return f, err
	}
	defer p.Stop()
	started := time.Now()
	if err := p.load(ctx, saturating, 0); err != nil {
		return f, err
	}
	f.saturated = float64(p.sent.Load()) / time.Since(started).Seconds()
	time.Sleep(5 * time.Second) // what has piled up is counted
	f.load = f.saturated / 2
	loaded := make(chan error, 1)
	go func() { loaded <- p.load(ctx, watching+5*time.Second, f.load) }()
	f.delays, err = p.probe(ctx, watching)
	return f, errors.Join(err, <-loaded)
}

// program starts adtally run and reads its ports and key.
func (l *lab) program(ctx context.Context, interval time.Duration) (*program, error) {
	dir, err := os.MkdirTemp(l.dir, "run-")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "ports.json")
	p := new(program)
	if p.Process, err = measure.Talk(ctx, l.binary, "run", "--data", dir, "--free-ports", "--ports-file", file,
		"--aggregate-flush-interval", interval.String(), "--query-cost-rate", "0", "--query-rate", "0", "--log-level", "error"); err != nil {
		return nil, err
	}
	err = until(ctx, "the program to start", func() (bool, error) {
		text, err := os.ReadFile(file) //nolint:gosec // in a folder of our own
		return err == nil && json.Unmarshal(text, &p.ports) == nil, nil
	})
	if err != nil {
		p.Stop()
		return nil, err
	}
	key, err := os.ReadFile(filepath.Join(dir, "admin.key")) //nolint:gosec // in a folder of our own
	p.key = strings.TrimSpace(string(key))
	return p, err
}

// post sends a body and returns the answer to it.
func (p *program) post(ctx context.Context, port, want int, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s answers %s: %s", path, resp.Status, text)
	}
	return text, err
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: loadConns}, Timeout: 30 * time.Second}

// load sends batches for that long: rate events per second, or as many as get
// through.
func (p *program) load(ctx context.Context, length time.Duration, rate float64) error {
	begin := time.Now()
	errs := make(chan error, loadConns)
	var wg sync.WaitGroup
	for conn := range loadConns {
		wg.Go(func() {
			for n := 0; time.Since(begin) < length && ctx.Err() == nil; n++ {
				if rate > 0 {
					time.Sleep(time.Until(begin.Add(time.Duration(float64(n*loadConns+conn) * loadBatch / rate * float64(time.Second)))))
				}
				if _, err := p.post(ctx, p.ports.Ingest, http.StatusAccepted, "/v1/events", batch()); err != nil {
					errs <- err
					return
				}
				p.sent.Add(loadBatch)
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// batch makes events of some 5,000 cells a minute.
func batch() []byte {
	b := []byte(`{"events":[`)
	for i := range loadBatch {
		if i > 0 {
			b = append(b, ',')
		}
		campaign := rand.IntN(500)
		b = fmt.Appendf(b, `{"type":"impression","id":"%x","advertiser_id":%d,"campaign_id":%d,"country":"%s","device":"%s","price":"2.5","pricing":"cpm","currency":"USD"}`,
			rand.Uint64(), 1+campaign%50, 1+campaign, countries[rand.IntN(4)], devices[rand.IntN(3)])
	}
	return append(b, `]}`...)
}

// probe sends single events, each of a campaign of its own, and asks for them
// until they are all in a report.
func (p *program) probe(ctx context.Context, length time.Duration) ([]time.Duration, error) {
	var mu sync.Mutex
	waiting := make(map[string]time.Time)
	sent := make(chan error, 1)
	go func() {
		var err error
		for n, end := 1, time.Now().Add(length); time.Now().Before(end) && err == nil; n++ {
			time.Sleep(rand.N(2 * probeEvery))
			body := fmt.Appendf(nil, `{"events":[{"type":"impression","id":"probe-%d","advertiser_id":%d,"campaign_id":%d}]}`, n, probeAdvertiser, n)
			if _, err = p.post(ctx, p.ports.Ingest, http.StatusAccepted, "/v1/events", body); err == nil {
				mu.Lock()
				waiting[strconv.Itoa(n)] = time.Now()
				mu.Unlock()
			}
		}
		sent <- err
	}()
	var delays []time.Duration
	over := false
	for deadline := time.Now().Add(length + time.Minute); ; {
		select {
		case err := <-sent:
			if err != nil {
				return nil, err
			}
			over = true
		default:
		}
		mu.Lock()
		names := make([]string, 0, len(waiting))
		for name := range waiting {
			names = append(names, name)
		}
		mu.Unlock()
		switch {
		case over && len(names) == 0:
			return delays, nil
		case time.Now().After(deadline):
			return nil, fmt.Errorf("%d events are not in the report", len(names))
		case len(names) == 0:
			time.Sleep(time.Millisecond)
			continue
		}
		time.Sleep(askEvery)
		shown, err := p.shown(ctx, names)
		if err != nil {
			return nil, err
		}
		now := time.Now()
		mu.Lock()
		for _, name := range shown {
			delays = append(delays, now.Sub(waiting[name]))
			delete(waiting, name)
		}
		mu.Unlock()
	}
}

// shown asks which of the campaigns a report shows.
func (p *program) shown(ctx context.Context, campaigns []string) ([]string, error) {
	now := time.Now().UTC()
	body, err := json.Marshal(map[string]any{
		"advertiser": probeAdvertiser, "start": now.AddDate(0, 0, -1).Format(time.DateOnly), "end": now.AddDate(0, 0, 2).Format(time.DateOnly),
		"timezone": "UTC", "granularity": "total", "dimensions": []string{"campaign"}, "metrics": []string{"impressions"}, "limit": 1000,
		"filters": []any{map[string]any{"dimension": "campaign", "op": "in", "values": campaigns}},
	})
	if err != nil {
		return nil, err
	}
	text, err := p.post(ctx, p.ports.Query, http.StatusOK, "/v1/reports", body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Rows []struct{ Campaign string }
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, err
	}
	names := make([]string, len(answer.Rows))
	for i, row := range answer.Rows {
		names[i] = row.Campaign
	}
	return names, nil
}
