package network

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
)

func prefixes(tb testing.TB, texts ...string) *Prefixes {
	tb.Helper()
	p, err := ParsePrefixes(texts)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func lines(texts ...string) (all [][]byte) {
	for _, text := range texts {
		all = append(all, []byte(text))
	}
	return all
}

func TestClientIP(t *testing.T) {
	trusted := prefixes(t, "10.0.0.0/8", "192.0.2.7", "2001:db8:ffff::/48", "127.0.0.0/8")
	f := func(peer, want string, wantOK bool, forwarded ...string) {
		t.Helper()
		got, ok := ClientIP(netip.MustParseAddr(peer), lines(forwarded...), trusted)
		if got.String() != want || ok != wantOK {
			t.Errorf("%s from %s: got %s, %t, want %s, %t", forwarded, peer, got, ok, want, wantOK)
		}
	}
	const proxy, client = "10.1.2.3", "203.0.113.9"
	// Who is not trusted is the client.
	f(client, client, true)
	f(client, client, true, "198.51.100.1")
	f(client, client, true, "198.51.100.1", "198.51.100.2")
	f("::ffff:203.0.113.9", client, true, "198.51.100.1")
	f("2001:db8::1", "2001:db8::1", true, "198.51.100.1")
	f("fe80::1%eth0", "fe80::1", true)

	// The rightmost untrusted hop.
	f(proxy, client, true, client)
	f("::ffff:10.1.2.3", client, true, client)
	f("2001:db8:ffff::1", client, true, client)
	f(proxy, client, true, "1.2.3.4, "+client)
	f(proxy, client, true, "1.2.3.4,"+client+",10.0.0.1,192.0.2.7")
	f(proxy, client, true, "127.0.0.1, "+client)
	f(proxy, client, true, "unknown, <script>, "+client)
	f(proxy, client, true, " \t"+client+" \t")
	f(proxy, client, true, ",, ,"+client+", ,")
	f(proxy, client, true, strings.Repeat("1.2.3.4, ", 100)+client)
	f(proxy, client, true, client+strings.Repeat(", 10.0.0.1", 100))
	f(proxy, "172.16.0.1", true, "1.2.3.4, 172.16.0.1") // private, but not ours

	// Forms of an address.
	f(proxy, client, true, client+":4711")
	f(proxy, client, true, "::ffff:"+client)
	f(proxy, client, true, "[::ffff:"+client+"]:4711")
	f(proxy, "2001:db8::5", true, "2001:db8::5")
	f(proxy, "2001:db8::5", true, "2001:DB8:0::5")
	f(proxy, "2001:db8::5", true, "[2001:db8::5]")
	f(proxy, "2001:db8::5", true, "1.2.3.4, [2001:db8::5]:4711")

	// Nobody says who the client is.
	f(proxy, proxy, false)
	f(proxy, proxy, false, "")
	f(proxy, proxy, false, " , ,, ")
	f(proxy, proxy, false, client, client)
	f(proxy, proxy, false, client, "")
	f(proxy, proxy, false, "127.0.0.1")
	f(proxy, proxy, false, "10.0.0.1")
	f(proxy, proxy, false, "10.0.0.1, 192.0.2.7, 10.255.255.255")
	f(proxy, proxy, false, strings.Repeat("10.0.0.1, ", 2000)+client)
	for _, bad := range []string{
		"unknown", "_hidden", "localhost", "example.com", "-", "fe80::1%eth0", "[fe80::1%eth0]:80", "1.2.3", "1.2.3.4.5", "256.1.1.1",
		"01.2.3.4", "0x7f.1", "2130706433", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:123456", "1.2.3.4/24", "1.2.3.4;", "[1.2.3.4]",
		"[2001:db8::5", "2001:db8::5]", "[2001:db8::5]80", "[2001:db8::5]:", "[]", "[", "]", ":", "::", "0.0.0.0", "224.0.0.1", "ff02::1",
		`"1.2.3.4"`, `for=1.2.3.4`, "1.2.3.4 1.2.3.5", "1.2.3.4\r\nX: y", "\x00", "１.2.3.4", strings.Repeat("1", 10_000),
	} {
		f(proxy, proxy, false, bad)
		f(proxy, proxy, false, client+", "+bad)
		f(proxy, proxy, false, client+", "+bad+", 10.0.0.1")
	}
	if got, ok := ClientIP(netip.Addr{}, lines(client), trusted); ok || got.IsValid() {
		t.Errorf("without a peer: got %s, %t", got, ok)
	}
	if got, ok := ClientIP(netip.MustParseAddr(proxy), lines(client), nil); !ok || got.String() != proxy {
		t.Errorf("without trusted proxies: got %s, %t", got, ok)
	}
}

func TestTruncate(t *testing.T) {
	f := func(addr, want string) {
		t.Helper()
		if got := Truncate(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
	f("203.0.113.255", "203.0.113.0")
	f("203.0.113.0", "203.0.113.0")
	f("::ffff:203.0.113.9", "203.0.113.0")
	f("2001:db8:1:2:3:4:5:6", "2001:db8:1::")
	f("fe80::1%eth0", "fe80::")
	if Truncate(netip.Addr{}).IsValid() {
		t.Error("the address that is none became one")
	}
}

func TestHitsDoNotAllocate(t *testing.T) {
	trusted := prefixes(t, "10.0.0.0/8")
	peer := netip.MustParseAddr("10.1.2.3")
	f := func(name string, run func()) {
		t.Helper()
		if n := testing.AllocsPerRun(1000, run); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	for _, text := range []string{"203.0.113.9", "1.2.3.4, [2001:db8::5]:80, 10.0.0.1"} {
		forwarded := lines(text)
		f(text, func() { ClientIP(peer, forwarded, trusted) })
	}
	f("truncate", func() { Truncate(peer) })
	f("ranges", func() { trusted.Contains(peer) })
}

// Whatever the header says, the address comes from the peer or from the header,
// is never a trusted proxy's as that of the client, and what the client writes
// to the left of the true entry changes nothing.
func FuzzXForwardedFor(f *testing.F) {
	trusted := prefixes(f, "10.0.0.0/8", "2001:db8:ffff::/48")
	for _, seed := range []string{
		"", ",", "203.0.113.9", "1.2.3.4, 203.0.113.9, 10.0.0.1", "unknown", "[2001:db8::5]:80", "fe80::1%eth0", "::ffff:10.0.0.1", "1.2.3.4:80",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	peer := netip.MustParseAddr("10.1.2.3")
	f.Fuzz(func(t *testing.T, forwarded []byte, twice bool) {
		before := bytes.Clone(forwarded)
		header := [][]byte{forwarded}
		if twice {
			header = append(header, forwarded)
		}
		got, ok := ClientIP(peer, header, trusted)
		switch {
		case !bytes.Equal(before, forwarded):
			t.Fatal("the header was written to")
		case !ok && got != peer:
			t.Fatalf("%s without ok", got)
		case ok && (twice || !got.IsValid() || trusted.Contains(got) || got.Zone() != "" || got.Is4In6()):
			t.Fatalf("%s is the client", got)
		}
		if twice || !ok || len(forwarded) > maxForwarded-100 {
			return
		}
		for _, forged := range []string{"198.51.100.1, ", "unknown,", ",", "10.0.0.1, "} {
			again, ok := ClientIP(peer, [][]byte{append([]byte(forged), forwarded...)}, trusted)
			if !ok || again != got {
				t.Fatalf("with %q before it: got %s, %t, want %s", forged, again, ok, got)
			}
		}
		if again, ok := ClientIP(peer, [][]byte{append(bytes.Clone(forwarded), ", 10.0.0.1"...)}, trusted); !ok || again != got {
			t.Fatalf("behind one more proxy: got %s, %t, want %s", again, ok, got)
		}
	})
}
