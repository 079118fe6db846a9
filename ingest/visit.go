package ingest

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/adtally/adtally/ingest/consent"
	"github.com/adtally/adtally/ingest/jsonscan"
	"github.com/adtally/adtally/ingest/network"
	"github.com/adtally/adtally/proto"
)

// visit is what a request says beside its events: when it came, what its sender
// agreed to, and what gives invalid traffic away. All of its events share it.
// Its texts point into the request.
type visit struct {
	now      time.Time
	step, ts []byte // the parameters e and ts
	sent     []byte // the parameter sent: the sender's clock
	signals  consent.Signals
	decision consent.Decision
	flags    proto.Flag
	lists    *Lists
	origin   origin

	// What proxies say of the client; to be believed only of trusted ones.
	forwarded       [2][]byte // lines of X-Forwarded-For
	hops            int       // of them in use
	country, region []byte
}

// visit reads what a request says of all of its events.
func (s *Server) visit(v *visit, h *fasthttp.RequestHeader, uri *fasthttp.URI) {
	*v = visit{now: time.Now(), lists: s.lists()}
	if query := uri.QueryString(); len(query) > 0 {
		v.readQuery(query, uri.QueryArgs())
	}
	v.readHeaders(h)
	v.decision = s.decide(&v.signals)
}

// readQuery reads the parameters, all of which are optional and unsigned. Of a
// parameter that is given twice the first counts.
func (v *visit) readQuery(query []byte, args *fasthttp.Args) {
	// %%NAME%% does not survive decoding (%NA is no escape, %CA is one), the
	// other macros may have come escaped.
	suspect := mayHoldMacro(query)
	macro := suspect && holdsMacro(query)
	for name, value := range args.All() {
		if dst := v.parameter(name); dst != nil && *dst == nil {
			*dst = value
		}
		macro = macro || suspect && holdsMacro(value)
	}
	if macro {
		v.flags |= proto.FlagUnexpandedMacro
	}
}

// parameter returns where the value of a parameter goes, or nil.
func (v *visit) parameter(name []byte) *[]byte {
	switch string(name) {
	case "e":
		return &v.step
	case "ts":
		return &v.ts
	case "sent":
		return &v.sent
	case "gdpr":
		return &v.signals.GDPR
	case "gdpr_consent":
		return &v.signals.GDPRConsent
	case "gpp":
		return &v.signals.GPP
	case "gpp_sid":
		return &v.signals.GPPSID
	case "us_privacy":
		return &v.signals.USPrivacy
	default:
		return nil
	}
}

// readHeaders walks the headers once: looking each up by name walks them as
// often as there are names.
func (v *visit) readHeaders(h *fasthttp.RequestHeader) {
	country, region := v.lists.placeHeaders()
	for name, value := range h.All() {
		switch string(name) {
		case "Sec-Purpose", "Purpose", "X-Moz", "X-Purpose":
			if speculative(value) {
				v.flags |= proto.FlagPrefetch
			}
		case "Sec-Gpc":
			v.signals.SecGPC = v.signals.SecGPC || string(value) == "1"
		case "X-Forwarded-For":
			if v.hops < len(v.forwarded) {
				v.forwarded[v.hops] = value
				v.hops++
			}
		default:
			switch {
			case len(name) == len(country) && strings.EqualFold(alias(name), country):
				v.country = value
			case len(name) == len(region) && strings.EqualFold(alias(name), region):
				v.region = value
			}
		}
	}
}

// readSender reads who sent a beacon or a client batch: the agent and the
// address of the request.
func (s *Server) readSender(v *visit, h *fasthttp.RequestHeader, remote net.Addr) {
	v.origin.readAgent(v.lists, h.UserAgent())
	if !v.lists.needAddress() {
		return
	}
	peer := addressOf(remote)
	client, ok := network.ClientIP(peer, v.forwarded[:v.hops], s.trusted)
	if !ok {
		client = netip.Addr{}
	}
	country, region := v.country, v.region
	if !s.trusted.Contains(peer) {
		country, region = nil, nil
	}
	v.origin.readAddress(v.lists, client)
	v.origin.readPlace(v.lists, client, country, region)
}

func addressOf(remote net.Addr) netip.Addr {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(tcp.IP)
	return addr.Unmap()
}

// decide asks for consent; without a decider nothing is decided, and no
// identifier is kept.
func (s *Server) decide(in *consent.Signals) consent.Decision {
	if s.deps.Consent == nil {
		return consent.Decision{}
	}
	return s.deps.Consent.Decide(*in)
}

// decideEvent returns the decision for one event of a batch: its members stand
// for the parameters of the request that have their names.
func (s *Server) decideEvent(v *visit, raw *rawEvent) consent.Decision {
	if raw.given&consentFields == 0 {
		return v.decision
	}
	signals, own := v.signals, false
	for _, m := range [...]struct {
		field field
		dst   *[]byte
	}{
		{fieldGDPR, &signals.GDPR},
		{fieldGDPRConsent, &signals.GDPRConsent},
		{fieldGPP, &signals.GPP},
		{fieldGPPSID, &signals.GPPSID},
		{fieldUSPrivacy, &signals.USPrivacy},
	} {
		if text := raw.signal(m.field); len(text) > 0 {
			*m.dst, own = text, true
		}
	}
	if !own {
		return v.decision
	}
	return s.decide(&signals)
}

// signal returns a consent signal as the text that stands in a URL for it; the
// sections that apply may be an array, as in OpenRTB. What is neither is left
// to the decider, to whom it is malformed.
func (e *rawEvent) signal(f field) []byte {
	if e.kind(f) == jsonscan.None {
		return nil
	}
	text := e.values[f]
	if f == fieldGPPSID && e.kind(f) == jsonscan.Other && text[0] == '[' {
		return text[1 : len(text)-1]
	}
	return text
}

// stamp writes on the event of sc what it has from its visit: the decision on
// consent, the flags of the request, and its origin where it names none itself.
func (s *Server) stamp(sc *scratch, decision consent.Decision) {
	e, v := &sc.event, &sc.visit
	sc.decision = decision
	e.Consent = decision.Consent
	e.InvalidFlags |= uint32(v.flags)
	sc.settleOrigin(&v.origin)
}

// userHash returns the hash of the user that a server names, if it may be kept.
func (s *Server) userHash(e *proto.Event, user []byte, decision consent.Decision) uint64 {
	if s.deps.Users == nil || !decision.Identifiers || !namesUser(user) {
		return 0
	}
	return s.deps.Users.Hash(e.AdvertiserId, user, e.TimeUs)
}

// namesUser reports whether an id is somebody's. An unexpanded macro and the id
// of zeros, which devices give out where tracking is off, would make one user of
// all who send them.
func namesUser(id []byte) bool {
	return len(bytes.Trim(id, "0-")) > 0 && !holdsMacro(id)
}
