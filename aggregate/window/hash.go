package window

import (
	"encoding/binary"
	"math/bits"

	"github.com/adtally/adtally/proto"
)

// Odd constants of wyhash (Wang Yi, public domain). They are fixed, because the
// admission of tuples must be the same after every restart.
const (
	secret0 = 0xa0761d6478bd642f
	secret1 = 0xe7037ed1a0b428db
	secret2 = 0x8ebc6af09c88c6e3
	secret3 = 0x589965cc75374cc3
)

// mix folds the 128-bit product of two words.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// hashBytes returns a hash of b that depends on seed.
func hashBytes(seed uint64, b []byte) uint64 {
	h := seed ^ secret0
	n := uint64(len(b))
	for len(b) > 16 {
		h = mix(binary.LittleEndian.Uint64(b)^secret1, binary.LittleEndian.Uint64(b[8:])^h)
		b = b[16:]
	}
	var a, z uint64
	switch {
	case len(b) >= 8:
		a = binary.LittleEndian.Uint64(b)
		z = binary.LittleEndian.Uint64(b[len(b)-8:])
	case len(b) >= 4:
		a = uint64(binary.LittleEndian.Uint32(b))
		z = uint64(binary.LittleEndian.Uint32(b[len(b)-4:]))
	case len(b) > 0:
		a = uint64(b[0])<<16 | uint64(b[len(b)>>1])<<8 | uint64(b[len(b)-1])
	}
	return mix(secret1^n, mix(a^secret1, z^h))
}

// hashID spreads an id, which already is a keyed hash unless another program
// wrote the record.
func hashID(id proto.ID) uint64 { return mix(id.Lo^secret1, id.Hi^secret2) }

// hashTuple is the hash of e's tuple: its dimensions without minute, type and
// flags. texts is the hash of its texts.
func hashTuple(e *event, texts uint64) uint64 {
	a := mix(e.ids[advertiser]^secret0, e.ids[campaign]^secret1)
	b := mix(e.ids[adGroup]^secret2, e.ids[creative]^secret3)
	c := mix(e.ids[placement]^secret1, e.ids[publisher]^secret0)
	return mix(a^texts, mix(b^secret3, c^secret2))
}

// hashKey is the hash of a tuple's cell.
func hashKey(tuple uint64, k *key) uint64 {
	return mix(tuple^secret2, uint64(k.minute)<<32^uint64(k.flags)<<8^uint64(k.typ)^secret3)
}
