package demo

import (
	"math"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/proto"
)

var monday = time.Date(2026, 11, 16, 0, 0, 0, 0, time.UTC)

func newRing(t *testing.T) *token.Keyring {
	t.Helper()
	ring, err := token.NewKeyring("k1", []token.Key{{ID: "k1", Secret: []byte("0123456789abcdef0123456789abcdef")}})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// near fails unless got is want within a part of it.
func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got-want) > within*want {
		t.Errorf("%s: %.5g, want %.5g within %g %%", what, got, want, within*100)
	}
}

func TestDayShape(t *testing.T) {
	sum, low, high := 0.0, 0.0, 0.0
	const n = 24 * 60
	for i := range n {
		h := float64(i) / 60
		s := dayShape(h)
		if s <= 0 || s > peak {
			t.Fatalf("shape at %.2f h is %.3f, want more than 0 and at most %v", h, s, peak)
		}
		if s < dayShape(low) {
			low = h
		}
		if s > dayShape(high) {
			high = h
		}
		sum += s
	}
	near(t, "mean over a day", sum/n, 1, 1e-9)
	if low < 3 || low > 6 || high < 19 || high > 21 {
		t.Errorf("quietest at %.1f h, busiest at %.1f h", low, high)
	}
}

func TestTrafficRate(t *testing.T) {
	const rate, days = 2.0, 2
	tr, err := newTraffic(rate)
	if err != nil {
		t.Fatal(err)
	}
	r := randomFor("test", 1, 0)
	events := map[uint64]float64{}
	hours := map[uint64]*[24]float64{}
	total := 0.0
	for a := tr.next(r, monday); a.at.Before(monday.AddDate(0, 0, days)); a = tr.next(r, a.at) {
		n := float64(len(a.visit(r).steps))
		id := a.by.Advertiser
		if hours[id] == nil {
			hours[id] = new([24]float64)
		}
		events[id] += n
		hours[id][a.at.In(a.by.zone).Hour()] += n
		total += n
	}
	near(t, "events a second", total/(days*86400), rate, 0.02)
	for i := range market {
		a := &market[i]
		near(t, a.Name+": share of events", events[a.Advertiser]/total, a.share/100, 0.03)
		for h, n := range hours[a.Advertiser] {
			want := (dayShape(float64(h)) + dayShape(float64(h)+1)) / 2
			near(t, a.Name+": events in hour "+time.Duration(h*int(time.Hour)).String(), n*24/events[a.Advertiser], want, 0.15)
		}
	}
}

func TestVisits(t *testing.T) {
	tr, err := newTraffic(100)
	if err != nil {
		t.Fatal(err)
	}
	ring := newRing(t)
	r := randomFor("test", 2, 0)
	const n = 60_000
	type rates struct{ shown, viewable, clicks float64 }
	var kinds [prefetch + 1]float64
	var macro, late, repeats, repeatable float64
	campaigns := map[uint64]float64{}
	byVariant := map[uint64]map[string]*rates{}
	ids := map[string]bool{}
	a := arrival{at: monday}
	for range n {
		a = tr.next(r, a.at)
		v := a.visit(r)
		v.postpone(r)
		checkVisit(t, ring, v)
		kinds[v.kind]++
		if v.macro != "" {
			macro++
		}
		if v.held > 0 {
			late++
		}
		if a.by.Advertiser == 1 {
			campaigns[v.campaign.id]++
		}
		if byVariant[v.campaign.id] == nil {
			byVariant[v.campaign.id] = map[string]*rates{"a": {}, "b": {}}
		}
		of := byVariant[v.campaign.id][v.token.Variant]
		if v.kind == human && v.publisher.appeal == 1 {
			of.shown++
		}
		for _, s := range v.steps {
			if s.typ != proto.EventType_EVENT_TYPE_CLICK {
				repeatable++
			}
			if s.repeat {
				repeats++
				continue
			}
			if key := s.typ.Name() + s.id; ids[key] {
				t.Fatalf("%s comes twice", key)
			} else {
				ids[key] = true
			}
			if v.kind == human && v.publisher.appeal == 1 && s.typ == proto.EventType_EVENT_TYPE_CLICK {
				of.clicks++
			}
			if v.kind == human && v.publisher.appeal == 1 && s.typ == proto.EventType_EVENT_TYPE_VIEWABLE {
				of.viewable++
			}
		}
	}
	near(t, "robots", kinds[robot]/n, robotShare, 0.1)
	near(t, "prefetches", kinds[prefetch]/n, 0.01, 0.2)
	near(t, "late visits", late/n, lateShare, 0.15)
	near(t, "repeats", repeats/repeatable, repeatShare, 0.1)
	if macro == 0 {
		t.Error("no unexpanded macro")
	}
	visits := 0.0
	for _, count := range campaigns {
		visits += count
	}
	for i := range market[0].campaigns {
		c := &market[0].campaigns[i]
		near(t, "share of campaign", campaigns[c.id]/visits, c.share/100, 0.06)
		for i, name := range variants {
			of := byVariant[c.id][name]
			near(t, "viewability", of.viewable/of.shown, c.viewable, 0.08)
			// The counts are small: four standard deviations.
			want := c.clicks[i] * of.shown
			if math.Abs(of.clicks-want) > 4*math.Sqrt(want) {
				t.Errorf("campaign %d %s: %v clicks, want about %.0f", c.id, name, of.clicks, want)
			}
		}
	}
}

