package ingest

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/adtally/adtally/ingest/jsonscan"
)

const scopeIngest = "ingest"

// clientBatch answers POST /e: events with tokens, from apps and pages.
func (s *Server) clientBatch(ctx *fasthttp.RequestCtx) {
	r, ok := s.read(ctx, routeClient, clientFields)
	if !ok {
		return
	}
	sc := acquire(&s.batches)
	v := &sc.visit
	s.visit(v, &ctx.Request.Header, ctx.URI())
	s.readSender(v, &ctx.Request.Header, ctx.RemoteAddr())
	ring := s.deps.Tokens.Load()
	for r.next() {
		if bad := s.fillFromClient(sc, &r.raw, ring); bad.reason != "" {
			r.reject(sc.refuseSigned(bad))
			continue
		}
		s.add(sc)
	}
	s.settle(ctx, routeClient, r, sc)
}

// serverBatch answers POST /v1/events: events with explicit fields, from
// servers with an API key.
func (s *Server) serverBatch(ctx *fasthttp.RequestCtx) {
	grant, p := s.authorize(ctx)
	if p != nil {
		s.refuse(ctx, p)
		return
	}
	r, ok := s.read(ctx, routeServer, serverFields)
	if !ok {
		return
	}
	sc := acquire(&s.batches)
	s.visit(&sc.visit, &ctx.Request.Header, ctx.URI())
	sc.visit.flags = 0 // those of the server's own request
	for r.next() {
		if bad := s.fillFromServer(sc, &r.raw, grant); bad.reason != "" {
			r.reject(refusal{rejection: bad, advertiser: sc.event.AdvertiserId})
			continue
		}
		s.add(sc)
	}
	s.settle(ctx, routeServer, r, sc)
}

func (s *Server) authorize(ctx *fasthttp.RequestCtx) (Grant, *problem) {
	scheme, key, _ := bytes.Cut(ctx.Request.Header.Peek("Authorization"), []byte(" "))
	if !bytes.EqualFold(scheme, []byte("Bearer")) || len(key) == 0 {
		return nil, errNoKey
	}
	look, cancel := context.WithTimeout(context.Background(), s.cfg.AckTimeout)
	defer cancel()
	grant, err := s.deps.Keys.Lookup(look, string(key))
	switch {
	case errors.Is(err, ErrUnknownKey):
		return nil, errNoKey
	case err != nil:
		s.log.Warn().Err(err).Msg("api keys cannot be looked up")
		return nil, errKeysAway
	case !grant.Allows(scopeIngest):
		return nil, errScope
	default:
		return grant, nil
	}
}

// read begins the body of a batch request, or answers why it cannot be read.
func (s *Server) read(ctx *fasthttp.RequestCtx, rt route, known fieldSet) (*reader, bool) {
	lines, ok := bodyForm(ctx.Request.Header.ContentType())
	if !ok {
		s.refuse(ctx, errMediaType)
		return nil, false
	}
	body, p := s.body(ctx)
	if p != nil {
		if p == errGzip {
			s.reportBody(rt, p.code, p.title, nil, 0)
		}
		s.refuse(ctx, p)
		return nil, false
	}
	r, ok := s.readers.Get().(*reader)
	if !ok {
		panic("BUG: foreign value in the pool of readers")
	}
	r.start(body, known, s.cfg.MaxBatch, lines)
	return r, true
}

// bodyForm tells from the media type whether the body may be lines of objects.
func bodyForm(contentType []byte) (lines, ok bool) {
	media, _, _ := bytes.Cut(contentType, []byte(";"))
	media = bytes.TrimSpace(media)
	switch {
	case bytes.EqualFold(media, []byte("application/json")):
		return false, true
	case len(media) == 0, bytes.EqualFold(media, []byte("text/plain")),
		bytes.EqualFold(media, []byte("application/x-www-form-urlencoded")), // what curl -d says of anything
		bytes.EqualFold(media, []byte("application/x-ndjson")):
		return true, true
	default:
		return false, false
	}
}

// body returns the body as it was before its encoding. It lives as long as the
// request.
func (s *Server) body(ctx *fasthttp.RequestCtx) ([]byte, *problem) {
	switch encoding := ctx.Request.Header.ContentEncoding(); {
	case len(encoding) == 0 || bytes.EqualFold(encoding, []byte("identity")):
		return ctx.Request.Body(), nil
	case bytes.EqualFold(encoding, []byte("gzip")):
		limit := gunzipFactor * s.cfg.MaxBody
		body, err := ctx.Request.BodyGunzipWithLimit(limit)
		switch {
		case errors.Is(err, fasthttp.ErrBodyTooLarge):
			return nil, s.tooLarge("bytes of the unpacked body", limit)
		case err != nil:
			return nil, errGzip
		}
		return body, nil
	default:
		return nil, errEncoding
	}
}

