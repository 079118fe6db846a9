package window

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/adtally/adtally/proto"
)

// event is what the arithmetic needs of a proto.Event. Texts alias the record.
type event struct {
	id, impression proto.ID

	typ     proto.EventType
	pricing proto.Pricing
	flags   proto.Flag
	timeUs  int64
	price   int64
	user    uint64

	ids   [numIDs]uint64
	texts [numTexts][]byte
}

// Places in event.ids and event.texts, in the order of their field numbers.
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
	country = iota
	region
	device
	system
	browser
	variant
	currency
	numTexts
)

// Field numbers of adtally.v1.Event.
const (
	fieldType        = 1
	fieldEventHi     = 2
	fieldEventLo     = 3
	fieldImpHi       = 4
	fieldImpLo       = 5
	fieldTime        = 6
	fieldReceived    = 7
	fieldAdvertiser  = 8
	fieldPublisher   = 13
	fieldCountry     = 14
	fieldVariant     = 19
	fieldUser        = 20
	fieldPrice       = 21
	fieldPricing     = 22
	fieldCurrency    = 23
	fieldFlags       = 24
	fieldVotes       = 25
	fieldConsent     = 26
	wireVarint       = 0
	wireFixed64      = 1
	wireBytes        = 2
	maxTextBytes     = 255
	maxMicros        = (1<<32 - 1) * 1_000_000 // end of ClickHouse's DateTime, 2106
	maxPriceNanos    = proto.MaxPrice * proto.NanosPerUnit
	maxOneByteVarint = 0x80
)

// decode reads a record. Only what every ingest of ours writes is read by this
// walk; a field that is new or written otherwise is left to the generated
// decoder, so both agree on every input. BenchmarkDecode pays for it.
func (e *event) decode(b []byte) error {
	*e = event{}
	for i := 0; i < len(b); {
		tag := uint64(b[i])
		i++
		if tag >= maxOneByteVarint { // fields from 16 on
			if i == len(b) || b[i] >= maxOneByteVarint {
				return e.decodeGenerated(b)
			}
			tag = tag&0x7f | uint64(b[i])<<7
			i++
		}
		n, ok := 0, false
		switch tag & 7 {
		case wireVarint:
			var v uint64
			if v, n = binary.Uvarint(b[i:]); n > 0 {
				ok = e.setVarint(tag>>3, v)
			}
		case wireFixed64:
			if n = 8; len(b)-i >= n {
				ok = e.setFixed(tag>>3, binary.LittleEndian.Uint64(b[i:]))
			}
		case wireBytes:
			length, prefix := binary.Uvarint(b[i:])
			if prefix > 0 && length <= uint64(len(b)-i-prefix) {
				n = prefix + int(length)
				ok = e.setText(tag>>3, b[i+prefix:i+n])
			}
		}
		if !ok {
			return e.decodeGenerated(b)
		}
		i += n
	}
	return nil
}

func (e *event) setVarint(field, v uint64) bool {
	switch field {
	case fieldType:
		e.typ = proto.EventType(v)
	case fieldTime:
		e.timeUs = int64(v)
	case fieldAdvertiser, fieldAdvertiser + 1, fieldAdvertiser + 2, fieldAdvertiser + 3, fieldAdvertiser + 4, fieldPublisher:
		e.ids[field-fieldAdvertiser] = v
	case fieldPrice:
		e.price = int64(v)
	case fieldPricing:
		e.pricing = proto.Pricing(v)
	case fieldFlags:
		e.flags = proto.Flag(v)
	case fieldReceived, fieldConsent:
	default:
		return false
	}
	return true
}

func (e *event) setFixed(field, v uint64) bool {
	switch field {
	case fieldEventHi:
		e.id.Hi = v
	case fieldEventLo:
		e.id.Lo = v
	case fieldImpHi:
		e.impression.Hi = v
	case fieldImpLo:
		e.impression.Lo = v
	case fieldUser:
		e.user = v
	default:
		return false
	}
	return true
}

func (e *event) setText(field uint64, v []byte) bool {
	switch {
	case field >= fieldCountry && field <= fieldVariant:
		e.texts[field-fieldCountry] = v
	case field == fieldCurrency:
		e.texts[currency] = v
	case field == fieldVotes:
		return voteReads(v)
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
	for i, text := range [numTexts]string{p.Country, p.Region, p.Device, p.Os, p.Browser, p.Variant, p.Currency} {
		e.texts[i] = []byte(text)
	}
	return nil
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
	}
	for i := range e.texts {
		if len(e.texts[i]) > maxTextBytes {
			return errText
		}
	}
	return nil
}
