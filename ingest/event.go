package ingest

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/adtally/adtally/ingest/jsonscan"
	"github.com/adtally/adtally/proto"
)

// reason says why an event of a batch was not counted. The texts are part of
// the interface.
type reason string

const (
	reasonSignature reason = "bad_signature"
	reasonToken     reason = "bad_token"
	reasonMissing   reason = "missing_field"
	reasonValue     reason = "bad_value"
	reasonType      reason = "unknown_type"
	reasonTooOld    reason = "too_old"
	reasonForbidden reason = "forbidden"
	reasonLimited   reason = "rate_limited" // of whole requests
)

var reasons = [...]reason{
	reasonSignature, reasonToken, reasonMissing, reasonValue, reasonType, reasonTooOld, reasonForbidden, reasonLimited,
}

// rejection says why an event was not counted. The zero value is no rejection.
type rejection struct {
	reason        reason
	field, detail string
	// unsigned is set where nobody vouches for the event: it has no token that
	// bears a valid signature.
	unsigned bool
}

// refusal is an event of a batch that was not counted.
type refusal struct {
	rejection
	index      int
	id, text   []byte // of the event in the body
	advertiser uint64 // 0 is unknown
	keyID      string // of the token
}

// Limits of texts in events, in bytes.
const (
	maxText         = 64
	maxIDText       = 128
	maxRegion       = 16
	maxMillisDigits = 15
	maxPriceText    = 32
)

func missing(f field) rejection {
	return rejection{reason: reasonMissing, field: fieldNames[f]}
}

func badValue(f field, detail string) rejection {
	return rejection{reason: reasonValue, field: fieldNames[f], detail: detail}
}

func tooLong(f field, limit int) rejection {
	return badValue(f, "longer than "+strconv.Itoa(limit)+" bytes")
}

// shape rejects what cannot be read as an event at all.
func (e *rawEvent) shape() rejection {
	if !e.object {
		return rejection{reason: reasonValue, detail: "not a JSON object"}
	}
	if e.twice != 0 {
		return badValue(field(bits.TrailingZeros32(uint32(e.twice))), "given twice")
	}
	return rejection{}
}

// eventType reads the field type.
func (e *rawEvent) eventType() (proto.EventType, rejection) {
	if e.kind(fieldType) == jsonscan.None {
		return 0, missing(fieldType)
	}
	if e.kind(fieldType) == jsonscan.String {
		if typ, ok := proto.ParseEventType(alias(e.values[fieldType])); ok {
			return typ, rejection{}
		}
	}
	return 0, rejection{reason: reasonType, field: fieldNames[fieldType], detail: "use " + typeNames}
}

var typeNames = proto.EventTypeNames()

// text reads a text of at most limit bytes; absent is empty.
func (e *rawEvent) text(f field, limit int) ([]byte, rejection) {
	switch e.kind(f) {
	case jsonscan.None:
		return nil, rejection{}
	case jsonscan.String:
		if len(e.values[f]) > limit {
			return nil, tooLong(f, limit)
		}
		return e.values[f], rejection{}
	default:
		return nil, badValue(f, "not a string")
	}
}

// number reads a 64-bit id, written as a number or in a string; absent is 0.
func (e *rawEvent) number(f field) (uint64, rejection) {
	if e.kind(f) == jsonscan.None {
		return 0, rejection{}
	}
	if e.kind(f) == jsonscan.Other {
		return 0, badValue(f, "neither a number nor a string")
	}
	n, ok := parseUint(e.values[f])
	if !ok {
		return 0, badValue(f, "not an integer from 0 to 18446744073709551615")
	}
	return n, rejection{}
}

// time reads RFC 3339 or milliseconds since 1970, in microseconds.
func (e *rawEvent) time(absent int64) (int64, rejection) {
	const want = "neither RFC 3339 nor milliseconds since 1970"
	text := e.values[fieldTime]
	switch e.kind(fieldTime) {
	case jsonscan.None:
		return absent, rejection{}
	case jsonscan.String:
		var at time.Time
		if err := at.UnmarshalText(text); err != nil {
			return 0, badValue(fieldTime, want)
		}
		return at.UnixMicro(), rejection{}
	case jsonscan.Number:
		if ms, ok := parseUint(text); ok && len(text) <= maxMillisDigits {
			return int64(ms) * 1000, rejection{}
		}
		return 0, badValue(fieldTime, want)
	default:
		return 0, badValue(fieldTime, want)
	}
}

// limits are the bounds of event times, in microseconds.
type limits struct{ maxAge, future int64 }

// setTime gives e its time and reports whether it is young enough to count.
func (l limits) setTime(e *proto.Event, at int64) bool {
	switch {
	case at > e.ReceivedUs+l.future:
		e.TimeUs = e.ReceivedUs
		e.InvalidFlags |= uint32(proto.FlagFutureTime)
	case at < e.ReceivedUs-l.maxAge:
		return false
	default:
		e.TimeUs = at
	}
	return true
}

// place sets the time of e or rejects it.
func (s *Server) place(e *proto.Event, at int64) rejection {
	if s.limits.setTime(e, at) {
		return rejection{}
	}
	return s.tooOld(fieldNames[fieldTime])
}

func (s *Server) tooOld(field string) rejection {
	return rejection{reason: reasonTooOld, field: field, detail: "events are counted up to " + s.cfg.MaxEventAge.String() + " after they happened"}
}

// parseUint reads a decimal number without sign. All of its digits count.
func parseUint(text []byte) (uint64, bool) {
	if len(text) == 0 || len(text) > 20 {
		return 0, false
	}
	n := uint64(0)
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		hi, lo := bits.Mul64(n, 10)
		sum, carry := bits.Add64(lo, uint64(c-'0'), 0)
		if hi != 0 || carry != 0 {
			return 0, false
		}
		n = sum
	}
	return n, true
}

// randomID returns the id of an event that nobody else named.
func randomID() proto.ID {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return proto.ID{Hi: binary.LittleEndian.Uint64(b[:8]), Lo: binary.LittleEndian.Uint64(b[8:])}
}

// countryNames holds every pair of upper-case letters, so that a country given
// in lower case costs no memory of its own.
var countryNames = func() (names [26 * 26 * 2]byte) {
	for i := range 26 * 26 {
		names[2*i], names[2*i+1] = 'A'+byte(i/26), 'A'+byte(i%26)
	}
	return names
}()

func upperCountry(two string) string {
	i := 2 * (int(two[0]|0x20-'a')*26 + int(two[1]|0x20-'a'))
	return alias(countryNames[i : i+2])
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

// alias reads bytes as a string without a copy. The string lives as long as
// the bytes stay as they are.
func alias(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) // #nosec G103 -- a copy per text would be most of what a batch allocates
}

// clip shortens a text to at most n bytes of whole characters.
func clip(text []byte, n int) []byte {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
