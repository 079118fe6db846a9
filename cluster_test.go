package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/internal/testkit"
)

// gate stands between the brokers and everybody else: it can cut every
// connection and let no new one through, slow answers down, and lose some.
type gate struct {
	closed atomic.Bool
	delay  atomic.Int64 // of each answer, in nanoseconds
	loss   atomic.Int64 // one answer in so many ends its connection; 0 for none

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func (g *gate) listen(network, addr string) (net.Listener, error) {
	ln, err := net.Listen(network, addr)
	return gatedListener{ln, g}, err
}

// shut cuts everything off.
func (g *gate) shut() {
	g.closed.Store(true)
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		_ = c.Close() // whatever was on its way is lost
	}
	clear(g.conns)
}

func (g *gate) open() { g.closed.Store(false) }

type gatedListener struct {
	net.Listener
	gate *gate
}

func (l gatedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || !l.gate.closed.Load() {
			l.gate.mu.Lock()
			defer l.gate.mu.Unlock()
			if l.gate.conns == nil {
				l.gate.conns = make(map[net.Conn]struct{})
			}
			if err == nil {
				l.gate.conns[c] = struct{}{}
			}
			return gatedConn{c, l.gate}, err
		}
		_ = c.Close() // nobody is at home
	}
}

type gatedConn struct {
	net.Conn
	gate *gate
}

// Write is an answer of the broker.
func (c gatedConn) Write(p []byte) (int, error) {
	time.Sleep(time.Duration(c.gate.delay.Load())) // the network is slow, as the test asked
	if n := c.gate.loss.Load(); n > 0 && rand.Int64N(n) == 0 {
		_ = c.Close() // the answer is lost
		return 0, errors.New("lost on the way, as the test asked")
	}
	return c.Conn.Write(p)
}

// cluster is adtally as separate roles: ingest is a process of its own that
// tests may kill, the other roles run in the test's process.
type cluster struct {
	t      *testing.T
	dir    string
	gate   *gate
	kafka  *kfake.Cluster
	common []string
	key    string
	ring   *token.Keyring

	ingest, query string
	admin         int
	child         *exec.Cmd
	args          []string // more arguments of ingest
	wrap          []string // a command that runs ingest
}

