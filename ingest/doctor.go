package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/valyala/fasthttp"

	"github.com/adtally/adtally/ingest/jsonscan"
	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/proto"
)

var errLink = &problem{status: 400, code: "bad_url", title: "The body is neither a beacon URL, a token nor events"}

// errMute asks for a key on behalf of the event index.
func errMute(index int) *problem {
	return &problem{
		status: 401, code: "unauthorized", title: "Send a valid API key as Authorization: Bearer <key>", field: fieldNames[fieldToken],
		detail: fmt.Sprintf("event %d has none, so it is one of a server, which needs a key", index),
	}
}

// doctorRoute answers POST /doctor: how a beacon or a batch would be read, by
// the code that reads it, and why. Nothing is counted and nothing is kept.
func (s *Server) doctorRoute(ctx *fasthttp.RequestCtx) {
	lines, ok := bodyForm(ctx.Request.Header.ContentType())
	if !ok {
		s.refuse(ctx, errMediaType)
		return
	}
	body, p := s.body(ctx)
	if p != nil {
		s.refuse(ctx, p)
		return
	}
	if link := beaconLink(bytes.TrimSpace(body)); link != nil {
		if bareToken(link) {
			link = append([]byte(s.cfg.PathPrefix+"i/"), link...)
		}
		s.examineLink(ctx, link)
		return
	}
	s.examineBatch(ctx, body, lines)
}

// beaconLink returns the URL that a body is, or holds as {"url":"…"}; nil is
// none.
func beaconLink(body []byte) []byte {
	if len(body) == 0 || body[0] == '[' {
		return nil
	}
	if body[0] != '{' {
		return body
	}
	var given struct {
		URL *string `json:"url"`
	}
	if err := json.Unmarshal(body, &given); err != nil || given.URL == nil {
		return nil
	}
	return []byte(*given.URL)
}

// bareToken reports whether text looks like a token rather than a URL; it is
// read as an impression's.
func bareToken(text []byte) bool {
	const least = 20 // bytes before the dot: a host name is shorter, or has a path
	dot := bytes.IndexByte(text, '.')
	return dot >= least && dot == bytes.LastIndexByte(text, '.') && !bytes.ContainsAny(text, "/:?&%")
}

// examineLink says how GET of a URL would be answered.
func (s *Server) examineLink(ctx *fasthttp.RequestCtx, link []byte) {
	var uri fasthttp.URI
	for _, c := range link {
		if c <= ' ' || c == 0x7f {
			s.refuse(ctx, errLink)
			return
		}
	}
	if err := uri.Parse(ctx.Host(), link); err != nil {
		s.refuse(ctx, errLink)
		return
	}
	d := diagnosis{As: routeNames[routeOther]}
	d.addURLMacros(&uri)
	rt, text := s.match(uri.PathOriginal())
	switch rt {
	case routeImpression, routeViewable, routeClick, routeVideo:
		sc := acquire(&s.singles)
		d.As = routeNames[rt]
		d.setSignature(s.deps.Tokens.Load(), text)
		d.describe(s, sc, s.readBeacon(ctx, rt, text, sc, &uri))
		d.addTokenMacros(sc)
		sc.batch.Release()
	default:
		d.Reason, d.Detail = errNotFound.code, errNotFound.title
	}
	answerDoctor(ctx, report{Events: []diagnosis{d}})
}

// examineBatch says how each event of a batch would be read: those with a token
// as POST /e would, the others as POST /v1/events would.
func (s *Server) examineBatch(ctx *fasthttp.RequestCtx, body []byte, lines bool) {
	var grant Grant
	if len(ctx.Request.Header.Peek("Authorization")) > 0 {
		var p *problem
		if grant, p = s.authorize(ctx); p != nil {
			s.refuse(ctx, p)
			return
		}
	}
	var r reader
	r.start(body, clientFields|serverFields, s.cfg.MaxBatch, lines)
	sc := acquire(&s.batches)
	defer sc.batch.Release()
	var request visit
	s.visit(&request, &ctx.Request.Header, ctx.URI())
	s.readSender(&request, &ctx.Request.Header, ctx.RemoteAddr())
	ring := s.deps.Tokens.Load()
	out := report{Events: []diagnosis{}}
	for r.next() {
		d := diagnosis{Index: r.index}
		raw := &r.raw
		d.addMacros(raw)
		sc.visit = request
		switch {
		case raw.object && raw.kind(fieldToken) != jsonscan.None:
			d.As = routeNames[routeClient]
			d.restrict(raw, clientFields)
			d.setSignature(ring, raw.values[fieldToken])
			d.describe(s, sc, s.fillFromClient(sc, raw, ring))
			d.addTokenMacros(sc)
		case grant != nil:
			d.As = routeNames[routeServer]
			sc.visit.flags = 0
			d.describe(s, sc, s.fillFromServer(sc, raw, grant))
			d.addIDs(raw)
		default:
			s.refuse(ctx, errMute(r.index))
			return
		}
		out.Events = append(out.Events, d)
	}
	if p := s.unread(&r); p != nil {
		s.refuse(ctx, p)
		return
	}
	for _, w := range r.warnings {
		name := string(clip(w.field, maxNameShown))
		if w.index == wrapperIndex {
			out.Unknown = append(out.Unknown, name)
			continue
		}
		out.Events[w.index].Unknown = append(out.Events[w.index].Unknown, name)
	}
	answerDoctor(ctx, out)
}

func answerDoctor(ctx *fasthttp.RequestCtx, out report) {
	body, err := json.Marshal(out)
	if err != nil {
		panic("BUG: a diagnosis has no JSON")
	}
	ctx.Response.SetBodyRaw(body)
	ctx.Response.Header.SetContentType("application/json")
	ctx.Response.Header.Set("Cache-Control", "no-store")
}

// The states of a signature.
const (
	signatureOK      = "ok"
	signatureBad     = "bad"
	signatureNoKey   = "unknown_key"
	signatureNoToken = "syntax"
)

// setSignature says what the check of a token's signature finds.
func (d *diagnosis) setSignature(ring *token.Keyring, text []byte) {
	id, known := ring.KeyOf(text)
	switch _, err := ring.VerifyInto(new(proto.Token), nil, text); {
	case errors.Is(err, token.ErrSyntax):
		d.Signature = signatureNoToken
	case !errors.Is(err, token.ErrSignature):
		d.Signature = signatureOK
	case known:
		d.Signature = signatureBad
	default:
		d.Signature = signatureNoKey
	}
	d.KeyID = clipText(id)
}
