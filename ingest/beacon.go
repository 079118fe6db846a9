package ingest

import (
	"time"

	"github.com/valyala/fasthttp"

	"github.com/adtally/adtally/ingest/produce"
	"github.com/adtally/adtally/proto"
)

// beacon answers GET /i/{token}, /v/, /t/ and /c/: one event, all of it from
// the token.
func (s *Server) beacon(ctx *fasthttp.RequestCtx, rt route, text []byte) {
	sc := acquire(&s.singles)
	s.countBeacon(ctx, rt, text, sc)
	sc.batch.Release()
}

func (s *Server) countBeacon(ctx *fasthttp.RequestCtx, rt route, text []byte, sc *scratch) {
	if bad := s.readBeacon(ctx, rt, text, sc, ctx.URI()); bad.reason != "" {
		s.refuseBeacon(ctx, rt, sc, text, bad)
		return
	}
	if ctx.IsHead() {
		answerBeacon(ctx, rt, sc)
		return
	}
	s.add(sc)
	if wait := s.admit(sc); wait > 0 {
		s.answerLimited(ctx, rt, sc, wait)
		return
	}
	switch out := s.append(sc); {
	case out.Durable():
		answerBeacon(ctx, rt, sc)
	case rt == routeClick:
		s.metrics.lost[lostBy(out)].Inc()
		answerBeacon(ctx, rt, sc)
	default:
		s.refuse(ctx, errUnavailable)
	}
}

// readBeacon makes the event of sc of a beacon: all of what counts comes from
// the token. The URL is that of the beacon, which for the doctor is not that of
// the request.
func (s *Server) readBeacon(ctx *fasthttp.RequestCtx, rt route, text []byte, sc *scratch, uri *fasthttp.URI) rejection {
	var err error
	sc.payload, err = s.deps.Tokens.Load().VerifyInto(&sc.token, sc.payload, text)
	if err != nil {
		return tokenRejection(err)
	}
	v := &sc.visit
	s.visit(v, &ctx.Request.Header, uri)
	typ, ok := beaconType(rt, v.step)
	if !ok {
		return rejection{reason: reasonType, field: "e", detail: "use start, q1, mid, q3, complete, skip, pause, resume, mute, unmute or fullscreen"}
	}
	if rt == routeClick && sc.token.LandingUrl == "" {
		return rejection{reason: reasonToken, field: "token.landing_url", detail: "is missing: a click has no page to go to"}
	}
	e := &sc.event
	s.fillFromToken(e, &sc.token, typ, v.now)
	if typ == proto.EventType_EVENT_TYPE_CLICK {
		e.SetEventID(randomID())
	}
	at := e.ReceivedUs
	if len(v.ts) > 0 {
		at = pixelTime(v.ts, at)
	}
	if !s.limits.setTime(e, at) {
		return s.tooOld("ts")
	}
	s.readSender(v, &ctx.Request.Header, ctx.RemoteAddr())
	s.stamp(sc, v.decision)
	return rejection{}
}

// beaconTitles are the titles of the answers to beacons that are not counted.
var beaconTitles = map[reason]string{
	reasonSignature: "The token was not signed with a key of this server",
	reasonToken:     "The token cannot be counted",
	reasonType:      "The video step is not known",
	reasonTooOld:    "The event is too old to be counted",
}

// refuseBeacon says why a beacon is not counted. A click that is only too old
// goes on, because the user comes first, and is counted as lost.
func (s *Server) refuseBeacon(ctx *fasthttp.RequestCtx, rt route, sc *scratch, text []byte, bad rejection) {
	if ctx.IsGet() {
		s.metrics.rejected[bad.reason].Inc()
		s.reportBeacon(rt, sc, text, bad)
	}
	if rt == routeClick && bad.reason == reasonTooOld {
		if ctx.IsGet() {
			s.metrics.lost[lostTooOld].Inc()
		}
		answerBeacon(ctx, rt, sc)
		return
	}
	s.refuse(ctx, &problem{status: 400, code: string(bad.reason), title: beaconTitles[bad.reason], field: bad.field, detail: bad.detail})
}

// answerLimited turns away the beacon of a tenant that sends too many; a click
// goes on and is counted as lost.
func (s *Server) answerLimited(ctx *fasthttp.RequestCtx, rt route, sc *scratch, wait time.Duration) {
	s.metrics.rejected[reasonLimited].Inc()
	if rt == routeClick {
		s.metrics.lost[lostLimited].Inc()
		answerBeacon(ctx, rt, sc)
		return
	}
	s.refuseLimited(ctx, wait)
}

// beaconType returns the type of event that a route counts.
func beaconType(rt route, step []byte) (proto.EventType, bool) {
	switch rt {
	case routeImpression:
		return proto.EventType_EVENT_TYPE_IMPRESSION, true
	case routeViewable:
		return proto.EventType_EVENT_TYPE_VIEWABLE, true
	case routeClick:
		return proto.EventType_EVENT_TYPE_CLICK, true
	default:
		typ, ok := videoSteps[string(step)]
		return typ, ok
	}
}

var videoSteps = map[string]proto.EventType{
	"start":      proto.EventType_EVENT_TYPE_VIDEO_START,
	"q1":         proto.EventType_EVENT_TYPE_VIDEO_Q1,
	"mid":        proto.EventType_EVENT_TYPE_VIDEO_MID,
	"q3":         proto.EventType_EVENT_TYPE_VIDEO_Q3,
	"complete":   proto.EventType_EVENT_TYPE_VIDEO_COMPLETE,
	"skip":       proto.EventType_EVENT_TYPE_VIDEO_SKIP,
	"pause":      proto.EventType_EVENT_TYPE_VIDEO_PAUSE,
	"resume":     proto.EventType_EVENT_TYPE_VIDEO_RESUME,
	"mute":       proto.EventType_EVENT_TYPE_VIDEO_MUTE,
	"unmute":     proto.EventType_EVENT_TYPE_VIDEO_UNMUTE,
	"fullscreen": proto.EventType_EVENT_TYPE_VIDEO_FULLSCREEN,
}

func answerBeacon(ctx *fasthttp.RequestCtx, rt route, sc *scratch) {
	if rt == routeClick {
		answerRedirect(ctx, sc.token.LandingUrl)
		return
	}
	answerPixel(ctx)
}

func lostBy(out produce.Outcome) lostReason {
	if out == produce.Late {
		return lostLate
	}
	return lostRefused
}

// pixelTime reads the ts parameter: milliseconds since 1970. What is no number
// is ignored: the beacon is authentic, so it counts, at its arrival.
func pixelTime(ts []byte, arrival int64) int64 {
	if len(ts) > maxMillisDigits {
		return arrival
	}
	ms := int64(0)
	for _, c := range ts {
		if c < '0' || c > '9' {
			return arrival
		}
		ms = ms*10 + int64(c-'0')
	}
	return ms * 1000
}
