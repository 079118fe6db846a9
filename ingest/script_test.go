package ingest

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/adtally/adtally/ingest/tag"
	"github.com/adtally/adtally/proto"
)

func TestScriptIsSmall(t *testing.T) {
	t.Parallel()
	const limit = 4096
	if n := len(newPageScript().packed); n >= limit {
		t.Errorf("beacon.js has %d bytes in gzip, want less than %d", n, limit)
	}
}

func TestScriptIsServedAndCached(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"/", "/stats/v/"} {
		r := start(t, func(c *Config) { c.PathPrefix = prefix })
		get := func(method string, status int, headers ...string) answer {
			t.Helper()
			a := r.do(method, prefix+"beacon.js", "", headers...)
			a.want(t, status)
			return a
		}
		plain := get("GET", 200, "Accept-Encoding: identity")
		if plain.body != string(tag.Script()) || plain.header.Get("Content-Type") != "text/javascript; charset=utf-8" {
			t.Errorf("%d bytes, %v", len(plain.body), plain.header)
		}
		packed := get("GET", 200, "Accept-Encoding: gzip, br")
		unpacked, err := gzip.NewReader(strings.NewReader(packed.body))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(unpacked)
		if err != nil || !bytes.Equal(text, tag.Script()) {
			t.Errorf("unpacked: %d bytes, %v", len(text), err)
		}
		etag := packed.header.Get("ETag")
		if etag == "" || etag == plain.header.Get("ETag") {
			t.Errorf("ETags %q and %q", etag, plain.header.Get("ETag"))
		}
		for name, want := range map[string]string{
			"Cache-Control": scriptCaching, "Vary": "Accept-Encoding", "Access-Control-Allow-Origin": "*",
			"Cross-Origin-Resource-Policy": "cross-origin", "X-Content-Type-Options": "nosniff", "Content-Encoding": "gzip",
		} {
			if got := packed.header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		for _, list := range []string{etag, `"x", W/` + etag, "*"} {
			again := get("GET", 304, "Accept-Encoding: gzip", "If-None-Match: "+list)
			if again.body != "" || again.header.Get("ETag") != etag || again.header.Get("Cache-Control") != scriptCaching {
				t.Errorf("%s: %q %v", list, again.body, again.header)
			}
		}
		get("GET", 200, "If-None-Match: \"other\"")
		if head := get("HEAD", 200, "Accept-Encoding: gzip"); head.body != "" || head.header.Get("ETag") != etag {
			t.Errorf("HEAD: %v", head.header)
		}
		r.do("POST", prefix+"beacon.js", "").want(t, 405)
		r.do("GET", prefix+"beacon.jsx", "").want(t, 404)
	}
}

// A page whose clock is wrong says with its batch what it shows.
func TestTimesOfAWrongClock(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	n := 0
	// f sends an event that happened ago, by a clock that is wrong by off, and
	// wants it placed at want before now.
	f := func(sent string, off, ago, want time.Duration, flags uint32) {
		t.Helper()
		clock := time.Now().Add(off)
		at := clock.Add(-ago).UnixMilli()
		if sent == "" {
			sent = "&sent=" + decimal(uint64(clock.UnixMilli()))
		}
		r.do("POST", "/e?cb=1"+sent, `[{"token":"`+r.sign(nil)+`","type":"impression","time":`+decimal(uint64(at))+`}]`,
			"Content-Type: text/plain").want(t, 202, `"accepted":1`)
		n++
		e := newest(r, n)
		got := time.Duration(e.ReceivedUs-e.TimeUs) * time.Microsecond
		if (got-want).Abs() > 20*time.Second || e.InvalidFlags != flags {
			t.Errorf("off %s, ago %s: placed %s before its arrival with flags %b, want %s", off, ago, got, e.InvalidFlags, want)
		}
	}
	const never = "&x=y"
	f("", 0, 10*time.Second, 10*time.Second, 0)
	f("", 2*time.Hour, time.Hour, time.Hour, 0)
	f("", -2*time.Hour, time.Hour, time.Hour, 0)
	f("", 40*24*time.Hour, 0, 0, 0)
	f(never, time.Hour, 0, 0, uint32(proto.FlagFutureTime))
	f(never, -time.Hour, 0, time.Hour, 0)
	f("&sent=yesterday", -time.Hour, 0, time.Hour, 0)
	f("&sent=99999999999999999999", -time.Hour, 0, time.Hour, 0)
}
