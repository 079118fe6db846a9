package proto

import (
	"encoding/binary"

	"github.com/dchest/siphash"
)

// ID is a 128-bit keyed hash of an id that a client chose.
type ID struct{ Hi, Lo uint64 }

// IsZero reports whether the id is absent.
func (id ID) IsZero() bool { return id == ID{} }

// IDKey is the secret under which client ids are hashed. Every ingest instance
// of a topic must hold the same key for as long as ids may repeat: with another
// key a repeat is not recognised.
type IDKey [16]byte

// Hash returns the ID of text within one advertiser. Advertisers cannot pre-empt
// each other's ids, and without the key nobody can choose ids that collide or
// that crowd one partition (SipHash-2-4 with 128 bits of output).
func (k *IDKey) Hash(advertiser uint64, text []byte) ID {
	var stack [128 + 8]byte
	buf := binary.LittleEndian.AppendUint64(stack[:0], advertiser)
	buf = append(buf, text...)
	hi, lo := siphash.Hash128(binary.LittleEndian.Uint64(k[:8]), binary.LittleEndian.Uint64(k[8:]), buf)
	return ID{Hi: hi, Lo: lo}
}

// EventID returns the id that makes two events repeats of each other.
func (x *Event) EventID() ID { return ID{Hi: x.EventIdHi, Lo: x.EventIdLo} }

// ImpressionID returns the id of the impression that the event belongs to.
func (x *Event) ImpressionID() ID { return ID{Hi: x.ImpressionIdHi, Lo: x.ImpressionIdLo} }

// SetEventID sets the id that makes two events repeats of each other.
func (x *Event) SetEventID(id ID) { x.EventIdHi, x.EventIdLo = id.Hi, id.Lo }

// SetImpressionID sets the id of the impression that the event belongs to.
func (x *Event) SetImpressionID(id ID) { x.ImpressionIdHi, x.ImpressionIdLo = id.Hi, id.Lo }
