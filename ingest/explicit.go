package ingest

import (
	"net/netip"

	"github.com/adtally/adtally/ingest/jsonscan"
	"github.com/adtally/adtally/proto"
)

// fillFromServer makes the event of sc of the fields of a server event. Texts
// of the event point into the request: it must be encoded before that ends.
func (s *Server) fillFromServer(sc *scratch, raw *rawEvent, grant Grant) rejection {
	e, v := &sc.event, &sc.visit
	e.Reset()
	e.ReceivedUs = v.now.UnixMicro()
	var bad rejection
	if bad = raw.shape(); bad.reason != "" {
		return bad
	}
	if e.Type, bad = raw.eventType(); bad.reason != "" {
		return bad
	}
	if bad = fillNumbers(e, raw); bad.reason != "" {
		return bad
	}
	if !grant.Covers(e.AdvertiserId) {
		return rejection{reason: reasonForbidden, field: fieldNames[fieldAdvertiser], detail: "the API key does not cover this advertiser"}
	}
	if bad = s.fillIDs(e, raw); bad.reason != "" {
		return bad
	}
	if bad = fillTexts(e, raw); bad.reason != "" {
		return bad
	}
	if bad = fillPrice(e, raw); bad.reason != "" {
		return bad
	}
	at, bad := raw.time(e.ReceivedUs)
	if bad.reason != "" {
		return bad
	}
	if bad = s.place(e, at); bad.reason != "" {
		return bad
	}
	s.fillFromUser(sc, raw)
	return rejection{}
}

// fillFromUser writes on the event of sc what a server says of the user whom it
// served: who, with which agent, from where. Nothing of it is stored as it came.
func (s *Server) fillFromUser(sc *scratch, raw *rawEvent) {
	e, v := &sc.event, &sc.visit
	decision := s.decideEvent(v, raw)
	if raw.kind(fieldUser) != jsonscan.None {
		e.UserHash = s.userHash(e, raw.values[fieldUser], decision)
	}
	for _, f := range [...]field{fieldID, fieldImpression, fieldUser} {
		if raw.kind(f) != jsonscan.None && holdsMacro(raw.values[f]) {
			e.InvalidFlags |= uint32(proto.FlagUnexpandedMacro)
		}
	}
	v.origin = origin{}
	if ua := raw.values[fieldUserAgent]; raw.kind(fieldUserAgent) != jsonscan.None && len(ua) > 0 {
		v.origin.readAgent(v.lists, ua)
	}
	if raw.kind(fieldIP) != jsonscan.None && v.lists.needAddress() {
		// What is no address says nothing; the event counts all the same.
		if addr, err := netip.ParseAddr(alias(raw.values[fieldIP])); err == nil {
			v.origin.readAddress(v.lists, addr)
			if e.Country == "" || e.Region == "" {
				v.origin.readPlace(v.lists, addr, nil, nil)
			}
		}
	}
	s.stamp(sc, decision)
}

func fillNumbers(e *proto.Event, raw *rawEvent) (bad rejection) {
	if raw.kind(fieldAdvertiser) == jsonscan.None {
		return missing(fieldAdvertiser)
	}
	for _, n := range [...]struct {
		field field
		dst   *uint64
	}{
		{fieldAdvertiser, &e.AdvertiserId},
		{fieldCampaign, &e.CampaignId},
		{fieldAdGroup, &e.AdGroupId},
		{fieldCreative, &e.CreativeId},
		{fieldPlacement, &e.PlacementId},
		{fieldPublisher, &e.PublisherId},
	} {
		if *n.dst, bad = raw.number(n.field); bad.reason != "" {
			return bad
		}
	}
	if e.AdvertiserId == 0 {
		return badValue(fieldAdvertiser, "must be greater than 0")
	}
	return rejection{}
}

// fillIDs hashes the ids. The event id of an impression is its impression id,
// so either may stand for both.
func (s *Server) fillIDs(e *proto.Event, raw *rawEvent) rejection {
	id, bad := raw.text(fieldID, maxIDText)
	if bad.reason != "" {
		return bad
	}
	impression, bad := raw.text(fieldImpression, maxIDText)
	if bad.reason != "" {
		return bad
	}
	if e.Type == proto.EventType_EVENT_TYPE_IMPRESSION {
		switch {
		case len(id) == 0:
			id = impression
		case len(impression) == 0:
			impression = id
		case alias(id) != alias(impression):
			return badValue(fieldImpression, "the id of an impression is its impression_id; give one of them or both alike")
		}
	}
	if len(id) == 0 {
		return missing(fieldID)
	}
	e.SetEventID(s.ids.Hash(e.AdvertiserId, id))
	if len(impression) > 0 {
		e.SetImpressionID(s.ids.Hash(e.AdvertiserId, impression))
	}
	return rejection{}
}

func fillTexts(e *proto.Event, raw *rawEvent) rejection {
	for _, t := range [...]struct {
		field field
		dst   *string
		limit int
	}{
		{fieldCountry, &e.Country, 2},
		{fieldRegion, &e.Region, maxRegion},
		{fieldDevice, &e.Device, maxText},
		{fieldOS, &e.Os, maxText},
		{fieldBrowser, &e.Browser, maxText},
		{fieldVariant, &e.Variant, maxText},
	} {
		text, bad := raw.text(t.field, t.limit)
		if bad.reason != "" {
			return bad
		}
		*t.dst = alias(text)
	}
	if e.Country != "" {
		if len(e.Country) != 2 || !isLetter(e.Country[0]) || !isLetter(e.Country[1]) {
			return badValue(fieldCountry, "not two letters (ISO 3166-1 alpha-2)")
		}
		e.Country = upperCountry(e.Country)
	}
	// These are not stored as they are, but a number or an object here is a
	// mistake that the sender should hear about.
	for _, f := range [...]field{fieldUser, fieldIP, fieldUserAgent} {
		if k := raw.kind(f); k != jsonscan.None && k != jsonscan.String {
			return badValue(f, "not a string")
		}
	}
	return rejection{}
}

func fillPrice(e *proto.Event, raw *rawEvent) rejection {
	pricing, bad := raw.text(fieldPricing, maxText)
	if bad.reason != "" {
		return bad
	}
	if len(pricing) > 0 {
		var ok bool
		if e.Pricing, ok = proto.ParsePricing(alias(pricing)); !ok {
			return badValue(fieldPricing, "use cpm, cpc, cpa or flat")
		}
	}
	currency, bad := raw.text(fieldCurrency, maxText)
	if bad.reason != "" {
		return bad
	}
	if len(currency) > 0 {
		if len(currency) != 3 || !isUpper(currency[0]) || !isUpper(currency[1]) || !isUpper(currency[2]) {
			return badValue(fieldCurrency, "not three upper-case letters (ISO 4217)")
		}
		e.Currency = alias(currency)
	}
	text := raw.values[fieldPrice]
	switch {
	case raw.kind(fieldPrice) == jsonscan.None:
		return rejection{}
	case raw.kind(fieldPrice) == jsonscan.Other:
		return badValue(fieldPrice, "not a decimal string")
	case len(text) > maxPriceText:
		return tooLong(fieldPrice, maxPriceText)
	case len(pricing) == 0:
		return missing(fieldPricing)
	case len(currency) == 0:
		return missing(fieldCurrency)
	}
	nanos, err := proto.ParsePrice(alias(text), e.Pricing)
	if err != nil {
		return badValue(fieldPrice, err.Error())
	}
	e.PriceNanos = nanos
	return rejection{}
}
