package ingest

import (
	"slices"
	"time"

	"github.com/adtally/adtally/ingest/jsonscan"
	"github.com/adtally/adtally/ingest/produce"
)

// maxReported is how much of a body goes to the rejected topic, in bytes.
const maxReported = 8 << 10

// voucher is who stands for what was sent.
type voucher uint8

const (
	nobody   voucher = iota
	aToken           // which is public: whoever has seen a page has its tokens
	aKey             // of a server
	vouchers = aKey  // those whose reports are limited
)

// signedFactor is how much more of what bears a signature is reported than of
// what bears none.
const signedFactor = 10

// reports reports whether a rejection goes to the rejected topic. What comes
// without a key goes there at a bounded rate: a flood of it must not fill the
// topic, and what bears no signature must not crowd out what does.
func (s *Server) reports(v voucher) bool {
	if s.deps.Rejects == nil {
		return false
	}
	if v == aKey {
		return true
	}
	rate := int64(s.cfg.RejectedRate)
	if v == aToken {
		rate *= signedFactor
	}
	if rate > 0 && s.reported[v].take(time.Now().UnixNano(), int64(time.Second)/rate, int64(time.Second)) == 0 {
		return true
	}
	s.metrics.unreported.Inc()
	return false
}

// voucher returns who stands for an event that came with a token.
func (r *rejection) voucher() voucher {
	if r.unsigned {
		return nobody
	}
	return aToken
}

// reportBeacon brings a beacon that is not counted to the rejected topic.
func (s *Server) reportBeacon(rt route, sc *scratch, text []byte, bad rejection) {
	if !s.reports(bad.voucher()) {
		return
	}
	r := produce.Rejected{Received: time.Now(), Route: routeNames[rt], Reason: string(bad.reason), Field: bad.field, Detail: bad.detail, Body: text}
	if bad.unsigned {
		// It may be anything, such as a link with a key in it.
		r.Body = appendShape(nil, clip(text, maxReported))
	} else {
		r.Advertiser, r.KeyID = sc.token.AdvertiserId, sc.token.KeyId
	}
	s.deps.Rejects.Put(&r)
}

// reportEvents brings the rejected events of a batch to the rejected topic.
func (s *Server) reportEvents(rt route, r *reader, now time.Time) {
	for i := range r.rejected {
		bad := &r.rejected[i]
		v := aKey
		if rt == routeClient {
			v = bad.voucher()
		}
		if !s.reports(v) {
			continue
		}
		r.out = appendKnown(r.out[:0], bad.text)
		s.deps.Rejects.Put(&produce.Rejected{
			Received: now, Route: routeNames[rt], Reason: string(bad.reason), Field: bad.field, Detail: bad.detail,
			Advertiser: bad.advertiser, KeyID: bad.keyID, Body: r.out,
		})
	}
}

// reportBody brings the shape of a body that cannot be read to the rejected
// topic: the part of it that ends just behind the fault.
func (s *Server) reportBody(rt route, code, detail string, body []byte, fault int) {
	v := aKey
	if rt == routeClient {
		v = nobody
	}
	if !s.reports(v) {
		return
	}
	end := min(fault+maxReported/8, len(body))
	s.deps.Rejects.Put(&produce.Rejected{
		Received: time.Now(), Route: routeNames[rt], Reason: code, Detail: detail,
		Body: appendShape(nil, body[max(0, end-maxReported):end]),
	})
}

// privateFields name a person or a device, and go no further than the handler.
const privateFields fieldSet = 1<<fieldUser | 1<<fieldIP | 1<<fieldUserAgent | 1<<fieldGDPRConsent | 1<<fieldGPP

// appendKnown appends the members of an event that are known and not private.
// The text was read before, so it is JSON; what is not an object has none.
func appendKnown(dst, text []byte) []byte {
	var r reader
	r.start(slices.Concat([]byte("["), text, []byte("]")), clientFields|serverFields, 1, false)
	if !r.next() || !r.raw.object {
		return dst
	}
	dst = append(dst, '{')
	for f := range fields {
		if r.raw.given&^privateFields&(1<<f) == 0 {
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(jsonscan.Append(dst, fieldNames[f]), ':')
		switch r.raw.kinds[f] {
		case jsonscan.String:
			dst = jsonscan.Append(dst, clip(r.raw.values[f], maxReported))
		case jsonscan.None:
			dst = append(dst, "null"...)
		case jsonscan.Number:
			dst = append(dst, r.raw.values[f]...)
		case jsonscan.Other:
			dst = append(dst, `"…"`...)
		}
	}
	return clip(append(dst, '}'), maxReported)
}

// appendShape appends a text with its letters as a and its digits as 0, except
// the names of fields: enough to see how JSON is broken, and nothing of what was
// said in it.
func appendShape(dst, text []byte) []byte {
	for len(text) > 0 {
		n := 0
		for n < len(text) && isWord(text[n]) {
			n++
		}
		if n == 0 {
			dst, text = append(dst, text[0]), text[1:]
			continue
		}
		word := text[:n]
		text = text[n:]
		if _, known := fieldsByName[string(word)]; known || string(word) == eventsMember {
			dst = append(dst, word...)
			continue
		}
		for _, c := range word {
			switch {
			case '0' <= c && c <= '9':
				c = '0'
			case c != '_':
				c = 'a'
			}
			dst = append(dst, c)
		}
	}
	return dst
}

// isWord tells the bytes of names, numbers and texts from those of JSON.
func isWord(c byte) bool { return isLetter(c) || '0' <= c && c <= '9' || c == '_' || c >= 0x80 }
