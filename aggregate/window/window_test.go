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
//	<broker time> <type> <id> [campaign=N] [country=CC] [at=<event time>] [cpm|cpc|cpa|flat=<price>] [flags=N]
//
// "horizon <duration>" sets the horizon, "restart" throws the state away and
// rebuilds it from the log. Below --- are the rows of the books.
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

func play(t *testing.T, input string) string {
	t.Helper()
	cfg := Config{Horizon: 6 * time.Hour}
	state := NewState(cfg)
	var log []logged
	var d Delta
	lines := bufio.NewScanner(strings.NewReader(input))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "horizon":
			cfg.Horizon = mustDuration(t, words[1])
			state = NewState(cfg)
		case words[0] == "restart":
			state = NewState(cfg)
			for _, r := range log {
				state.Fold(r.ev, r.lat, nil)
			}
		default:
			r := parseRecord(t, words)
			log = append(log, r)
			state.Fold(r.ev, r.lat, &d)
		}
	}
	return format(&d)
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

func format(d *Delta) string {
	var lines []string
	for _, r := range d.Rows() {
		line := fmt.Sprintf("%s campaign=%d %s", time.Unix(r.Minute*60, 0).UTC().Format("15:04"), r.Campaign, r.Type.Name())
		if r.Country != "" {
			line += " country=" + r.Country
		}
		if r.Flags != 0 {
			line += " flags=" + r.Flags.String()
		}
		line += fmt.Sprintf(" gross=%d net=%d duplicate=%d invalid=%d", r.Gross, r.Net, r.Duplicate, r.Invalid)
		if r.SpendNanos != 0 {
			line += " spend=" + proto.FormatNanos(r.SpendNanos)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(append(lines, ""), "\n")
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
