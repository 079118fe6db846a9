package ingest

import (
	"time"

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
	if t.Expires != 0 && t.Expires < now.Unix() || t.Issued > now.Add(s.cfg.FutureBound).Unix() {
		e.InvalidFlags |= uint32(proto.FlagExpiredToken)
	}
}

// fillFromClient makes the event of sc of one event of a client batch.
func (s *Server) fillFromClient(sc *scratch, raw *rawEvent, ring *token.Keyring, now time.Time) rejection {
	if bad := raw.shape(); bad.reason != "" {
		return bad
	}
	if raw.kind(fieldToken) == kindNone {
		return missing(fieldToken)
	}
	if raw.kind(fieldToken) != kindString {
		return badValue(fieldToken, "not a string")
	}
	var err error
	sc.payload, err = ring.VerifyInto(&sc.token, sc.payload, raw.values[fieldToken])
	if err != nil {
		why, field, detail := tokenReason(err)
		return rejection{reason: why, field: field, detail: detail}
	}
	typ, bad := raw.eventType()
	if bad.reason != "" {
		return bad
	}
	id, bad := raw.text(fieldID, maxIDText)
	if bad.reason != "" {
		return bad
	}
	e := &sc.event
	s.fillFromToken(e, &sc.token, typ, now)
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
	return s.place(e, at)
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
