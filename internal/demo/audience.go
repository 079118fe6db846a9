package demo

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strconv"
)

// profile is what a person looks at an ad with.
type profile struct {
	share               float64
	device, os, browser string
	userAgent           string
}

// people are the profiles of each channel.
var people = map[channel][]profile{
	web: {
		{24, "mobile", "ios", "safari", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"},
		{26, "mobile", "android", "chrome", "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36"},
		{3, "mobile", "android", "firefox", "Mozilla/5.0 (Android 15; Mobile; rv:142.0) Gecko/142.0 Firefox/142.0"},
		{20, "desktop", "windows", "chrome", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"},
		{7, "desktop", "windows", "edge", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0"},
		{3, "desktop", "windows", "firefox", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:142.0) Gecko/20100101 Firefox/142.0"},
		{6, "desktop", "macos", "safari", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15"},
		{5, "desktop", "macos", "chrome", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"},
		{2, "desktop", "linux", "firefox", "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0"},
		{4, "tablet", "ios", "safari", "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"},
	},
	app: {
		{48, "mobile", "ios", "webview", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"},
		{45, "mobile", "android", "webview", "Mozilla/5.0 (Linux; Android 15; Pixel 9 Build/BP2A.250805.005; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/140.0.7339.51 Mobile Safari/537.36"},
		{7, "tablet", "android", "webview", "Mozilla/5.0 (Linux; Android 14; SM-X710 Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/140.0.7339.51 Safari/537.36"},
	},
	server: {
		{38, "tv", "tizen", "samsung", "Mozilla/5.0 (SMART-TV; LINUX; Tizen 8.0) AppleWebKit/537.36 (KHTML, like Gecko) Version/8.0 TV Safari/537.36"},
		{30, "tv", "webos", "lg", "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 WebAppManager"},
		{32, "tv", "android", "webview", "Mozilla/5.0 (Linux; Android 12; Chromecast Build/STTL.240206.001; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/120.0.6099.144 Safari/537.36"},
	},
}

// robots say what they are.
var robots = []profile{
	{40, "desktop", "other", "other", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"},
	{25, "desktop", "other", "other", "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"},
	{20, "desktop", "linux", "other", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36"},
	{10, "desktop", "other", "other", "python-requests/2.32.3"},
	{5, "desktop", "other", "other", "curl/8.14.1"},
}

// macros are what a page sends when nobody fills them in.
var macros = []string{"${CACHEBUSTER}", "[timestamp]", "%%CACHEBUSTER%%"}

// What is reserved for documentation (RFC 5737, RFC 3849): traffic from there
// cannot be anybody's.
var (
	documentation4 = [][3]byte{{192, 0, 2}, {198, 51, 100}, {203, 0, 113}}
	documentation6 = [4]byte{0x20, 0x01, 0x0d, 0xb8}
)

const (
	ipv6Share = 0.3
	audience  = 40_000 // people per advertiser
)

// address draws a client address.
func address(r *rand.Rand) string {
	if r.Float64() >= ipv6Share {
		net := anyOf(r, documentation4)
		return netip.AddrFrom4([4]byte{net[0], net[1], net[2], byte(1 + r.IntN(254))}).String()
	}
	var ip [16]byte
	copy(ip[:], documentation6[:])
	binary.BigEndian.PutUint32(ip[4:], r.Uint32())
	binary.BigEndian.PutUint64(ip[8:], r.Uint64())
	return netip.AddrFrom16(ip).String()
}

// person draws who looks: some are online a lot more than others.
func person(r *rand.Rand) string {
	f := r.Float64()
	return "u-" + strconv.Itoa(int(f*f*audience))
}
