package network

import (
	"net/netip"
	"testing"
)

func BenchmarkClientIP(b *testing.B) {
	trusted := prefixes(b, "10.0.0.0/8", "192.168.0.0/16", "2001:db8:ffff::/48")
	for _, c := range []struct{ name, peer, forwarded string }{
		{"direct", "203.0.113.9", ""},
		{"hops=1", "10.1.2.3", "203.0.113.9"},
		{"hops=3", "10.1.2.3", "1.2.3.4, 2001:db8::5, 10.0.0.1"},
	} {
		b.Run(c.name, func(b *testing.B) {
			peer, forwarded := netip.MustParseAddr(c.peer), lines(c.forwarded)
			b.ReportAllocs()
			for b.Loop() {
				ClientIP(peer, forwarded, trusted)
			}
		})
	}
}

func BenchmarkContains(b *testing.B) {
	p := prefixes(b)
	for i := range 20_000 { // about as many as all large clouds have
		p.table.Insert(netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i >> 8), byte(i), byte(i * 7), 0}), 24).Masked())
	}
	addr := netip.MustParseAddr("52.95.110.1")
	b.ReportAllocs()
	for b.Loop() {
		p.Contains(addr)
	}
}

func BenchmarkLocate(b *testing.B) {
	addr := netip.MustParseAddr("81.2.70.1")
	b.Run("database", func(b *testing.B) {
		g := openGeo(b, GeoConfig{Database: database(b, testNetworks)})
		b.ReportAllocs()
		for b.Loop() {
			g.Locate(addr, nil, nil)
		}
	})
	b.Run("decode", func(b *testing.B) {
		g := openGeo(b, GeoConfig{Database: database(b, testNetworks)})
		b.ReportAllocs()
		for b.Loop() {
			decode(g.db.Lookup(addr))
		}
	})
	b.Run("headers", func(b *testing.B) {
		g := openGeo(b, GeoConfig{})
		country, region := []byte("US"), []byte("CA")
		b.ReportAllocs()
		for b.Loop() {
			g.Locate(addr, country, region)
		}
	})
}
