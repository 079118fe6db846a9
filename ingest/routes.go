package ingest

import (
	"bytes"
	"fmt"
	"runtime/debug"

	"github.com/valyala/fasthttp"
)

// route is an endpoint, as routed and as counted.
type route uint8

const (
	routeOther route = iota
	routeImpression
	routeViewable
	routeClick
	routeVideo
	routeClient
	routeServer
	routeDoctor
	routeScript
	routes
)

var routeNames = [routes]string{"other", "impression", "viewable", "click", "video", "client_batch", "server_batch", "doctor", "script"}

// serve answers one request, whatever happens.
func (s *Server) serve(ctx *fasthttp.RequestCtx) {
	s.inFlight.Add(1)
	rt, rest := s.match(ctx.Request.URI().PathOriginal())
	defer func() {
		if fault := recover(); fault != nil {
			s.contain(ctx, fault)
		}
		s.metrics.request(rt, ctx.Response.StatusCode())
		s.inFlight.Add(-1)
	}()
	h := &ctx.Request.Header
	if !h.IsHTTP11() && string(h.Protocol()) != "HTTP/1.0" {
		s.refuse(ctx, errRequest)
		ctx.SetConnectionClose()
		return
	}
	if h.ConnectionClose() {
		if p := misframed(h.RawHeaders()); p != nil {
			s.refuse(ctx, p)
			return
		}
	}
	switch rt {
	case routeImpression, routeViewable, routeClick, routeVideo:
		if !ctx.IsGet() && !ctx.IsHead() {
			s.refuseMethod(ctx, "GET, HEAD")
			return
		}
		s.beacon(ctx, rt, rest)
	case routeClient:
		s.pageRoute(ctx, s.clientBatch)
	case routeDoctor:
		s.pageRoute(ctx, s.doctorRoute)
	case routeScript:
		s.scriptRoute(ctx)
	case routeServer:
		if !ctx.IsPost() {
			s.refuseMethod(ctx, "POST")
			return
		}
		s.serverBatch(ctx)
	default:
		s.refuse(ctx, errNotFound)
	}
}

// pageRoute answers an endpoint that pages of any origin may post to.
func (s *Server) pageRoute(ctx *fasthttp.RequestCtx, post fasthttp.RequestHandler) {
	allowOrigin(ctx)
	switch {
	case ctx.IsPost():
		post(ctx)
	case ctx.IsOptions():
		answerPreflight(ctx)
	default:
		s.refuseMethod(ctx, "POST, OPTIONS")
	}
}

// match finds the endpoint of a path as it was sent: nothing is unescaped and
// no dots or slashes are folded, so a path is known or it is not.
func (s *Server) match(path []byte) (route, []byte) {
	rest, ok := bytes.CutPrefix(path, []byte(s.cfg.PathPrefix))
	if !ok {
		return routeOther, nil
	}
	switch string(rest) {
	case "e":
		return routeClient, nil
	case "v1/events":
		return routeServer, nil
	case "doctor":
		return routeDoctor, nil
	case "beacon.js":
		return routeScript, nil
	}
	if len(rest) < 3 || rest[1] != '/' {
		return routeOther, nil
	}
	switch rest[0] {
	case 'i':
		return routeImpression, rest[2:]
	case 'v':
		return routeViewable, rest[2:]
	case 'c':
		return routeClick, rest[2:]
	case 't':
		return routeVideo, rest[2:]
	default:
		return routeOther, nil
	}
}

// refuseMethod also ends the connection: who asks for what no beacon needs has
// nothing more to say.
func (s *Server) refuseMethod(ctx *fasthttp.RequestCtx, allow string) {
	s.refuse(ctx, errMethod)
	ctx.Response.Header.Set("Allow", allow)
	ctx.SetConnectionClose()
}

// contain turns a panic of one request into its answer. The request's memory
// is not reused: who still holds what is unknown.
func (s *Server) contain(ctx *fasthttp.RequestCtx, fault any) {
	s.metrics.panics.Inc()
	s.log.Error().Str("panic", clipLog(fmt.Sprint(fault))).Bytes("stack", debug.Stack()).Msg("request panicked")
	ctx.Response.Reset()
	s.refuse(ctx, errInternal)
	ctx.SetConnectionClose()
}

// headerReceived takes the body off a request whose end is not certain, so that
// it is not read, and has the connection closed after it: serve refuses it.
func (s *Server) headerReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if misframed(h.RawHeaders()) != nil {
		h.SetContentLength(0)
		h.SetConnectionClose()
	}
	return fasthttp.RequestConfig{}
}

// expect answers a client that asks before it sends its body.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	h := &ctx.Request.Header
	p := misframed(h.RawHeaders())
	if p == nil {
		if h.ContentLength() <= s.cfg.MaxBody {
			return fasthttp.StatusContinue
		}
		p = s.tooLarge("bytes of the body", s.cfg.MaxBody)
	}
	rt, _ := s.match(ctx.Request.URI().PathOriginal())
	s.refuse(ctx, p)
	s.metrics.request(rt, p.status)
	return p.status
}

// misframed refuses header lines that another server on the way may read
// differently than fasthttp does: any transfer encoding (it keeps chunked and
// drops identity), folded lines, and lines that end without a carriage return.
func misframed(raw []byte) *problem {
	const name = "transfer-encoding"
	for len(raw) > 0 {
		end := bytes.IndexByte(raw, '\n')
		switch c := raw[0]; {
		case c == ' ' || c == '\t' || end < 1 || raw[end-1] != '\r':
			return errRequest
		case c|0x20 == 't' && end > len(name) && bytes.EqualFold(raw[:len(name)], []byte(name)):
			return errLength
		}
		raw = raw[end+1:]
	}
	return nil
}
