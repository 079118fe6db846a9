//go:build !race

package ingest

import (
	"bufio"
	"bytes"
	"fmt"
	"testing"

	"github.com/valyala/fasthttp"
)

// TestBeaconAllocatesNothing runs the path of a pixel and of a click from the
// bytes of the request to the sink, and back to the answer, with consent, lists,
// places and limits: 0 allocations. What
// a beacon allocates beyond that is inside the Kafka client. (The race detector
// makes sync.Pool forget on purpose, hence the build tag.)
func TestBeaconAllocatesNothing(t *testing.T) {
	s := offline(t, discard{})
	tok := newRing(t).Sign(nil, fullToken())
	f := func(path, query string, status int, headers string) {
		t.Helper()
		request := fmt.Appendf(nil, "GET %s%s?cb=1234567&ts=%s%s HTTP/1.1\r\nHost: h\r\n%s\r\n", path, tok, "%5BTS%5D", query, headers)
		var ctx fasthttp.RequestCtx
		in := bytes.NewReader(request)
		br := bufio.NewReaderSize(in, 8<<10)
		run := func() {
			in.Reset(request)
			br.Reset(in)
			ctx.Request.Reset()
			ctx.Response.Reset()
			if err := ctx.Request.Read(br); err != nil {
				t.Fatal(err)
			}
			s.serve(&ctx)
			if ctx.Response.StatusCode() != status {
				t.Fatalf("%d %s", ctx.Response.StatusCode(), ctx.Response.Body())
			}
		}
		run()
		if n := testing.AllocsPerRun(1000, run); n != 0 {
			t.Errorf("%s: %v allocations, want 0", path, n)
		}
	}
	f("/i/", "", 200, browserHeaders)
	f("/i/", "&gdpr=1&gdpr_consent="+tcfGrants+"&gpp=DBABLA~BVVqAAAAAWA&gpp_sid=7&us_privacy=1YNN", 200, browserHeaders)
	f("/c/", "", 302, "User-Agent: "+googlebot+"\r\nSec-Purpose: prefetch\r\nSec-GPC: 1\r\nX-Forwarded-For: 81.2.70.1, 192.0.2.1\r\n")
}

// TestBatchAllocations runs a batch of 100 the same way: 0 allocations an
// event; the request itself has the copy of its key and the context of the
// look-up.
func TestBatchAllocations(t *testing.T) {
	s := offline(t, discard{})
	body := serverBody(100)
	request := fmt.Appendf(nil, "POST /v1/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer all\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	var ctx fasthttp.RequestCtx
	in := bytes.NewReader(request)
	br := bufio.NewReaderSize(in, 8<<10)
	run := func() {
		in.Reset(request)
		br.Reset(in)
		ctx.Request.Reset()
		ctx.Response.Reset()
		if err := ctx.Request.Read(br); err != nil {
			t.Fatal(err)
		}
		s.serve(&ctx)
		if ctx.Response.StatusCode() != 202 {
			t.Fatalf("%d %s", ctx.Response.StatusCode(), ctx.Response.Body())
		}
	}
	run()
	if n := testing.AllocsPerRun(200, run); n > 8 {
		t.Errorf("%v allocations for 100 events, want at most 8", n)
	}
}
