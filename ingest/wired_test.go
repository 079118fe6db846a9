package ingest

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"go4.org/netipx"

	"github.com/adtally/adtally/ingest/agent"
	"github.com/adtally/adtally/ingest/consent"
	"github.com/adtally/adtally/ingest/network"
	"github.com/adtally/adtally/ingest/produce"
)

// Consent strings of the tests of prebid/go-gdpr and prebid/go-gpp.
const (
	tcfGrants  = "COyiBqdOyiBqdObAAAENAfCIAP8AAH-AAAAAB4AXQQgEAAAgoAAAAABAIYQUAAAAAAAAAAAAAAAIQIQCxIvkgQMAAAABgAIAAAAAAAAAAABAZAkAAA"
	tcfRefuses = "COwJz-rOwJz-rMLAEAFRAPCgAAAAAAAAAAqIAAAAAAAA"
)

// User agents.
const (
	chrome    = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
	iphone    = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
	googlebot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
	curl      = "curl/8.5.0"
)

// wireConsent adds a decider and a user hash.
func wireConsent(tb testing.TB, d *Deps) {
	tb.Helper()
	var err error
	if d.Consent, err = consent.New(consent.Config{CacheStrings: 64}, d.Metrics); err != nil {
		tb.Fatal(err)
	}
	d.Users = newUsers(tb)
}

func newUsers(tb testing.TB) *consent.UserHasher {
	tb.Helper()
	users, err := consent.NewUserHasher(bytes.Repeat([]byte("u"), 32), 0)
	if err != nil {
		tb.Fatal(err)
	}
	return users
}

// wireLists adds the embedded crawler list, a list of data centres and places.
func wireLists(tb testing.TB, d *Deps, geo network.GeoConfig) {
	tb.Helper()
	list, err := agent.EmbeddedList()
	if err != nil {
		tb.Fatal(err)
	}
	l := new(Lists)
	if l.Agents, err = agent.New(list, 1024); err != nil {
		tb.Fatal(err)
	}
	if l.DataCentres, err = network.LoadRanges(writeFile(tb, "ranges.txt", "# version: 7\n192.0.2.0/24\n2001:db8:dc::/48\n")); err != nil {
		tb.Fatal(err)
	}
	if l.Geo, err = network.OpenGeo(geo); err != nil {
		tb.Fatal(err)
	}
	d.Lists = new(atomic.Pointer[Lists])
	d.Lists.Store(l)
}

func writeFile(tb testing.TB, name, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// placesFile writes a city database in which two networks have a place.
func placesFile(tb testing.TB) string {
	tb.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-City", RecordSize: 24})
	if err != nil {
		tb.Fatal(err)
	}
	for prefix, codes := range map[string][2]string{"81.2.70.0/24": {"US", "CA"}, "81.2.71.0/24": {"DE", "BE"}} {
		record := mmdbtype.Map{
			"country":      mmdbtype.Map{"iso_code": mmdbtype.String(codes[0])},
			"subdivisions": mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String(codes[1])}},
		}
		if err := tree.Insert(netipx.PrefixIPNet(netip.MustParsePrefix(prefix)), record); err != nil {
			tb.Fatal(err)
		}
	}
	var file bytes.Buffer
	if _, err := tree.WriteTo(&file); err != nil {
		tb.Fatal(err)
	}
	return writeFile(tb, "places.mmdb", file.String())
}

// kept is a Rejects that keeps copies of what it is given.
type kept struct {
	mu  sync.Mutex
	all []produce.Rejected
}

// Put implements Rejects.
func (k *kept) Put(r *produce.Rejected) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := *r
	c.Body = bytes.Clone(r.Body)
	k.all = append(k.all, c)
}

// take returns what was given since it was last called.
func (k *kept) take() []produce.Rejected {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := k.all
	k.all = nil
	return all
}
