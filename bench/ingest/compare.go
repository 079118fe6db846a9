package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/adtally/adtally/bench/internal/measure"
	"github.com/adtally/adtally/internal/dev"
)

// saturated is a closed loop on many connections, steady an open loop at a
// rate far below what the machine can do.
type shape struct {
	name  string
	conns int
	rate  float64
}

var (
	saturated = shape{"saturated, 512 connections", 512, 0}
	steady    = shape{"5,000/s, 128 connections", 128, 5000}
)

// kase is one thing that is measured.
type kase struct {
	name  string
	shape shape
	// events per request.
	events int
	// delay of the broker's answers; down says that there is no broker.
	delay time.Duration
	down  bool
	who   who
}

// who is a server that is measured.
type who uint8

const (
	adtally  who = iota
	static       // the reference
	nginx        // with lua-resty-kafka
	benthos      // passes events on
	checking     // Benthos that looks at signatures first, as adtally does
)

var kases = []kase{
	{name: "static GIF", shape: saturated, events: 1, who: static},
	{name: "pixel", shape: saturated, events: 1},
	{name: "pixel, broker 2 ms", shape: saturated, events: 1, delay: 2 * time.Millisecond},
	{name: "pixel, broker 5 ms", shape: saturated, events: 1, delay: 5 * time.Millisecond},
	{name: "pixel, broker 20 ms", shape: saturated, events: 1, delay: 20 * time.Millisecond},
	{name: "batch of 100", shape: shape{"saturated, 64 connections", 64, 0}, events: 100},
	{name: "static GIF, steady", shape: steady, events: 1, who: static},
	{name: "pixel, steady", shape: steady, events: 1},
	{name: "nginx + lua-resty-kafka, pixel", shape: saturated, events: 1, who: nginx},
	{name: "Benthos, batch of 100", shape: shape{"saturated, 64 connections", 64, 0}, events: 100, who: benthos},
	{name: "Benthos with signatures, batch of 100", shape: shape{"saturated, 64 connections", 64, 0}, events: 100, who: checking},
	{name: "pixel, broker down", shape: saturated, events: 1, down: true},
	{name: "batch of 100, broker down", shape: shape{"saturated, 64 connections", 64, 0}, events: 100, down: true},
}

// measured is one measurement of a case.
type measured struct {
	cpuPerEvent float64 // µs
	rate        float64 // events per second
	p50, p99    time.Duration
	// atItsRate is the µs per event of the static server at the same rate on as
	// many connections, of cases that wait for a slow broker: they leave the
	// machine idle, and waking it costs the static server as well.
	atItsRate float64
}

func compare(ctx context.Context, s settings) error {
	rows := make(map[string][]measured)
	var chosen []kase
	absent := make(map[string]error)
	for _, k := range kases {
		if k.who != static && !chosenBy(s.only, k.name) {
			continue
		}
		if err := missing(k.who); err != nil {
			absent[k.name] = err
			fmt.Fprintf(os.Stderr, "bench: %s is not measured: %v\n", k.name, err)
			continue
		}
		chosen = append(chosen, k)
	}
	for round := range s.rounds {
		for i := range chosen {
			k := chosen[(i+round)%len(chosen)] // another order each round
			m, err := one(ctx, s, k)
			if err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
			if k.delay > 0 {
				reference := kase{shape: shape{conns: k.shape.conns, rate: m.rate}, events: 1, who: static}
				r, err := one(ctx, s, reference)
				if err != nil {
					return fmt.Errorf("static GIF at the rate of %s: %w", k.name, err)
				}
				m.atItsRate = r.cpuPerEvent
			}
			fmt.Fprintf(os.Stderr, "round %d  %-28s %6.2f µs/event  %8.0f/s  p99 %s\n", round+1, k.name, m.cpuPerEvent, m.rate, m.p99.Round(10*time.Microsecond))
			rows[k.name] = append(rows[k.name], m)
		}
	}
	return publish(s, chosen, rows, absent)
}

// chosenBy reports whether one of the texts between the semicolons of only is
// the end of name.
func chosenBy(only, name string) bool {
	return slices.ContainsFunc(strings.Split(only, ";"), func(end string) bool { return strings.HasSuffix(name, end) })
}

// one starts the servers of one case anew and loads them.
func one(ctx context.Context, s settings, k kase) (m measured, err error) {
	ports, err := dev.FreePorts(3)
	if err != nil {
		return m, err
	}
	dir, err := os.MkdirTemp("", "bench-ingest-")
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(dir)
	addr := fmt.Sprintf("127.0.0.1:%d", ports[0])
	broker := fmt.Sprintf("127.0.0.1:%d", ports[1])
	load := &loader{addr: addr, conns: k.shape.conns, rate: k.shape.rate, ok: "HTTP/1.1 200"}
	if k.events > 1 && k.who == adtally {
		load.ok = "HTTP/1.1 202"
	}
	if load.requests, err = prepare(dir, k); err != nil {
		return m, err
	}
	var kafka *measure.Process
	if k.who != static {
		if kafka, err = startBroker(ctx, &k, broker, ports[1]); err != nil {
			return m, err
		}
		defer kafka.Stop()
	}
	server, err := start(ctx, s, &k, dir, addr, ports[1:])
	if err == nil && k.down {
		err = withoutBroker(ctx, load, kafka)
	}
	if err != nil {
		return m, err
	}
	defer server.Stop()
	if s.profile != "" && k.who == adtally {
		go func() {
			time.Sleep(s.warm)
			if err := profile(ctx, s, k.name, ports[2]); err != nil {
				fmt.Fprintln(os.Stderr, "bench: profile:", err)
			}
		}()
	}
	if m, err = underLoad(ctx, s, k, load, server); err != nil || k.who == static || k.down {
		return m, err
	}
	stored := legacyStored
	if k.who != nginx {
		stored = func(ctx context.Context, broker string) (int64, error) { return measure.Stored(ctx, broker) }
	}
	held, err := stored(ctx, broker)
	// More than was answered is allowed: what missed its deadline is spooled and
	// produced twice.
	if want := load.done.Load() * int64(k.events); err == nil && held < want {
		err = fmt.Errorf("%d events were answered, the broker holds %d", want, held)
	}
	return m, err
}