// checkVisit checks what holds of every visit.
func checkVisit(t *testing.T, ring *token.Keyring, v *visit) {
	t.Helper()
	if v.steps[0].typ != proto.EventType_EVENT_TYPE_IMPRESSION || v.steps[0].id != v.token.ImpressionId {
		t.Fatalf("a visit begins with %+v", v.steps[0])
	}
	var back proto.Token
	if err := ring.Verify(&back, ring.Sign(nil, v.token)); err != nil {
		t.Fatalf("token of %+v: %v", v, err)
	}
	at, err := url.Parse(back.LandingUrl)
	if err != nil || !slices.Contains([]string{"www.example.com", "www.example.org", "www.example.net"}, at.Host) {
		t.Fatalf("landing URL %q", back.LandingUrl)
	}
	if !documented(v.address) {
		t.Fatalf("address %s is somebody's", v.address)
	}
	viewed, steps := false, 0
	for _, s := range v.steps {
		viewed = viewed || s.typ == proto.EventType_EVENT_TYPE_VIEWABLE
		if s.typ == proto.EventType_EVENT_TYPE_CLICK && v.kind == human && !viewed {
			t.Fatal("a click on what nobody saw")
		}
		if len(s.id) > token.MaxImpressionID || s.after < 0 {
			t.Fatalf("step %+v", s)
		}
	}
	for _, d := range v.plan() {
		if d.due.Before(v.at.Add(v.held)) {
			t.Fatalf("due %v, shown %v", d.due, v.at)
		}
		if d.route == beacon && (len(d.steps) != 1 || v.held > 0) {
			t.Fatalf("beacon with %d steps, held %v", len(d.steps), v.held)
		}
		steps += len(d.steps)
	}
	if steps != len(v.steps) {
		t.Fatalf("%d steps are sent of %d", steps, len(v.steps))
	}
}

// documented reports whether an address is reserved for documentation.
func documented(address string) bool {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	for _, net := range []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"} {
		if netip.MustParsePrefix(net).Contains(ip) {
			return true
		}
	}
	return false
}

func TestCatalogue(t *testing.T) {
	seen := map[uint64]bool{}
	once := func(id uint64) {
		if id == 0 || seen[id] {
			t.Errorf("id %d is 0 or given twice", id)
		}
		seen[id] = true
	}
	for i := range market {
		a := &market[i]
		if n := len(a.campaigns); n < 2 || n > 4 {
			t.Errorf("%s has %d campaigns", a.Name, n)
		}
		for j := range a.campaigns {
			c := &a.campaigns[j]
			once(c.id)
			if c.nanos() <= 0 || c.clicks[0] == c.clicks[1] {
				t.Errorf("campaign %d: price %d, click rates %v", c.id, c.nanos(), c.clicks)
			}
			for _, g := range c.groups {
				once(g.id)
				for _, id := range g.creatives {
					once(id)
				}
			}
			for _, p := range c.publishers {
				if c.clicks[0]*p.appeal > c.viewable || c.clicks[1]*p.appeal > c.viewable {
					t.Errorf("campaign %d has more clicks than views on %d", c.id, p.id)
				}
			}
		}
	}
	for i, a := range Accounts() {
		if a != market[i].Account || len(a.Currency) != 3 || strings.TrimSpace(a.Name) == "" {
			t.Errorf("account %+v", a)
		}
	}
}

func TestHistoryIsRepeatable(t *testing.T) {
	tr, err := newTraffic(0.5)
	if err != nil {
		t.Fatal(err)
	}
	hour := func(seed uint64, from time.Time) []pastEvent {
		events, err := pastHour(seed, tr, from)
		if err != nil {
			t.Fatal(err)
		}
		return events
	}
	same := func(a, b pastEvent) bool { return a.at.Equal(b.at) && string(a.json) == string(b.json) }
	first := hour(1, monday)
	if len(first) == 0 || !slices.EqualFunc(first, hour(1, monday), same) {
		t.Error("the same hour is not the same twice")
	}
	known := map[string]bool{}
	for _, e := range first {
		known[string(e.json)] = true
		if e.at.Before(monday) || e.at.After(monday.Add(slot+30*time.Minute)) {
			t.Errorf("event at %v", e.at)
		}
	}
	for _, e := range slices.Concat(hour(1, monday.Add(slot)), hour(2, monday)) {
		if known[string(e.json)] {
			t.Fatal("another hour or seed repeats an event")
		}
	}
}
