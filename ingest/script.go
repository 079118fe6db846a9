package ingest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"

	"github.com/valyala/fasthttp"

	"github.com/adtally/adtally/ingest/tag"
)

// scriptCaching lets browsers use beacon.js for an hour without asking, and for
// a day while they ask in the background.
const scriptCaching = "public, max-age=3600, stale-while-revalidate=86400"

// pageScript is beacon.js as it is sent.
type pageScript struct {
	plain, packed       []byte
	plainTag, packedTag []byte // ETags; each encoding has its own (RFC 9110, 8.8.3)
}

func newPageScript() *pageScript {
	p := &pageScript{plain: tag.Script()}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(p.plain)
	}
	if err != nil || w.Close() != nil {
		panic("BUG: gzip in memory fails")
	}
	p.packed = packed.Bytes()
	sum := sha256.Sum256(p.plain)
	name := hex.EncodeToString(sum[:8])
	p.plainTag, p.packedTag = []byte(`"`+name+`"`), []byte(`"`+name+`-gzip"`)
	return p
}

// scriptRoute answers GET /beacon.js, for pages of any origin.
func (s *Server) scriptRoute(ctx *fasthttp.RequestCtx) {
	if !ctx.IsGet() && !ctx.IsHead() {
		s.refuseMethod(ctx, "GET, HEAD")
		return
	}
	body, etag := s.script.plain, s.script.plainTag
	h := &ctx.Response.Header
	if ctx.Request.Header.HasAcceptEncoding("gzip") {
		body, etag = s.script.packed, s.script.packedTag
		h.Set("Content-Encoding", "gzip")
	}
	h.SetBytesV("ETag", etag)
	h.Set("Cache-Control", scriptCaching)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	if matches(ctx.Request.Header.Peek("If-None-Match"), etag) {
		h.Del("Content-Encoding")
		ctx.Response.SetStatusCode(fasthttp.StatusNotModified)
		return
	}
	h.SetContentType("text/javascript; charset=utf-8")
	ctx.Response.SetBodyRaw(body)
}

// matches reports whether a list of ETags names one, by weak comparison: a
// proxy may have made it weak.
func matches(list, etag []byte) bool {
	for one := range bytes.SplitSeq(list, []byte(",")) {
		one = bytes.TrimPrefix(bytes.TrimSpace(one), []byte("W/"))
		if bytes.Equal(one, etag) || string(one) == "*" {
			return true
		}
	}
	return false
}
