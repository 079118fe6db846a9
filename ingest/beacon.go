package ingest

import (
	"time"

	"github.com/valyala/fasthttp"

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
	var err error
	sc.payload, err = s.deps.Tokens.Load().VerifyInto(&sc.token, sc.payload, text)
	if err != nil {
		s.refuseToken(ctx, err)
		return
	}
	typ, ok := beaconType(rt, ctx.QueryArgs())
	if !ok {
		s.metrics.rejected[reasonType].Inc()
		s.refuse(ctx, &problem{
			status: 400, code: string(reasonType), title: "The video step is not known", field: "e",
			detail: "use start, q1, mid, q3, complete, skip, pause, resume, mute, unmute or fullscreen",
		})
		return
	}
	if rt == routeClick && sc.token.LandingUrl == "" {
		s.metrics.rejected[reasonToken].Inc()
		s.refuse(ctx, &problem{
			status: 400, code: string(reasonToken), title: "The token names no page to go to", field: "token.landing_url",
			detail: "sign click tokens with a landing_url",
		})
		return
	}
	if ctx.IsHead() {
		answerBeacon(ctx, rt, sc)
		return
	}
	now := time.Now()
	e := &sc.event
	s.fillFromToken(e, &sc.token, typ, now)
	if typ == proto.EventType_EVENT_TYPE_CLICK {
		e.SetEventID(randomID())
	}
	at := e.ReceivedUs
	if ts := ctx.QueryArgs().Peek("ts"); len(ts) > 0 {
		at = pixelTime(ts, at)
	}
	if !s.limits.setTime(e, at) {
		s.answerTooOld(ctx, rt, sc)
		return
	}
	e.InvalidFlags |= uint32(requestFlags(ctx))
	s.add(sc)
	switch out := s.append(sc); {
	case out == Acked:
		answerBeacon(ctx, rt, sc)
	case rt == routeClick:
		s.metrics.lost[lostBy(out)].Inc()
		answerBeacon(ctx, rt, sc)
	default:
		s.refuse(ctx, errUnavailable)
	}
}

// beaconType returns the type of event that a route counts.
func beaconType(rt route, args *fasthttp.Args) (proto.EventType, bool) {
	switch rt {
	case routeImpression:
		return proto.EventType_EVENT_TYPE_IMPRESSION, true
	case routeViewable:
		return proto.EventType_EVENT_TYPE_VIEWABLE, true
	case routeClick:
		return proto.EventType_EVENT_TYPE_CLICK, true
	default:
		typ, ok := videoSteps[string(args.Peek("e"))]
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

// answerTooOld refuses a view that nobody will count; a click goes on, because
// the user comes first, and is counted as lost.
func (s *Server) answerTooOld(ctx *fasthttp.RequestCtx, rt route, sc *scratch) {
	s.metrics.rejected[reasonTooOld].Inc()
	if rt == routeClick {
		s.metrics.lost[lostTooOld].Inc()
		answerBeacon(ctx, rt, sc)
		return
	}
	s.refuse(ctx, &problem{
		status: 400, code: string(reasonTooOld), title: "The event is too old to be counted", field: "ts",
		detail: "events are counted up to " + s.cfg.MaxEventAge.String() + " after they happened",
	})
}

func lostBy(out Outcome) lostReason {
	if out == Late {
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
