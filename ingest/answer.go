package ingest

import (
	"errors"
	"net"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/adtally/adtally/ingest/jsonscan"
	"github.com/adtally/adtally/ingest/token"
)

// pixel is a transparent GIF of one by one pixel.
var pixel = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")

const (
	pixelCaching = "no-store, no-cache, must-revalidate, private"
	retryAfter   = "1" // seconds
)

// problem is an error answer (RFC 9457) with a stable code.
type problem struct {
	status int
	code   string
	title  string
	field  string
	detail string
}

var (
	errNotFound    = &problem{status: 404, code: "not_found", title: "No beacon endpoint has this path"}
	errMethod      = &problem{status: 405, code: "method_not_allowed", title: "The endpoint does not take this method"}
	errLength      = &problem{status: 411, code: "length_required", title: "Send a Content-Length and no Transfer-Encoding"}
	errHeader      = &problem{status: 431, code: "header_too_large", title: "The request line and headers are too large"}
	errTimeout     = &problem{status: 408, code: "timeout", title: "The request did not arrive in time"}
	errRequest     = &problem{status: 400, code: "bad_request", title: "The request is not HTTP as this server reads it"}
	errUnavailable = &problem{status: 503, code: "unavailable", title: "The events could not be stored; try again"}
	errInternal    = &problem{status: 500, code: "internal", title: "The request met a fault of this server"}
	errNoKey       = &problem{status: 401, code: "unauthorized", title: "Send a valid API key as Authorization: Bearer <key>"}
	errKeysAway    = &problem{status: 503, code: "unavailable", title: "API keys cannot be checked at present; try again"}
	errScope       = &problem{status: 403, code: "forbidden", title: "The API key lacks the scope ingest"}
	errMediaType   = &problem{
		status: 415, code: "unsupported_media_type", title: "The body must be JSON",
		field: "Content-Type", detail: "use application/json, application/x-ndjson or text/plain",
	}
	errLimited = &problem{status: 429, code: string(reasonLimited), title: "The advertiser sends more events than it may; nothing was counted"}
	errGzip    = &problem{status: 400, code: "bad_encoding", title: "The body is not gzip", field: "Content-Encoding"}

	errEncoding = &problem{
		status: 415, code: "unsupported_encoding", title: "The body may be packed with gzip only", field: "Content-Encoding",
	}
)

func (s *Server) tooLarge(what string, limit int) *problem {
	return &problem{
		status: 413, code: "too_large", title: "The request is too large; nothing was counted",
		detail: what + " are limited to " + strconv.Itoa(limit),
	}
}

// refuse answers with p. The connection stays usable: the request was read
// whole.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, p *problem) {
	body := append(make([]byte, 0, 256), `{"code":`...)
	body = jsonscan.Append(body, p.code)
	body = append(body, `,"title":`...)
	body = jsonscan.Append(body, p.title)
	body = append(body, `,"status":`...)
	body = strconv.AppendInt(body, int64(p.status), 10)
	if p.field != "" {
		body = append(body, `,"field":`...)
		body = jsonscan.Append(body, p.field)
	}
	if p.detail != "" {
		body = append(body, `,"detail":`...)
		body = jsonscan.Append(body, p.detail)
	}
	ctx.Response.SetBodyRaw(append(body, '}'))
	ctx.Response.SetStatusCode(p.status)
	h := &ctx.Response.Header
	h.SetContentType("application/problem+json")
	h.Set("Cache-Control", "no-store")
	switch p.status {
	case fasthttp.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfter)
	case fasthttp.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	}
}

// tokenRejection translates an error of token.Keyring.
func tokenRejection(err error) rejection {
	if errors.Is(err, token.ErrSignature) {
		return rejection{reason: reasonSignature, field: fieldNames[fieldToken], unsigned: true}
	}
	if bad, ok := errors.AsType[*token.FieldError](err); ok {
		return rejection{reason: reasonToken, field: "token." + bad.Field, detail: bad.Problem}
	}
	return rejection{reason: reasonToken, field: fieldNames[fieldToken], detail: err.Error(), unsigned: errors.Is(err, token.ErrSyntax)}
}

func answerPixel(ctx *fasthttp.RequestCtx) {
	ctx.Response.SetBodyRaw(pixel)
	ctx.Response.Header.SetContentType("image/gif")
	ctx.Response.Header.Set("Cache-Control", pixelCaching)
}

// answerRedirect sends the browser to a landing URL that was validated.
func answerRedirect(ctx *fasthttp.RequestCtx, url string) {
	ctx.Response.SetStatusCode(fasthttp.StatusFound)
	ctx.Response.Header.Set("Location", url)
	ctx.Response.Header.Set("Cache-Control", "no-store")
}

// allowOrigin lets a page of any origin send client batches, with cookies of
// its own, and read the answer.
func allowOrigin(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.Set("Vary", "Origin")
	if origin := ctx.Request.Header.Peek("Origin"); len(origin) > 0 {
		h.SetBytesV("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Expose-Headers", "Retry-After")
	}
}

func answerPreflight(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.Set("Access-Control-Allow-Methods", "POST, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Content-Type, Content-Encoding")
	h.Set("Access-Control-Max-Age", "86400")
	ctx.Response.SetStatusCode(fasthttp.StatusNoContent)
}

// unreadable answers what could not be read as a request; fasthttp closes the
// connection after it.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	s.metrics.broken.Inc()
	rt, _ := s.match(ctx.Request.URI().PathOriginal())
	if rt == routeClient || rt == routeDoctor {
		allowOrigin(ctx)
	}
	p := errRequest
	var header *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.As(err, &header):
		p = errHeader
	case errors.Is(err, fasthttp.ErrUnsupportedTransferEncoding):
		p = errLength
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		p = s.tooLarge("bytes of the body", s.cfg.MaxBody)
	case errors.As(err, &timeout) && timeout.Timeout():
		p = errTimeout
	}
	s.refuse(ctx, p)
	s.metrics.request(rt, p.status)
}
