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
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/adtally/adtally/internal/dev"
)

// brokers are what the end-to-end tests run on: the embedded broker and a real
// Kafka broker, each with a program of its own.
var brokers = []struct {
	name  string
	start func(t *testing.T) *program
}{
	{"kfake", func(t *testing.T) *program { t.Helper(); return startProgram(t) }},
	{"kafka", func(t *testing.T) *program { t.Helper(); return startOn(t, startKafka(t)) }},
}

// startOn starts a program that uses the real broker.
func startOn(t *testing.T, kafka *dev.Broker) *program {
	t.Helper()
	return startProgram(t, "--kafka-brokers", kafka.Addr(), "--kafka-unsafe-topic", "--kafka-replication", "1")
}

// startKafka starts an Apache Kafka broker that ends with the test.
func startKafka(t *testing.T) *dev.Broker {
	t.Helper()
	for _, need := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(need); err != nil {
			t.Skipf("a real Kafka broker needs %s, which is not installed", need)
		}
	}
	ports, err := dev.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	kafka, err := dev.StartBroker(t.Context(), "scripts/kafka.sh", t.TempDir(), ports[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kafka.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return kafka
}

func TestAPixelABatchAndAReport(t *testing.T) {
	for _, broker := range brokers {
		t.Run(broker.name, func(t *testing.T) {
			p := broker.start(t)
			token := p.token(`{"advertiser_id":5,"campaign_id":50,"price":"2.50","pricing":"cpm","currency":"EUR","landing_url":"https://example.com/landing"}`)
			for range 2 { // the second is a repeat
				status, gif := call(t.Context(), http.MethodGet, p.beacons("/i/"+token), "", nil)
				if status != http.StatusOK || len(gif) != 43 {
					t.Fatalf("pixel: %d, %d bytes", status, len(gif))
				}
			}
			if status, _ := call(t.Context(), http.MethodHead, p.beacons("/i/"+token), "", nil); status != http.StatusOK {
				t.Fatalf("HEAD: %d", status)
			}
			if status, _ := call(t.Context(), http.MethodGet, p.beacons("/c/"+token), "", nil); status != http.StatusFound {
				t.Fatalf("click: %d", status)
			}
			status, answer := call(t.Context(), http.MethodPost, p.beacons("/v1/events"), p.key,
				[]byte(`[{"type":"impression","id":"x","advertiser_id":5,"campaign_id":50,"price":"1.25","pricing":"cpm","currency":"EUR"},{"type":"nonsense","id":"y","advertiser_id":5,"campaign_id":50}]`))
			if status != http.StatusAccepted || !bytes.Contains(answer, []byte(`"accepted":1`)) || !bytes.Contains(answer, []byte("unknown_type")) {
				t.Fatalf("batch: %d %s", status, answer)
			}
			want := figures{Impressions: 2, ImpressionsGross: 3, ImpressionsDuplicate: 1, Clicks: 1, ClicksGross: 1, Duplicates: 1, Spend: "0.00375"}
			p.waitTotal(60*time.Second, 5, exactNet(want)) // what is spooled on a slow machine comes twice
		})
	}
}

// token mints one token with the command that ad servers would use.
func (p *program) token(spec string) string {
	p.t.Helper()
	var out, errs strings.Builder
	if code := run(p.t.Context(), []string{"token", "--data", p.dir}, nil, strings.NewReader(spec), &out, &errs); code != exitDone {
		p.t.Fatalf("adtally token: %d %s", code, errs.String())
	}
	return strings.TrimSpace(out.String())
}

func TestALoadIsCountedExactly(t *testing.T) {
	for _, broker := range brokers {
		t.Run(broker.name, func(t *testing.T) {
			p := broker.start(t)
			l := &load{p: p, advertiser: 7, events: 100_000, batch: 200, repeatEvery: 20}
			if err := l.send(t.Context()); err != nil {
				t.Fatal(err)
			}
			answered := time.Now()
			want := l.expect()
			p.waitTotal(20*time.Second, 7, func(f figures) bool { return f == want })
			t.Logf("everything was visible %s after the last answer", time.Since(answered).Round(time.Millisecond))
		})
	}
}

// exactNet holds when nothing was lost and nothing counted twice, however often
// clients had to send: repeats may only be duplicates.
func exactNet(want figures) func(figures) bool {
	return func(f figures) bool {
		return f.Impressions == want.Impressions && f.Clicks == want.Clicks && f.Spend == want.Spend &&
			f.ImpressionsGross+f.ClicksGross == f.Impressions+f.Clicks+f.Duplicates
	}
}

// underLoad sends a load with retries while disturb does its worst, and checks
// the totals.
func underLoad(t *testing.T, p *program, disturb func(ctx context.Context)) {
	t.Helper()
	l := &load{p: p, advertiser: 9, events: 5_000_000, batch: 50, repeatEvery: 20, retry: true, enough: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	sent := make(chan error, 1)
	go func() { sent <- l.send(ctx) }()
	disturb(ctx)
	close(l.enough)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	got := p.waitTotal(90*time.Second, 9, exactNet(l.expect()))
	t.Logf("%d events, %d of them repeats", got.ImpressionsGross+got.ClicksGross, got.Duplicates)
}

func TestKilledInTheMiddleOfALoad(t *testing.T) {
	for _, broker := range brokers {
		t.Run(broker.name, func(t *testing.T) {
			p := broker.start(t)
			underLoad(t, p, func(context.Context) {
				for range 5 {
					time.Sleep(time.Duration(100+rand.IntN(1000)) * time.Millisecond) // the moment is random, not waited for
					p.stop(syscall.SIGKILL)
					p.start()
				}
			})
		})
	}
}

func TestClickHouseKilledInTheMiddleOfALoad(t *testing.T) {
	p := startProgram(t)
	underLoad(t, p, func(context.Context) {
		for range 3 {
			time.Sleep(time.Duration(200+rand.IntN(800)) * time.Millisecond) // the moment is random, not waited for
			if err := syscall.Kill(p.clickHousePID(), syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			p.wait(30*time.Second, "reports to be back", func() bool { _, err := p.total(9); return err == nil })
		}
	})
}

// clickHousePID finds the server among the children of the program.
func (p *program) clickHousePID() int {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "clickhouse", "clickhouse.pid"))
	if err != nil {
		p.t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		p.t.Fatal(err)
	}
	return pid
}

func TestBrokerStoppedInTheMiddleOfALoad(t *testing.T) {
	kafka := startKafka(t)
	p := startOn(t, kafka)
	underLoad(t, p, func(context.Context) {
		for _, end := range []func(context.Context) error{kafka.Stop, kafka.Kill} {
			time.Sleep(time.Duration(200+rand.IntN(500)) * time.Millisecond) // the moment is random, not waited for
			if err := errors.Join(end(t.Context()), kafka.Start(t.Context())); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestTermDrains(t *testing.T) {
	p := startProgram(t)
	l := &load{p: p, advertiser: 9, events: 5_000, batch: 100}
	if err := l.send(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.stop(syscall.SIGTERM)
	p.start()
	want := l.expect()
	p.waitTotal(30*time.Second, 9, func(f figures) bool { return f == want })
	p.stop(syscall.SIGTERM)
	p.start() // nothing new comes now, and it is ready all the same
	p.wait(30*time.Second, "an idle start to be ready", func() bool {
		status, _ := call(t.Context(), http.MethodGet, loopbackURL(p.ports.Admin)+"/readyz", "", nil)
		return status == http.StatusOK
	})
}

func TestAccountKeepsWhatIsNotNamed(t *testing.T) {
	p := startProgram(t)
	p.tool("account", "set", "9", "--data", p.dir, "--name", "Nine", "--currency", "EUR", "--timezone", "Europe/Berlin")
	if got := p.tool("account", "set", "9", "--data", p.dir, "--name", "Neun"); !strings.Contains(got, "EUR") || !strings.Contains(got, "Europe/Berlin") {
		t.Errorf("after a new name: %s", got)
	}
}

func TestBadInputIsAnsweredAndNotCounted(t *testing.T) {
	p := startProgram(t)
	foreign := p.tool("key", "create", "--data", p.dir, "--scope", "report", "--scope", "ingest", "--advertiser", "3")
	token := p.token(`{"advertiser_id":2,"campaign_id":1}`)
	forged := []byte(token)
	forged[len(forged)-3] ^= 1
	event := func(advertiser int) []byte {
		return fmt.Appendf(nil, `[{"type":"click","id":"1","advertiser_id":%d,"campaign_id":1}]`, advertiser)
	}
	big := bytes.Repeat([]byte("x"), 128<<10+1)
	report := `{"advertiser":2,"start":"2026-01-01","end":"2026-01-02","granularity":"total","metrics":["clicks"],"dimensions":["%s"]}`

	f := func(what, method, url, key string, body []byte, status int, want string) {
		t.Helper()
		got, answer := call(t.Context(), method, url, key, body)
		if got != status || !bytes.Contains(answer, []byte(want)) {
			t.Errorf("%s: %d %s, want %d %s", what, got, answer, status, want)
		}
	}
	f("wrong signature", http.MethodGet, p.beacons("/i/"+string(forged)), "", nil, http.StatusBadRequest, "bad_signature")
	f("unknown key, ingest", http.MethodPost, p.beacons("/v1/events"), "adtally_nobody_x", event(2), http.StatusUnauthorized, "")
	f("no key, report", http.MethodPost, p.reports("/v1/reports"), "", fmt.Appendf(nil, report, "country"), http.StatusUnauthorized, "")
	f("oversized body", http.MethodPost, p.beacons("/v1/events"), p.key, big, http.StatusRequestEntityTooLarge, "")
	f("broken JSON", http.MethodPost, p.beacons("/v1/events"), p.key, []byte(`[{"type":`), http.StatusBadRequest, "")
	f("foreign tenant, ingest", http.MethodPost, p.beacons("/v1/events"), foreign, event(2), http.StatusAccepted, "forbidden")
	f("foreign tenant, report", http.MethodPost, p.reports("/v1/reports"), foreign, fmt.Appendf(nil, report, "country"), http.StatusNotFound, "")
	f("unknown dimension", http.MethodPost, p.reports("/v1/reports"), p.key, fmt.Appendf(nil, report, "planet"), http.StatusBadRequest, "campaign")
	f("broken report", http.MethodPost, p.reports("/v1/reports"), p.key, []byte(`{`), http.StatusBadRequest, "")

	f("the event after them", http.MethodPost, p.beacons("/v1/events"), p.key, event(2), http.StatusAccepted, `"accepted":1`)
	p.waitTotal(20*time.Second, 2, func(got figures) bool { return got == figures{Clicks: 1, ClicksGross: 1, Spend: "0"} })
}

// tool runs a command of the program and returns what it prints.
func (p *program) tool(args ...string) string {
	p.t.Helper()
	var out, errs strings.Builder
	if code := run(p.t.Context(), args, nil, strings.NewReader(""), &out, &errs); code != exitDone {
		p.t.Fatalf("adtally %s: %d %s", strings.Join(args, " "), code, errs.String())
	}
	return strings.TrimSpace(out.String())
}

func TestCommandLine(t *testing.T) {
	f := func(args, environ []string, code int, want string) {
		t.Helper()
		var out strings.Builder
		if got := run(t.Context(), args, environ, strings.NewReader(""), &out, &out); got != code || !strings.Contains(out.String(), want) {
			t.Errorf("adtally %v: %d %s, want %d %s", args, got, out.String(), code, want)
		}
	}
	f([]string{"version"}, []string{"ADTALLY_INGEST_LISTN=x"}, exitUsage, "ADTALLY_INGEST_LISTEN")
	f([]string{"version"}, []string{"ADTALLY_INGEST_LISTEN=x", "OTHER=1"}, exitDone, "adtally")
	f([]string{"run", "--nonsense"}, nil, exitUsage, "nonsense")
	f([]string{"token"}, nil, exitUsage, "--signing-keys")
	f([]string{"key", "list", "--data", t.TempDir()}, nil, exitFailed, "no adtally run")
	f([]string{"key", "list"}, nil, exitUsage, "--data DIR")
	f([]string{"version"}, []string{"ADTALLY_SCOPE=admin"}, exitUsage, "not a setting")
	f([]string{"ingest", "--max-event-age=soon"}, nil, exitUsage, `"soon"`)
	f([]string{"--help"}, nil, exitDone, "aggregate")
	f([]string{"version"}, []string{"ADTALLY_MAX_EVENT_AGE=48h"}, exitDone, "adtally")
	t.Setenv("ADTALLY_MAX_EVENT_AGE", "soon") // flags read the process's own
	f([]string{"run"}, nil, exitUsage, `"soon"`)
}

func TestASecondRunOnTheSameDirectoryIsRefused(t *testing.T) {
	p := startProgram(t)
	var out strings.Builder
	if code := run(t.Context(), []string{"run", "--data", p.dir, "--free-ports"}, nil, strings.NewReader(""), io.Discard, &out); code != exitFailed {
		t.Errorf("a second run ends with %d", code)
	}
	if !strings.Contains(out.String(), strconv.Itoa(p.cmd.Process.Pid)) {
		t.Errorf("%q does not name the process that holds the directory", out.String())
	}
	var s state
	text, err := os.ReadFile(stateFile(p.dir))
	if err != nil || json.Unmarshal(text, &s) != nil || s.Ports != p.ports {
		t.Errorf("state of the first run: %s %v", text, err)
	}
}
