package window

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/adtally/adtally/proto"
)

// event is what the arithmetic needs of a proto.Event. Its bytes alias the
// record.
type event struct {
	id, impression proto.ID

	typ     proto.EventType
	pricing proto.Pricing
	flags   proto.Flag
	timeUs  int64
	price   int64
	user    uint64

	ids [numIDs]uint64
	// texts are the texts below the campaign as they are encoded: the fields from
	// country to variant in their order, without empty ones.
	texts             []byte
	variant, currency []byte
	// tooLong is set when a text is longer than maxTextBytes.
	tooLong bool
}

// Places in event.ids, in the order of their field numbers.
const (
	advertiser = iota
	campaign
	adGroup
	creative
	placement
	publisher
	numIDs
)

const (
	maxTextBytes  = 255
	maxMicros     = (1<<32 - 1) * 1_000_000 // end of ClickHouse's DateTime, 2106
	maxPriceNanos = proto.MaxPrice * proto.NanosPerUnit
)

// Tags of adtally.v1.Event: field number and wire type. Those from field 16 on
// have a second byte, which is 1.
const (
	tagType       = 1<<3 | wireVarint
	tagEventHi    = 2<<3 | wireFixed64
	tagEventLo    = 3<<3 | wireFixed64
	tagImpHi      = 4<<3 | wireFixed64
	tagImpLo      = 5<<3 | wireFixed64
	tagTime       = 6<<3 | wireVarint
	tagReceived   = 7<<3 | wireVarint
	tagAdvertiser = 8<<3 | wireVarint
	tagPublisher  = 13<<3 | wireVarint
	tagCountry    = 14<<3 | wireBytes // to variant: country, region, device, os, browser
	tagVariant    = 19<<3 | wireBytes
	tagUser       = 20<<3 | wireFixed64
	tagPrice      = 21<<3 | wireVarint
	tagPricing    = 22<<3 | wireVarint
	tagCurrency   = 23<<3 | wireBytes
	tagFlags      = 24<<3 | wireVarint
	tagVotes      = 25<<3 | wireBytes
	tagConsent    = 26<<3 | wireVarint

	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
)

// decode reads a record. This walk reads only what every ingest of ours writes,
// in its order; what is new or written otherwise is left to the generated
// decoder, so both agree on every input. BenchmarkDecode pays for it.
func (e *event) decode(b []byte) error {
	*e = event{}
	textsFrom, lastText := 0, uint(0)
	for i := 0; i < len(b); {
		start, tag := i, uint(b[i])
		i++
		if tag >= 0x80 {
			if i == len(b) || b[i] != 1 {
				return e.decodeGenerated(b)
			}
			i++
		}
		switch tag & 7 {
		case wireVarint:
			var v uint64
			if v, i = uvarint(b, i); i < 0 || !e.setVarint(tag, v) {
				return e.decodeGenerated(b)
			}
		case wireFixed64:
			if i+8 > len(b) || !e.setFixed(tag, binary.LittleEndian.Uint64(b[i:])) {
				return e.decodeGenerated(b)
			}
			i += 8
		case wireBytes:
			n, from := uvarint(b, i)
			if from < 0 || n > uint64(len(b)-from) {
				return e.decodeGenerated(b)
			}
			i = from + int(n)
			switch {
			case tag < tagCountry || tag > tagVariant && tag != tagCurrency && tag != tagVotes:
				return e.decodeGenerated(b)
			case tag == tagVotes:
				if !voteReads(b[from:i]) {
					return e.decodeGenerated(b)
				}
				continue
			case tag == tagCurrency:
				e.currency = b[from:i]
			case tag <= lastText || b[from-1] == 0 || lastText > 0 && start != textsFrom+len(e.texts):
				// A last byte of 0 is no text, or a length in more bytes than it needs.
				return e.decodeGenerated(b)
			default:
				if lastText == 0 {
					textsFrom = start
				}
				lastText, e.texts = tag, b[textsFrom:i]
				if tag == tagVariant {
					e.variant = b[from:i]
				}
			}
			e.tooLong = e.tooLong || n > maxTextBytes
		default:
			return e.decodeGenerated(b)
		}
	}
	return nil
}

