package window

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adtally/adtally/proto"
)

var update = flag.Bool("update", false, "rewrite the expected part of the scenarios")

// TestScenarios plays testdata/*.txt. A line above --- is one record:
//
//	<broker time> <type> <id> [of=<impression>] [campaign=N] [country=CC] [variant=V] [at=<event time>] [cpm|cpc|cpa|flat=<price>] [flags=N]
//
// or one of:
//
//	<broker time> tick
//	horizon|double_click|join_window <duration>, max_clicks|max_tuples N    sets a rule
//	restart        throws the state away and rebuilds it from the log
//	flush          ends the span: what comes counts in the next batch
//
// Below --- are the rows of each batch, what people are told, and how many
// clicks wait.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playScenario(t, file) })
	}
}

func playScenario(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	input, want, found := strings.Cut(string(text), "---\n")
	if !found {
		t.Fatalf("%s: no line ---", file)
	}
	got := play(t, input)
	if *update {
		if err := os.WriteFile(file, []byte(input+"---\n"+got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("%s: got\n%swant\n%s", file, got, want)
	}
}

type logged struct {
	ev  *proto.Event
	lat int64
}

// player keeps what a scenario has played so far.
type player struct {
	t     *testing.T
	cfg   Config
	state *State
	log   []logged
	delta Delta
	out   []string
	told  []string
}

func play(t *testing.T, input string) string {
	t.Helper()
	p := &player{t: t, cfg: Defaults()}
	p.state = NewState(p.cfg, p)
	lines := bufio.NewScanner(strings.NewReader(input))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if words := strings.Fields(line); len(words) > 0 {
			p.line(words)
		}
	}
	p.flush()
	return strings.Join(append(p.out, ""), "\n")
}

func (p *player) line(words []string) {
	p.t.Helper()
	switch words[0] {
	case "horizon":
		p.cfg.Horizon = mustDuration(p.t, words[1])
		p.cfg.JoinWindow = min(p.cfg.JoinWindow, p.cfg.Horizon)
	case "double_click":
		p.cfg.DoubleClick = mustDuration(p.t, words[1])
	case "join_window":
		p.cfg.JoinWindow = mustDuration(p.t, words[1])
	case "max_clicks":
		p.cfg.MaxClicks = mustInt(p.t, words[1])
	case "max_tuples":
		p.cfg.MaxTuples = mustInt(p.t, words[1])
	case "restart":
		p.state = NewState(p.cfg, p)
		for _, r := range p.log {
			fold(p.state, r, nil)
		}
		return
	case "flush":
		p.flush()
		return
	default:
		r := parseRecord(p.t, words)
		p.log = append(p.log, r)
		fold(p.state, r, &p.delta)
		return
	}
	if err := p.cfg.Validate(); err != nil {
		p.t.Fatal(err)
	}
	p.state = NewState(p.cfg, p)
}

func (p *player) flush() {
	lines := format(&p.delta)
	lines = append(lines, p.told...)
	if n := p.state.pending.open; n > 0 {
		lines = append(lines, fmt.Sprintf("waiting clicks=%d", n))
	}
	if len(p.out) > 0 {
		p.out = append(p.out, "")
	}
	p.out = append(p.out, lines...)
	p.delta.Reset()
	p.told = nil
}

func (p *player) Poison(_ int, err error) { p.told = append(p.told, "poison: "+err.Error()) }

func (p *player) Synthetic(int) {
	last := p.log[len(p.log)-1]
	p.told = append(p.told, fmt.Sprintf("synthetic duplicate: campaign=%d %s", last.ev.CampaignId, last.ev.Type.Name()))
}

// fold folds one record.
func fold(s *State, r logged, d *Delta) {
	value, err := r.ev.MarshalVT()
	if err != nil {
		panic(err)
	}
	s.FoldBatch([]Record{{Value: value, LAT: r.lat}}, d)
}

func parseRecord(t *testing.T, words []string) logged {
	t.Helper()
	lat := mustClock(t, words[0])
	if words[1] == "tick" {
		return logged{&proto.Event{Type: proto.EventType_EVENT_TYPE_TICK}, lat}
	}
	typ, ok := proto.ParseEventType(words[1])
	if !ok {
		t.Fatalf("type %q", words[1])
	}
	var key proto.IDKey
	ev := &proto.Event{Type: typ, AdvertiserId: 1, CampaignId: 1, TimeUs: lat * 1000}
	ev.SetEventID(key.Hash(1, []byte(words[2])))
	if typ != proto.EventType_EVENT_TYPE_CLICK {
		ev.SetImpressionID(ev.EventID())
	}
	for _, w := range words[3:] {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "campaign":
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			ev.CampaignId = n
		case "country":
			ev.Country = value
		case "of":
			ev.SetImpressionID(key.Hash(1, []byte(value)))
		case "variant":
			ev.Variant = value
		case "advertiser":
			ev.AdvertiserId = uint64(mustInt(t, value))
		case "at":
			ev.TimeUs = mustClock(t, value) * 1000
		case "flags":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			ev.InvalidFlags = uint32(n)
		default:
			price(t, ev, name, value)
		}
	}
	return logged{ev, lat}
}

func price(t *testing.T, ev *proto.Event, model, value string) {
	t.Helper()
	pricing, ok := proto.ParsePricing(model)
	if !ok {
		t.Fatalf("unknown word %q", model)
	}
	nanos, err := proto.ParsePrice(value, pricing)
	if err != nil {
		t.Fatal(err)
	}
	ev.Pricing, ev.PriceNanos, ev.Currency = pricing, nanos, "USD"
}

func format(d *Delta) []string {
	var lines []string
	for _, r := range rowsOf(d) {
		line := fmt.Sprintf("%s campaign=%d %s", time.Unix(r.Minute*60, 0).UTC().Format("15:04"), r.Campaign, r.Type.Name())
		if r.Country != "" {
			line += " country=" + r.Country
		}
		if r.Variant != "" {
			line += " variant=" + r.Variant
		}
		if r.Flags != 0 {
			line += " flags=" + r.Flags.String()
		}
		line += fmt.Sprintf(" gross=%d net=%d duplicate=%d invalid=%d", r.Gross, r.Net, r.Duplicate, r.Invalid)
		if r.Orphan != 0 {
			line += fmt.Sprintf(" orphan=%d", r.Orphan)
		}
		if r.SpendNanos != 0 {
			line += " spend=" + proto.FormatNanos(r.SpendNanos)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

func rowsOf(d *Delta) []Row {
	rows := make([]Row, d.Len())
	for i := range rows {
		d.Row(i, &rows[i])
	}
	return rows
}

func mustInt(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func mustClock(t *testing.T, text string) int64 {
	t.Helper()
	at, err := time.Parse("15:04:05.999", text)
	if err != nil {
		t.Fatal(err)
	}
	return at.Sub(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)).Milliseconds()
}

func mustDuration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
