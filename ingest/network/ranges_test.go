package network

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeFile(tb testing.TB, name string, text []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func TestLoadRanges(t *testing.T) {
	text := "\ufeff# version: 2026-11-20 \r\n# data centres\r\n\r\n192.0.2.0/24\r\n  198.51.100.7   # one machine\n2001:db8::/32\n192.0.2.0/25\n#203.0.113.0/24"
	r, err := LoadRanges(writeFile(t, "dc.txt", []byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	if r.Name() != "dc.txt" || r.Version() != "2026-11-20" || r.Len() != 4 {
		t.Errorf("got %s %s with %d networks", r.Name(), r.Version(), r.Len())
	}
	for addr, want := range map[string]bool{
		"192.0.2.0": true, "192.0.2.255": true, "::ffff:192.0.2.9": true, "192.0.3.0": false, "198.51.100.7": true, "198.51.100.8": false,
		"2001:db8:ffff::1": true, "2001:db9::": false, "203.0.113.1": false, "::": false, "0.0.0.0": false,
	} {
		if got := r.Contains(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %t, want %t", addr, got, want)
		}
	}
	if r.Contains(netip.Addr{}) {
		t.Error("the address that is none is in the list")
	}
}

func TestVersionOfRanges(t *testing.T) {
	load := func(text string) *Ranges {
		r, err := LoadRanges(writeFile(t, "dc.txt", []byte(text)))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	a, b, again := load("192.0.2.0/24\n"), load("192.0.2.0/25\n"), load("192.0.2.0/24\n")
	if len(a.Version()) != 12 || a.Version() == b.Version() || a.Version() != again.Version() {
		t.Errorf("versions %s, %s and %s", a.Version(), b.Version(), again.Version())
	}
	if got := load("").Len(); got != 0 {
		t.Errorf("an empty list has %d networks", got)
	}
	if got := load("#version:x\n# version: y\n").Version(); got != "x" {
		t.Errorf("version %q", got)
	}
}

func TestBadRanges(t *testing.T) {
	f := func(line string) {
		t.Helper()
		_, err := LoadRanges(writeFile(t, "dc.txt", []byte("192.0.2.0/24\n# fine\n"+line+"\n")))
		if err == nil || !strings.Contains(err.Error(), "line 3") {
			t.Errorf("%q: %v", line, err)
		}
	}
	for _, line := range []string{
		"x", "192.0.2", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/24/24", "192.0.2.1/24", "0.0.0.0/0", "::/0", "2001:db8::/129", "2001:db8::1/32",
		"fe80::1%eth0", "::ffff:192.0.2.0/120", "::ffff:192.0.2.1", "192.0.2.0 192.0.3.0", "192.0.2.0-192.0.2.9", "AS64500", "192.0.2.0/24,x",
		"# version: " + strings.Repeat("x", 100), strings.Repeat("x", 100_000),
	} {
		f(line)
	}
	if _, err := LoadRanges(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a list that is not there was read")
	}
}

func TestParsePrefixes(t *testing.T) {
	if _, err := ParsePrefixes([]string{"10.0.0.0/8", "10.0.0.1/8"}); err == nil || !strings.Contains(err.Error(), "write 10.0.0.0/8") {
		t.Errorf("host bits: %v", err)
	}
	var none *Prefixes
	if none.Contains(netip.MustParseAddr("10.0.0.1")) || none.Len() != 0 {
		t.Error("a nil set is not empty")
	}
	if p := prefixes(t); p.Contains(netip.MustParseAddr("10.0.0.1")) || p.Len() != 0 {
		t.Error("a set of nothing is not empty")
	}
}
