package network

import (
	"bytes"
	"net/netip"
	"unsafe"
)

// Bounds of X-Forwarded-For: of a header line, and of one address in it, in
// brackets and with a port.
const (
	maxForwarded = 8192
	maxHop       = 64
)

// ClientIP returns the address of the client: the rightmost hop that is not a
// trusted proxy. peer is the other end of the connection, and forwarded are the
// lines of X-Forwarded-For, of which the rightmost entry is the peer of our own
// proxy.
//
// ok says that the address is the client's. It is false if the request came over
// trusted proxies and they do not say for whom: there is no header line, or more
// than one, the chain holds trusted proxies only, or the entry where the client
// should be is no address. Then the address is the peer's and must not be used
// for what depends on the client, such as geography and data-centre ranges.
//
// A peer that is not trusted is the client, whatever it says. An entry that a
// client can write, as the leftmost one, is never believed. ClientIP does not
// keep forwarded and does not allocate.
func ClientIP(peer netip.Addr, forwarded [][]byte, trusted *Prefixes) (addr netip.Addr, ok bool) {
	peer = peer.Unmap().WithZone("")
	if !trusted.Contains(peer) {
		return peer, peer.IsValid()
	}
	if len(forwarded) != 1 || len(forwarded[0]) > maxForwarded {
		return peer, false
	}
	for rest := forwarded[0]; len(rest) > 0; {
		start := bytes.LastIndexByte(rest, ',') + 1
		hop := bytes.Trim(rest[start:], " \t")
		rest = rest[:max(start-1, 0)]
		if len(hop) == 0 {
			continue // RFC 9110 has empty elements of lists ignored
		}
		addr, ok = parseHop(hop)
		if !ok {
			return peer, false
		}
		if !trusted.Contains(addr) {
			return addr, true
		}
	}
	return peer, false
}

// parseHop reads an address with or without a port: 192.0.2.1, 192.0.2.1:80,
// 2001:db8::1, [2001:db8::1] and [2001:db8::1]:80. Addresses that no client can
// have are refused, as are those with a zone, which mean something on one
// machine only.
func parseHop(text []byte) (netip.Addr, bool) {
	if len(text) > maxHop {
		return netip.Addr{}, false
	}
	switch {
	case text[0] == '[':
		end := bytes.IndexByte(text, ']')
		if end < 0 || !port(text[end+1:]) || bytes.IndexByte(text[:end], ':') < 0 {
			return netip.Addr{}, false
		}
		text = text[1:end]
	case bytes.Count(text, []byte(":")) == 1:
		colon := bytes.IndexByte(text, ':')
		if !port(text[colon:]) {
			return netip.Addr{}, false
		}
		text = text[:colon]
	}
	addr, err := netip.ParseAddr(alias(text))
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	addr = addr.Unmap()
	if addr.IsUnspecified() || addr.IsMulticast() {
		return netip.Addr{}, false
	}
	return addr, true
}

// port reports whether text is empty or a colon and a number.
func port(text []byte) bool {
	if len(text) == 0 {
		return true
	}
	if text[0] != ':' || len(text) < 2 || len(text) > 6 {
		return false
	}
	for _, c := range text[1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// alias reads bytes as a string without a copy, for functions that do not keep
// it. netip.ParseAddr keeps it in its error, which is dropped.
func alias(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) // #nosec G103 -- a copy is an allocation per hop; see BenchmarkClientIP
}

// Truncate returns the part of an address that may be kept: the network of 24
// bits in IPv4 and of 48 bits in IPv6.
func Truncate(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return netip.Addr{} // of an address that is not valid
	}
	return prefix.Addr()
}
