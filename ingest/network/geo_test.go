package network

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"go4.org/netipx"
)

// database writes a file in the form of MaxMind's city databases and returns its
// path. Countries and regions are those of networks.
func database(tb testing.TB, networks map[string][]string) string {
	tb.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-City", BuildEpoch: 1795132800, RecordSize: 24})
	if err != nil {
		tb.Fatal(err)
	}
	for network, codes := range networks {
		record := mmdbtype.Map{"city": mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String("Somewhere")}}}
		if len(codes) > 0 {
			record["country"] = mmdbtype.Map{"iso_code": mmdbtype.String(codes[0])}
		}
		var regions mmdbtype.Slice
		for _, code := range codes[min(1, len(codes)):] {
			regions = append(regions, mmdbtype.Map{"iso_code": mmdbtype.String(code)})
		}
		if regions != nil {
			record["subdivisions"] = regions
		}
		if err := tree.Insert(netipx.PrefixIPNet(netip.MustParsePrefix(network)), record); err != nil {
			tb.Fatal(err)
		}
	}
	var file bytes.Buffer
	if _, err := tree.WriteTo(&file); err != nil {
		tb.Fatal(err)
	}
	return writeFile(tb, "city.mmdb", file.Bytes())
}

func openGeo(tb testing.TB, cfg GeoConfig) *Geo {
	tb.Helper()
	g, err := OpenGeo(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

var testNetworks = map[string][]string{
	"81.2.69.0/24":      {"GB", "ENG", "OXF"},
	"81.2.70.0/25":      {"US", "CA"},
	"81.2.70.128/25":    {"US", "NY"},
	"81.2.71.0/24":      {"DE"},
	"81.2.72.0/24":      {},
	"81.2.73.0/24":      {"XX", "YY"},
	"81.2.74.0/24":      {"US", "toolong"},
	"81.2.75.0/24":      {"us", "tx"},
	"2a02:ff40::/32":    {"FR", "IDF"},
	"2a02:ff41:1::/128": {"IT", "25"},
}

func TestLocate(t *testing.T) {
	g := openGeo(t, GeoConfig{Database: database(t, testNetworks)})
	f := func(addr, country, region string) {
		t.Helper()
		for range 2 {
			if got := g.Locate(netip.MustParseAddr(addr), []byte("JP"), []byte("13")); got != (Place{country, region}) {
				t.Errorf("%s: got %+v, want %s and %s", addr, got, country, region)
			}
		}
	}
	f("81.2.69.142", "GB", "GB-ENG")
	f("::ffff:81.2.69.142", "GB", "GB-ENG")
	f("81.2.70.1", "US", "US-CA")
	f("81.2.70.129", "US", "US-NY") // in the same /24: look up before truncation
	f("81.2.71.1", "DE", "")
	f("81.2.72.1", "", "")
	f("81.2.73.1", "", "")
	f("81.2.74.1", "US", "")
	f("81.2.75.1", "US", "US-TX")
	f("2a02:ff40:1:2::3", "FR", "FR-IDF")
	f("2a02:ff41:1::", "IT", "IT-25")
	f("192.0.2.1", "", "")
	f("::1", "", "")
	if got := g.Locate(netip.Addr{}, nil, nil); got != (Place{}) {
		t.Errorf("no address: got %+v", got)
	}
	if got, want := g.Version(), "Test-City 2026-11-20"; got != want {
		t.Errorf("version %q, want %q", got, want)
	}
}

func TestLocateByHeaders(t *testing.T) {
	g := openGeo(t, GeoConfig{CountryHeader: "CF-IPCountry", RegionHeader: "CF-Region-Code"})
	f := func(country, region, wantCountry, wantRegion string) {
		t.Helper()
		for range 2 {
			got := g.Locate(netip.MustParseAddr("81.2.69.142"), []byte(country), []byte(region))
			if got != (Place{wantCountry, wantRegion}) {
				t.Errorf("%q and %.20q: got %+v, want %s and %s", country, region, got, wantCountry, wantRegion)
			}
		}
	}
	f("US", "CA", "US", "US-CA")
	f("us", "ca", "US", "US-CA")
	f("US", "US-CA", "US", "US-CA")
	f("US", "us-ca", "US", "US-CA")
	f("US", "CA-ON", "US", "")
	f("GB", "ENG", "GB", "GB-ENG")
	f("FR", "75", "FR", "FR-75")
	f("XK", "", "XK", "")
	f("US", "", "US", "")
	f("", "CA", "", "")
	f("", "", "", "")
	for _, bad := range []string{"XX", "T1", "ZZ", "EU", "AP", "A1", "UK", "USA", "U", "U ", " U", "--", "12", "Ü", "\xff\xff", "(null)", "${COUNTRY}"} {
		f(bad, "CA", "", "")
	}
	for _, bad := range []string{"CALI", "C-A", "US-", "US-CALI", "C A", "C\x00", "Ç", "unknown", "'", strings.Repeat("C", 10_000)} {
		f("US", bad, "US", "")
	}
	if g.Version() != "" {
		t.Errorf("version %q", g.Version())
	}
	if country, region := g.Headers(); country != "CF-IPCountry" || region != "CF-Region-Code" {
		t.Errorf("headers %s and %s", country, region)
	}
}

func TestBadDatabases(t *testing.T) {
	if _, err := OpenGeo(GeoConfig{Database: filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("a database that is not there was read")
	}
	for _, text := range []string{"", "x", "\xab\xcd\xefMaxMind.com", strings.Repeat("\x00", 10_000)} {
		if _, err := OpenGeo(GeoConfig{Database: writeFile(t, "bad.mmdb", []byte(text))}); err == nil {
			t.Errorf("%.20q was accepted", text)
		}
	}
}

func TestDatabasesWithoutCountries(t *testing.T) {
	for _, networks := range []map[string][]string{{}, {"81.2.69.0/24": {}}, {"81.2.69.0/24": {"XX"}}} {
		if _, err := OpenGeo(GeoConfig{Database: database(t, networks)}); err == nil || !strings.Contains(err.Error(), "country.iso_code") {
			t.Errorf("%v: %v", networks, err)
		}
	}
}

func TestKnownPlacesDoNotAllocate(t *testing.T) {
	db := openGeo(t, GeoConfig{Database: database(t, testNetworks)})
	headers := openGeo(t, GeoConfig{})
	addr := netip.MustParseAddr("81.2.70.1")
	country, region := []byte("us"), []byte("ca")
	if n := testing.AllocsPerRun(1000, func() { db.Locate(addr, nil, nil) }); n != 0 {
		t.Errorf("database: %v allocations", n)
	}
	if n := testing.AllocsPerRun(1000, func() { headers.Locate(addr, country, region) }); n != 0 {
		t.Errorf("headers: %v allocations", n)
	}
	if n := testing.AllocsPerRun(1000, func() { headers.Locate(addr, nil, nil) }); n != 0 {
		t.Errorf("no headers: %v allocations", n)
	}
}

func TestLocateConcurrently(t *testing.T) {
	g := openGeo(t, GeoConfig{Database: database(t, testNetworks)})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 10_000 {
				want := Place{"US", "US-CA"}
				if i%256 > 127 {
					want.Region = "US-NY"
				}
				if got := g.Locate(netip.AddrFrom4([4]byte{81, 2, 70, byte(i)}), nil, nil); got != want {
					t.Errorf("got %+v, want %+v", got, want)
					return
				}
			}
		})
	}
	wg.Wait()
}