func startCluster(t *testing.T, args ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), gate: new(gate), args: args}
	server := testkit.StartClickHouse(t)
	ports, err := dev.FreePorts(8)
	if err != nil {
		t.Fatal(err)
	}
	c.kafka, err = kfake.NewCluster(kfake.NumBrokers(3), kfake.Ports(ports[0], ports[1], ports[2]), kfake.ListenFn(c.gate.listen),
		kfake.BrokerConfigs(map[string]string{"log.message.timestamp.type": "LogAppendTime"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kafka.Close)
	password := filepath.Join(c.dir, "password")
	if err := writeFile(password, []byte(server.Writer().Password)); err != nil {
		t.Fatal(err)
	}
	clickHouse := []string{"--clickhouse-addr", server.NativeAddr(), "--clickhouse-user", server.Writer().User, "--clickhouse-password-file", password}
	kafka := []string{"--kafka-brokers", c.kafka.ListenAddrs()[0], "--kafka-partitions", "4", "--kafka-unsafe-topic"}
	c.common = slices.Concat(clickHouse, kafka)
	c.secrets()
	c.key, _, err = access.NewStore(testkit.Open(t, server.AsWriter)).CreateKey(t.Context(), access.KeySpec{Name: "test", Scopes: access.AllScopes, All: true})
	if err != nil {
		t.Fatal(err)
	}
	c.ingest, c.query, c.admin = loopback(ports[3]), loopback(ports[4]), ports[5]
	c.start()
	c.role(append([]string{"aggregate", "--admin-listen", loopback(ports[6])}, c.common...))
	c.role(append([]string{"query", "--query-listen", c.query, "--admin-listen", loopback(ports[7])}, clickHouse...))
	return c
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (c *cluster) secrets() {
	c.t.Helper()
	ring, err := token.CreateKeyring(filepath.Join(c.dir, "signing-keys.json"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.ring = ring
	if err := writeFile(filepath.Join(c.dir, "id.key"), []byte("000102030405060708090a0b0c0d0e0f\n")); err != nil {
		c.t.Fatal(err)
	}
}

// role runs a role in this process until the test ends.
func (c *cluster) role(args []string) {
	c.t.Helper()
	log, err := os.Create(filepath.Join(c.dir, args[0]+".log"))
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, args, nil, nil, log, log) }()
	c.t.Cleanup(func() {
		cancel()
		if code := <-ended; code != exitDone {
			c.t.Errorf("adtally %s ends with %d", args[0], code)
		}
		if c.t.Failed() {
			text, _ := os.ReadFile(log.Name()) // for the eyes only
			c.t.Logf("log of %s, its end:\n%s", args[0], text[max(0, len(text)-3000):])
		}
		_ = log.Close() // nobody writes to it any more
	})
}

// start runs ingest as a process and waits until it answers.
func (c *cluster) start() {
	c.t.Helper()
	args := append([]string{
		"ingest", "--ingest-listen", c.ingest, "--admin-listen", loopback(c.admin),
		"--signing-keys", filepath.Join(c.dir, "signing-keys.json"), "--id-key", filepath.Join(c.dir, "id.key"),
		"--spool-dir", filepath.Join(c.dir, "spool"), "--spool-segment-bytes", "1048576",
	}, c.common...)
	words := append(append(append([]string(nil), c.wrap...), os.Args[0]), append(args, c.args...)...)
	log, err := os.OpenFile(filepath.Join(c.dir, "ingest.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	c.child = exec.Command(words[0], words[1:]...)
	c.child.Env = append(os.Environ(), mainVariable+"=1")
	c.child.Stdout, c.child.Stderr = log, log
	// A group of its own: killing a command that wraps ingest would leave ingest.
	c.child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := c.child.Start(); err != nil {
		c.t.Fatal(err)
	}
	child := c.child
	c.t.Cleanup(func() {
		_ = syscall.Kill(-child.Process.Pid, syscall.SIGKILL) // it may have ended
		_ = child.Wait()                                      // killed
		if c.t.Failed() && child == c.child {
			text, _ := os.ReadFile(log.Name()) // for the eyes only
			c.t.Logf("log of ingest, its end:\n%s", text[max(0, len(text)-4000):])
		}
	})
	c.wait("ingest to answer", func() bool {
		status, _ := call(c.t.Context(), http.MethodPost, "http://"+c.ingest+"/v1/events", c.key, []byte("[]"))
		return status == http.StatusAccepted
	})
}

func (c *cluster) wait(what string, done func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			c.t.Fatalf("waited too long for %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// fate is what a client was told about an event.
type fate uint8

const (
	unanswered fate = iota // or 503: may count once
	accepted               // must count exactly once
	refused                // must not count
)

// oracle remembers what clients were told and compares it with the report.
type oracle struct {
	c     *cluster
	mu    sync.Mutex
	fates map[int]fate
	next  atomic.Int64
}

const oracleBatch = 10

// drive sends batches over some connections, without retries, until enough is
// closed. Now and then one cannot be read, and must not count.
func (o *oracle) drive(enough <-chan struct{}) {
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for {
				select {
				case <-enough:
					return
				default:
				}
				o.send()
				time.Sleep(2 * time.Millisecond) // keeps the reports that check it within their limits
			}
		})
	}
	wg.Wait()
}

func (o *oracle) send() {
	first := int(o.next.Add(oracleBatch)) - oracleBatch
	body := []byte("[")
	for n := first; n < first+oracleBatch; n++ {
		body = fmt.Appendf(body, `{"type":"impression","id":"e%d","advertiser_id":1,"campaign_id":%d,"creative_id":%d,"price":"1","pricing":"cpm","currency":"USD"},`, n, n%13+1, n+1)
	}
	body[len(body)-1] = ']'
	if first/oracleBatch%17 == 16 {
		body = body[:len(body)-1] // broken
	}
	status, _ := call(o.c.t.Context(), http.MethodPost, "http://"+o.c.ingest+"/v1/events", o.c.key, body)
	told := unanswered
	switch {
	case status == http.StatusAccepted:
		told = accepted
	case status >= 400 && status < 500:
		told = refused
	}
	if status == 0 {
		time.Sleep(time.Millisecond) // the server is away; do not spin
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for n := first; n < first+oracleBatch; n++ {
		o.fates[n] = told
	}
}

// check waits until everything that was accepted is in the report, and the
// report is whole up to now, and then holds each event against its fate.
func (o *oracle) check() {
	o.c.t.Helper()
	var counted map[int]int64
	defer func() {
		missing := 0
		for n, told := range o.fates {
			if told == accepted && counted[n] == 0 {
				missing++
			}
		}
		if missing > 0 {
			o.c.t.Logf("%d of %d are missing; ingest has %.0f events in the producer and %.0f in the spool", missing, len(o.fates),
				o.c.metric("adtally_ingest_produce_pending_events"), o.c.metric("adtally_spool_pending_events"))
		}
	}()
	o.c.wait("every accepted event to be counted", func() bool {
		counted = o.c.perCreative()
		for n, told := range o.fates {
			if told == accepted && counted[n] == 0 {
				return false
			}
		}
		return true
	})
	sum := map[fate]int{}
	for n, told := range o.fates {
		sum[told]++
		if got := counted[n]; told == accepted && got != 1 || told == refused && got != 0 || got > 1 {
			o.c.t.Errorf("event %d was told %d and counts %d times", n, told, got)
		}
	}
	o.c.t.Logf("%d accepted, %d refused, %d unanswered", sum[accepted], sum[refused], sum[unanswered])
	if sum[accepted] == 0 {
		o.c.t.Error("nothing was accepted: the test shows nothing")
	}
}

// perCreative is the net count of each event, which has a creative of its own.
func (c *cluster) perCreative() map[int]int64 {
	now := time.Now().UTC()
	counted := make(map[int]int64)
	for part := range 8 { // a report has at most 100,000 rows
		body := fmt.Appendf(nil, `{"advertiser":1,"start":"%s","end":"%s","timezone":"UTC","dimensions":["creative"],"metrics":["impressions"],"limit":100000,
"filters":[{"dimension":"campaign","op":"in","values":[%d,%d]}]}`, now.AddDate(0, 0, -1).Format(time.DateOnly), now.AddDate(0, 0, 2).Format(time.DateOnly), 2*part+1, 2*part+2)
		status, text := call(c.t.Context(), http.MethodPost, "http://"+c.query+"/v1/reports", c.key, body)
		var answer struct {
			Rows []struct {
				Creative    string
				Impressions int64
			}
		}
		if status != http.StatusOK || json.Unmarshal(text, &answer) != nil {
			return nil
		}
		for _, r := range answer.Rows {
			n, err := strconv.Atoi(r.Creative)
			if err != nil {
				c.t.Fatal(err)
			}
			counted[n-1] += r.Impressions
		}
	}
	return counted
}

// metric reads one figure of ingest's admin listener.
func (c *cluster) metric(name string) float64 {
	_, text := call(c.t.Context(), http.MethodGet, "http://"+loopback(c.admin)+"/metrics", "", nil)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				c.t.Fatal(err)
			}
			return n
		}
	}
	return -1
}
