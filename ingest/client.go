package ingest

import (
	"time"

	"github.com/adtally/adtally/ingest/jsonscan"
	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/proto"
)

// fillFromToken makes e of a token that was verified. Texts of e point to
// where those of t do: e must be encoded before they change. The id of an
// impression, and of every step that can happen once in it, is the impression
// id; the caller gives clicks and conversions an id of their own.
func (s *Server) fillFromToken(e *proto.Event, t *proto.Token, typ proto.EventType, now time.Time) {
	e.Reset()
	e.Type = typ
	e.ReceivedUs = now.UnixMicro()
	e.AdvertiserId, e.CampaignId, e.AdGroupId = t.AdvertiserId, t.CampaignId, t.AdGroupId
	e.CreativeId, e.PlacementId, e.PublisherId = t.CreativeId, t.PlacementId, t.PublisherId
	e.PriceNanos, e.Pricing, e.Currency = t.PriceNanos, t.Pricing, t.Currency
	e.Variant = t.Variant
	impression := s.ids.Hash(t.AdvertiserId, []byte(t.ImpressionId))
	e.SetImpressionID(impression)
	e.SetEventID(impression)
	if s.expired(t, now) || s.early(t, now) {
		e.InvalidFlags |= uint32(proto.FlagExpiredToken)
	}
}

func (s *Server) expired(t *proto.Token, now time.Time) bool {
	return t.Expires != 0 && t.Expires < now.Unix()
}

// early reports a token from the future, beyond what clocks differ.
func (s *Server) early(t *proto.Token, now time.Time) bool {
	return t.Issued > now.Add(s.cfg.FutureBound).Unix()
}

// fillFromClient makes the event of sc of one event of a client batch.
func (s *Server) fillFromClient(sc *scratch, raw *rawEvent, ring *token.Keyring) rejection {
	if bad := s.verifyEvent(sc, raw, ring); bad.reason != "" {
		return bad
	}
	return s.fillSigned(sc, raw)
}

// verifyEvent reads the token of an event. Nobody vouches for an event without
// a valid one.
func (s *Server) verifyEvent(sc *scratch, raw *rawEvent, ring *token.Keyring) rejection {
	bad := raw.shape()
	switch {
	case bad.reason != "":
	case raw.kind(fieldToken) == jsonscan.None:
		bad = missing(fieldToken)
	case raw.kind(fieldToken) != jsonscan.String:
		bad = badValue(fieldToken, "not a string")
	default:
		var err error
		sc.payload, err = ring.VerifyInto(&sc.token, sc.payload, raw.values[fieldToken])
		if err == nil {
			return rejection{}
		}
		return tokenRejection(err)
	}
	bad.unsigned = true
	return bad
}

// fillSigned makes the event of sc of its token and of what came beside it.
func (s *Server) fillSigned(sc *scratch, raw *rawEvent) rejection {
	typ, bad := raw.eventType()
	if bad.reason != "" {
		return bad
	}
	id, bad := raw.text(fieldID, maxIDText)
	if bad.reason != "" {
		return bad
	}
	e := &sc.event
	s.fillFromToken(e, &sc.token, typ, sc.visit.now)
	if typ == proto.EventType_EVENT_TYPE_CLICK || typ == proto.EventType_EVENT_TYPE_CONVERSION {
		e.SetEventID(s.clientID(e.AdvertiserId, id))
	}
	if holdsMacro(id) {
		e.InvalidFlags |= uint32(proto.FlagUnexpandedMacro)
	}
	at, bad := raw.time(e.ReceivedUs)
	if bad.reason != "" {
		return bad
	}
	if raw.kind(fieldTime) != jsonscan.None {
		at += sc.visit.skew()
	}
	if bad = s.place(e, at); bad.reason != "" {
		return bad
	}
	s.stamp(sc, s.decideEvent(&sc.visit, raw))
	return rejection{}
}

// leastSkew is what a clock is wrong by before it is corrected, in microseconds:
// less may as well be the time that the request took.
const leastSkew = int64(time.Minute / time.Microsecond)

// skew is what must be added to the times of a batch, in microseconds, because
// the clock of its sender is wrong.
func (v *visit) skew() int64 {
	now := v.now.UnixMicro()
	skew := now - pixelTime(v.sent, now)
	if len(v.sent) == 0 || max(skew, -skew) < leastSkew {
		return 0
	}
	return skew
}

// clientID returns the id of an event that may happen more than once in an
// impression. Without one from the client a retry cannot be told from a second
// event.
func (s *Server) clientID(advertiser uint64, text []byte) proto.ID {
	if len(text) == 0 {
		return randomID()
	}
	return s.ids.Hash(advertiser, text)
}
