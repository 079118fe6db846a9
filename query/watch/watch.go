// Package watch asks the admin listeners of other processes how they are.
package watch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of what one admin listener may take and say.
const (
	timeout  = 3 * time.Second
	maxBytes = 4 << 20
)

// Instance is what one process says of itself on its admin listener.
type Instance struct {
	URL   string `json:"url"`
	Ready bool   `json:"ready"`
	// WaitsFor is what keeps it from being ready.
	WaitsFor []string `json:"waits_for"`
	// Figures are those of its roles: an ingest has a spool, an aggregate a lag.
	Figures map[string]float64 `json:"figures"`
}

// watchedSeries are the figures of an instance, each the sum of the series that
// begin so.
var watchedSeries = map[string]string{
	"spool_events":           `adtally_spool_pending_events`,
	"spool_bytes":            `adtally_spool_bytes`,
	"spool_oldest_seconds":   `adtally_spool_oldest_age_seconds`,
	"spool_side_events":      `adtally_spool_side_events_total`,
	"spool_lost_events":      `adtally_spool_lost_events_total`,
	"produce_pending_events": `adtally_ingest_produce_pending_events`,
	"requests_in_flight":     `adtally_ingest_requests_in_flight`,
	"partitions":             `adtally_aggregate_partitions`,
	"in_flight_events":       `adtally_conservation_events{place="in_flight"}`,
	"missing_events":         `adtally_conservation_events{place="missing"}`,
	"audit_faults":           `adtally_audit_faults_total`,
	"audited_at":             `adtally_audit_last_seconds`,
	"last_cut":               `adtally_compact_last_cut`,
	"last_cut_at":            `adtally_compact_last_cut_timestamp_seconds`,
	"compact_frozen":         `adtally_compact_frozen`,
}

// Instances asks all listeners at once, for a few seconds at most. One that does not
// answer is there, and says so.
func Instances(ctx context.Context, listeners []string) []Instance {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	list := make([]Instance, len(listeners))
	var asked sync.WaitGroup
	for i, base := range listeners {
		asked.Go(func() { list[i] = ask(ctx, base) })
	}
	asked.Wait()
	return list
}

// ask reads /readyz and /metrics of an admin listener.
func ask(ctx context.Context, base string) Instance {
	it := Instance{URL: base, WaitsFor: []string{}, Figures: map[string]float64{}}
	status, text, err := fetchText(ctx, base, "readyz")
	if err == nil {
		it.Ready = status == http.StatusOK
		if !it.Ready {
			it.WaitsFor = strings.Split(strings.TrimSpace(text), "\n")
		}
		status, text, err = fetchText(ctx, base, "metrics")
	}
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("/metrics answers %d", status)
	}
	if err != nil {
		it.Ready, it.WaitsFor = false, append(it.WaitsFor, "no answer: "+err.Error())
		return it
	}
	it.Figures = readSeries(text)
	return it
}

func fetchText(ctx context.Context, base, path string) (status int, text string, err error) {
	target, err := url.JoinPath(base, path)
	if err != nil {
		return 0, "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBytes))
	return resp.StatusCode, string(body), err
}

// readSeries adds up the watched series of a text in Prometheus' format.
func readSeries(text string) map[string]float64 {
	figures := map[string]float64{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		series, number, ok := strings.Cut(lines.Text(), " ")
		value, err := strconv.ParseFloat(number, 64)
		if !ok || err != nil {
			continue // a comment, or a label with a space; none of ours has one
		}
		name, labels, _ := strings.Cut(series, "{")
		for figure, wanted := range watchedSeries {
			wantedName, wantedLabel, _ := strings.Cut(wanted, "{")
			if name == wantedName && strings.Contains(labels, strings.TrimSuffix(wantedLabel, "}")) {
				figures[figure] += value
			}
		}
	}
	return figures
}

// Validate checks the URLs of admin listeners.
func Validate(list []string) error {
	for _, base := range list {
		u, err := url.Parse(base)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" {
			return errors.New("--query-watch " + strconv.Quote(base) + ": the http or https URL of an admin listener is wanted, such as http://127.0.0.1:8082")
		}
	}
	return nil
}
