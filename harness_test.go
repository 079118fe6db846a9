package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/adtally/adtally/internal/dev"
)

// mainVariable makes the test binary be the program, so that tests can kill it.
const mainVariable = "RUN_THE_PROGRAM"

func TestMain(m *testing.M) {
	dev.ChildMain()
	// It stays set: ingest runs itself again. Children are told first what they are.
	if os.Getenv(mainVariable) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program is one adtally run on its own data directory.
type program struct {
	t     *testing.T
	dir   string
	args  []string
	cmd   *exec.Cmd
	log   *os.File
	ports ports
	key   string
}

// startProgram runs adtally run on free ports and waits until it answers.
func startProgram(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{t: t, dir: t.TempDir(), args: args}
	t.Cleanup(func() {
		p.stop(syscall.SIGTERM)
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(p.dir, "test.log")) // for the eyes only
			t.Logf("log of the program, its end:\n%s", text[max(0, len(text)-8000):])
		}
	})
	p.start()
	return p
}

func (p *program) start() {
	p.t.Helper()
	portsFile := filepath.Join(p.dir, "ports.json")
	_ = os.Remove(portsFile) // of the start before
	log, err := os.OpenFile(filepath.Join(p.dir, "test.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	p.log = log
	args := append([]string{"run", "--data", p.dir, "--ports-file", portsFile}, p.listeners()...)
	p.cmd = exec.Command(os.Args[0], append(args, p.args...)...)
	p.cmd.Env = append(os.Environ(), mainVariable+"=1")
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(ended) }()
	p.wait(10*time.Minute, "the program to start", func() bool { // the first start installs ClickHouse
		select {
		case <-ended:
			text, _ := os.ReadFile(log.Name()) // for the eyes only
			p.t.Fatalf("the program ended:\n%s", text)
		default:
		}
		text, err := os.ReadFile(portsFile)
		return err == nil && json.Unmarshal(text, &p.ports) == nil
	})
	key, err := os.ReadFile(adminKeyFile(p.dir))
	if err != nil {
		p.t.Fatal(err)
	}
	p.key = strings.TrimSpace(string(key))
}

// listeners are free ports at first, and the same ports when started again.
func (p *program) listeners() []string {
	if p.ports.Ingest == 0 {
		return []string{"--free-ports"}
	}
	args := []string{
		"--ingest-listen", fmt.Sprintf("127.0.0.1:%d", p.ports.Ingest),
		"--query-listen", fmt.Sprintf("127.0.0.1:%d", p.ports.Query),
		"--admin-listen", fmt.Sprintf("127.0.0.1:%d", p.ports.Admin),
		"--clickhouse-native-port", strconv.Itoa(p.ports.ClickHouseNative),
		"--clickhouse-http-port", strconv.Itoa(p.ports.ClickHouseHTTP),
	}
	if p.ports.Kafka != 0 {
		args = append(args, "--kafka-port", strconv.Itoa(p.ports.Kafka))
	}
	return args
}

// stop ends the program by the signal and waits for it.
func (p *program) stop(sig syscall.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(sig) // it may have ended by itself
	deadline := time.Now().Add(60 * time.Second)
	for p.cmd.Process.Signal(syscall.Signal(0)) == nil && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if p.cmd.Process.Signal(syscall.Signal(0)) == nil {
		p.t.Errorf("the program did not end after %s", sig)
		_ = p.cmd.Process.Kill() // so that the test ends
	}
	p.cmd = nil
	_ = p.log.Close() // written by the child only
}

// wait polls until done holds.
func (p *program) wait(limit time.Duration, what string, done func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(limit)
	for !done() {
		if time.Now().After(deadline) {
			p.t.Fatalf("waited %s for %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (p *program) beacons(path string) string { return loopbackURL(p.ports.Ingest) + path }
func (p *program) reports(path string) string { return loopbackURL(p.ports.Query) + path }

// client does not follow redirects: a click's answer is the redirect.
var client = &http.Client{
	Timeout:       10 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport:     &http.Transport{MaxIdleConnsPerHost: 16},
}

// browserAgent is what a browser sends; others are invalid traffic.
const browserAgent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"

// call sends a request; status 0 means that there was no answer.
func call(ctx context.Context, method, url, key string, body []byte) (status int, answer []byte) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, []byte(err.Error())
	}
	req.Header.Set("User-Agent", browserAgent)
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return resp.StatusCode, answer
}

// figures are what a report says of an advertiser's campaigns together.
type figures struct {
	Impressions          int64  `json:"impressions"`
	ImpressionsGross     int64  `json:"impressions_gross"`
	ImpressionsDuplicate int64  `json:"impressions_duplicate"`
	Clicks               int64  `json:"clicks"`
	ClicksGross          int64  `json:"clicks_gross"`
	Duplicates           int64  `json:"duplicates"`
	Spend                string `json:"spend"`
}

// total asks for everything of the advertiser over the last days.
func (p *program) total(advertiser int) (figures, error) {
	now := time.Now().UTC()
	body := fmt.Appendf(nil, `{"advertiser":%d,"start":"%s","end":"%s","timezone":"UTC","granularity":"total",
"metrics":["impressions","impressions_gross","impressions_duplicate","clicks","clicks_gross","duplicates","spend"]}`,
		advertiser, now.AddDate(0, 0, -2).Format(time.DateOnly), now.AddDate(0, 0, 2).Format(time.DateOnly))
	status, text := call(p.t.Context(), http.MethodPost, p.reports("/v1/reports"), p.key, body)
	if status != http.StatusOK {
		return figures{}, fmt.Errorf("report: %d %s", status, text)
	}
	var answer struct{ Totals figures }
	return answer.Totals, json.Unmarshal(text, &answer)
}

// waitTotal waits until the report says want.
func (p *program) waitTotal(limit time.Duration, advertiser int, want func(figures) bool) figures {
	p.t.Helper()
	var got figures
	var err error
	deadline := time.Now().Add(limit)
	for {
		if got, err = p.total(advertiser); err == nil && want(got) {
			return got
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("after %s the report says %+v (%v)", limit, got, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// load is traffic by server batches, whose clients retry what was not answered.
type load struct {
	p          *program
	advertiser int
	events     int
	batch      int
	// repeatEvery makes every n-th event carry the id of an earlier one.
	repeatEvery int
	// retry says that unanswered batches are sent again.
	retry bool
	// enough ends the load when it is closed; events then is what was sent.
	enough chan struct{}
}

// event returns the JSON of the n-th event, and the id it carries.
func (l *load) event(n int) (text string, id int) {
	id = n
	if l.repeatEvery > 0 && n%l.repeatEvery == l.repeatEvery-1 && n >= l.batch {
		id = n - l.batch // lies in another request
	}
	if id%10 == 9 {
		return fmt.Sprintf(`{"type":"click","id":"c%d","advertiser_id":%d,"campaign_id":%d,"country":"US","price":"0.25","pricing":"cpc","currency":"USD"}`, id, l.advertiser, id%7+1), id
	}
	return fmt.Sprintf(`{"type":"impression","id":"i%d","advertiser_id":%d,"campaign_id":%d,"creative_id":%d,"country":"DE","device":"mobile","price":"2.5","pricing":"cpm","currency":"USD"}`, id, l.advertiser, id%7+1, id%3), id
}

// expect returns the exact figures of the load when each event is stored once.
func (l *load) expect() figures {
	var f figures
	seen := make(map[int]bool)
	micros := int64(0)
	for n := range l.events {
		_, id := l.event(n)
		impression := id%10 != 9
		if impression {
			f.ImpressionsGross++
		} else {
			f.ClicksGross++
		}
		switch {
		case seen[id] && impression:
			f.ImpressionsDuplicate++
			f.Duplicates++
		case seen[id]:
			f.Duplicates++
		case impression:
			f.Impressions++
			micros += 2500
		default:
			f.Clicks++
			micros += 250_000
		}
		seen[id] = true
	}
	f.Spend = strings.TrimRight(strings.TrimRight(fmt.Sprintf("%d.%06d", micros/1_000_000, micros%1_000_000), "0"), ".")
	return f
}

// send sends the whole load over some connections and returns when every batch
// was answered 202.
func (l *load) send(ctx context.Context) error {
	starts := make(chan int)
	errs := make(chan error, 4)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for start := range starts {
				if err := l.sendBatch(ctx, start); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Go(func() {
		defer close(starts)
		for start := 0; start < l.events; start += l.batch {
			select {
			case starts <- start:
			case <-l.enough:
				l.events = start
			case <-ctx.Done():
				return
			}
		}
	})
	wg.Wait()
	close(errs)
	return errors.Join(<-errs, ctx.Err())
}

func (l *load) sendBatch(ctx context.Context, start int) error {
	var body bytes.Buffer
	body.WriteString(`{"events":[`)
	n := 0
	for ; n < l.batch && start+n < l.events; n++ {
		if n > 0 {
			body.WriteByte(',')
		}
		text, _ := l.event(start + n)
		body.WriteString(text)
	}
	body.WriteString(`]}`)
	for {
		status, answer := call(ctx, http.MethodPost, l.p.beacons("/v1/events"), l.p.key, body.Bytes())
		if status == http.StatusAccepted {
			if want := `"accepted":` + strconv.Itoa(n); !bytes.Contains(answer, []byte(want)) {
				return fmt.Errorf("batch at %d: %s, want %s", start, answer, want)
			}
			return nil
		}
		if !l.retry || status != 0 && status != http.StatusServiceUnavailable {
			return fmt.Errorf("batch at %d: %d %s", start, status, answer)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