// refuseSigned adds to a rejection what an authentic token says. The texts of
// the token do not outlive its event.
func (sc *scratch) refuseSigned(bad rejection) refusal {
	if bad.unsigned {
		return refusal{rejection: bad}
	}
	return refusal{rejection: bad, advertiser: sc.token.AdvertiserId, keyID: strings.Clone(sc.token.KeyId)}
}

// reject notes that the event just read is not counted.
func (r *reader) reject(bad refusal) {
	bad.index, bad.text = r.index, r.json.Text()[r.begin:r.lineEnd]
	if r.raw.object && r.raw.kind(fieldID) == jsonscan.String {
		bad.id = clip(r.raw.values[fieldID], maxIDText)
	}
	r.rejected = append(r.rejected, bad)
}

// settle brings a batch that was read to the sink and answers. A body that
// broke off counts nothing, whatever came before.
func (s *Server) settle(ctx *fasthttp.RequestCtx, rt route, r *reader, sc *scratch) {
	defer func() {
		sc.batch.Release()
		s.readers.Put(r)
	}()
	if p := s.unread(r); p != nil {
		if !errors.Is(r.err, errTooMany) {
			s.reportBody(rt, p.code, p.detail, r.json.Text(), r.json.Pos())
		}
		s.refuse(ctx, p)
		return
	}
	if wait := s.admit(sc); wait > 0 {
		s.metrics.rejected[reasonLimited].Add(sc.batch.Len())
		s.refuseLimited(ctx, wait)
		return
	}
	if !s.append(sc).Durable() {
		s.refuse(ctx, errUnavailable)
		return
	}
	s.answerBatch(ctx, r, sc.batch.Len())
	s.reportEvents(rt, r, sc.visit.now)
}

// unread says why a body was not read to its end, or nil.
func (s *Server) unread(r *reader) *problem {
	switch {
	case r.err == nil:
		return nil
	case errors.Is(r.err, errTooMany):
		return s.tooLarge("events of a batch", s.cfg.MaxBatch)
	default:
		return &problem{
			status: 400, code: "bad_json", title: "The body cannot be read; nothing was counted",
			detail: r.err.Error() + " at byte " + strconv.Itoa(r.json.Pos()),
		}
	}
}

// answerBatch says what became of each event.
func (s *Server) answerBatch(ctx *fasthttp.RequestCtx, r *reader, accepted int) {
	out := r.out[:0]
	out = append(out, `{"accepted":`...)
	out = strconv.AppendInt(out, int64(accepted), 10)
	out = append(out, `,"rejected":[`...)
	for i := range r.rejected {
		bad := &r.rejected[i]
		s.metrics.rejected[bad.reason].Inc()
		out = appendRejection(out, i, bad)
	}
	out = append(out, ']')
	if len(r.warnings) > 0 {
		s.metrics.warnings.Add(len(r.warnings))
		out = append(out, `,"warnings":[`...)
		for i, w := range r.warnings {
			out = appendWarning(out, i, w)
		}
		out = append(out, ']')
	}
	out = append(out, '}')
	ctx.Response.SetStatusCode(fasthttp.StatusAccepted)
	ctx.Response.Header.SetContentType("application/json")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.Response.SetBody(out) // a copy: r is used again before this is sent
	r.out = out
}

func appendRejection(out []byte, i int, bad *refusal) []byte {
	if i > 0 {
		out = append(out, ',')
	}
	out = append(out, `{"index":`...)
	out = strconv.AppendInt(out, int64(bad.index), 10)
	if len(bad.id) > 0 {
		out = append(out, `,"id":`...)
		out = jsonscan.Append(out, bad.id)
	}
	out = append(out, `,"reason":`...)
	out = jsonscan.Append(out, string(bad.reason))
	if bad.field != "" {
		out = append(out, `,"field":`...)
		out = jsonscan.Append(out, bad.field)
	}
	if bad.detail != "" {
		out = append(out, `,"detail":`...)
		out = jsonscan.Append(out, bad.detail)
	}
	return append(out, '}')
}

func appendWarning(out []byte, i int, w warning) []byte {
	if i > 0 {
		out = append(out, ',')
	}
	out = append(out, `{"index":`...)
	out = strconv.AppendInt(out, int64(w.index), 10)
	out = append(out, `,"field":`...)
	out = jsonscan.Append(out, clip(w.field, maxNameShown))
	return append(out, `,"reason":"unknown_field"}`...)
}