// uvarint reads a varint of b at i and returns the place behind it, or -1.
func uvarint(b []byte, i int) (v uint64, next int) {
	if i < len(b) && b[i] < 0x80 {
		return uint64(b[i]), i + 1
	}
	return longUvarint(b, i)
}

func longUvarint(b []byte, i int) (v uint64, next int) {
	if i >= len(b) {
		return 0, -1
	}
	v, n := binary.Uvarint(b[i:])
	if n <= 0 {
		return 0, -1
	}
	return v, i + n
}

func (e *event) setVarint(tag uint, v uint64) bool {
	switch tag {
	case tagType:
		e.typ = proto.EventType(v)
	case tagTime:
		e.timeUs = int64(v)
	case tagAdvertiser, tagAdvertiser + 8, tagAdvertiser + 16, tagAdvertiser + 24, tagAdvertiser + 32, tagPublisher:
		e.ids[(tag-tagAdvertiser)>>3] = v
	case tagPrice:
		e.price = int64(v)
	case tagPricing:
		e.pricing = proto.Pricing(v)
	case tagFlags:
		e.flags = proto.Flag(v)
	case tagReceived, tagConsent:
	default:
		return false
	}
	return true
}

func (e *event) setFixed(tag uint, v uint64) bool {
	switch tag {
	case tagEventHi:
		e.id.Hi = v
	case tagEventLo:
		e.id.Lo = v
	case tagImpHi:
		e.impression.Hi = v
	case tagImpLo:
		e.impression.Lo = v
	case tagUser:
		e.user = v
	default:
		return false
	}
	return true
}

// voteReads reports whether b is a proto.ListVote as we write it. The vote
// itself plays no part in the arithmetic.
func voteReads(b []byte) bool {
	for i := 0; i < len(b); {
		tag := b[i]
		v, n := binary.Uvarint(b[i+1:])
		if n <= 0 {
			return false
		}
		i += 1 + n
		switch tag {
		case 1<<3 | wireVarint:
		case 2<<3 | wireBytes, 3<<3 | wireBytes:
			if v > uint64(len(b)-i) {
				return false
			}
			i += int(v)
		default:
			return false
		}
	}
	return true
}

// decodeGenerated reads a record with the generated decoder.
func (e *event) decodeGenerated(b []byte) error {
	var p proto.Event
	if err := p.UnmarshalVT(b); err != nil {
		return err
	}
	*e = event{
		id: p.EventID(), impression: p.ImpressionID(),
		typ: p.Type, pricing: p.Pricing, flags: proto.Flag(p.InvalidFlags),
		timeUs: p.TimeUs, price: p.PriceNanos, user: p.UserHash,
		ids: [numIDs]uint64{p.AdvertiserId, p.CampaignId, p.AdGroupId, p.CreativeId, p.PlacementId, p.PublisherId},
	}
	for i, text := range []string{p.Country, p.Region, p.Device, p.Os, p.Browser, p.Variant} {
		e.texts = appendText(e.texts, tagCountry+uint(i)<<3, text)
		e.tooLong = e.tooLong || len(text) > maxTextBytes
	}
	e.variant, e.currency = []byte(p.Variant), []byte(p.Currency)
	e.tooLong = e.tooLong || len(p.Currency) > maxTextBytes
	return nil
}

// appendText appends a text as it is encoded, unless it is empty.
func appendText(dst []byte, tag uint, text string) []byte {
	if text == "" {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(tag))
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	return append(dst, text...)
}

var (
	errType       = errors.New("no event type")
	errAdvertiser = errors.New("no advertiser")
	errTime       = errors.New("event time before 1970 or after 2106")
	errPrice      = fmt.Errorf("price below 0 or above %d", proto.MaxPrice)
	errText       = fmt.Errorf("a dimension is longer than %d bytes", maxTextBytes)
)

// check says why no ingest of ours can have written e, or nil.
func (e *event) check() error {
	switch {
	case e.typ == proto.EventType_EVENT_TYPE_TICK:
		return nil
	case e.typ <= 0 || e.typ > proto.EventType_EVENT_TYPE_TICK:
		return errType
	case e.ids[advertiser] == 0:
		return errAdvertiser
	case e.timeUs < 0 || e.timeUs >= maxMicros:
		return errTime
	case e.price < 0 || e.price > maxPriceNanos:
		return errPrice
	case e.tooLong:
		return errText
	default:
		return nil
	}
}