// start starts the server of a case. The ports are of the broker and of the
// admin server.
func start(ctx context.Context, s settings, k *kase, dir, addr string, ports []int) (*measure.Process, error) {
	broker := fmt.Sprintf("127.0.0.1:%d", ports[0])
	switch k.who {
	case nginx:
		return startNginx(ctx, dir, addr, ports[0])
	case benthos, checking:
		return startBenthos(ctx, k, dir, addr, broker)
	case static:
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		return measure.Start(ctx, addr, self, "static", addr)
	default:
		return measure.Start(ctx, addr, s.binary, "ingest", "--ingest-listen", addr, "--admin-listen", fmt.Sprintf("127.0.0.1:%d", ports[1]),
			"--kafka-brokers", broker, "--kafka-unsafe-topic", "--kafka-replication", "1",
			"--signing-keys", filepath.Join(dir, keysFile), "--id-key", filepath.Join(dir, "id.key"),
			"--spool-dir", filepath.Join(dir, "spool"), "--log-level", "error")
	}
}

// withoutBroker ends the broker and waits until beacons are answered without it.
func withoutBroker(ctx context.Context, load *loader, broker *measure.Process) error {
	probe := loader{addr: load.addr, conns: 1, requests: load.requests, ok: load.ok}
	if _, err := probe.run(ctx, 100*time.Millisecond); err != nil {
		return err
	}
	broker.Stop()
	return nil
}

// underLoad warms up and measures.
func underLoad(ctx context.Context, s settings, k kase, load *loader, server *measure.Process) (measured, error) {
	if _, err := load.run(ctx, s.warm); err != nil {
		return measured{}, err
	}
	before, err := server.CPU()
	if err != nil {
		return measured{}, err
	}
	warmed := load.done.Load()
	started := time.Now()
	seen, err := load.run(ctx, s.length)
	if err != nil {
		return measured{}, err
	}
	took := time.Since(started)
	after, err := server.CPU()
	if err != nil {
		return measured{}, err
	}
	events := float64(load.done.Load()-warmed) * float64(k.events)
	if events == 0 {
		return measured{}, errors.New("nothing was answered")
	}
	return measured{
		cpuPerEvent: float64((after - before).Microseconds()) / events,
		rate:        events / took.Seconds(),
		p50:         seen.percentile(50), p99: seen.percentile(99),
	}, nil
}

// publish prints the table and writes it to the file.
func publish(s settings, chosen []kase, rows map[string][]measured, absent map[string]error) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "ingest: CPU of the server per event, %d rounds of %s, %s\n\n", s.rounds, s.length, time.Now().UTC().Format(time.DateOnly))
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "case\tload\tµs/event\tmin–max\tx static\tmin–max\tx static at that rate\tevents/s\tp50\tp99")
	for _, k := range chosen {
		reference := "static GIF"
		if k.shape == steady {
			reference = "static GIF, steady"
		}
		cost := measure.Column(rows[k.name], func(m measured) float64 { return m.cpuPerEvent })
		base := measure.Column(rows[reference], func(m measured) float64 { return m.cpuPerEvent })
		paced := "-"
		if k.delay > 0 {
			paced = fmt.Sprintf("%.2f", measure.Median(cost)/measure.Median(measure.Column(rows[k.name], func(m measured) float64 { return m.atItsRate })))
		}
		latency := "-\t-"
		if k.shape.rate > 0 {
			latency = fmt.Sprintf("%.2f ms\t%.2f ms", measure.Median(measure.Column(rows[k.name], func(m measured) float64 { return m.p50.Seconds() * 1e3 })),
				measure.Median(measure.Column(rows[k.name], func(m measured) float64 { return m.p99.Seconds() * 1e3 })))
		}
		fmt.Fprintf(table, "%s\t%s\t%.2f\t%.2f–%.2f\t%s\t%s\t%.0f\t%s\n", k.name, k.shape.name,
			measure.Median(cost), slices.Min(cost), slices.Max(cost), measure.Compare(cost, base), paced,
			measure.Median(measure.Column(rows[k.name], func(m measured) float64 { return m.rate })), latency)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for name, why := range absent {
		fmt.Fprintf(&text, "\n%s: NOT MEASURED, %v.\n", name, why)
	}
	if measure.Noisy(measure.Column(rows["static GIF"], func(m measured) float64 { return m.cpuPerEvent })) {
		fmt.Fprintln(&text, "\nThe reference itself varied by more than 1.25: the machine was noisy, run again.")
	}
	return measure.Publish(s.out, text.Bytes())
}
