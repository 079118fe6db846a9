package statement

import (
	"encoding/binary"
	"math/bits"
)

// maxDistinct bounds the dictionary of a column of numbers; with more values the
// column is written plain.
const maxDistinct = 1 << 16

// numbers finds the distinct values of a column. It is an open hash table that is
// used again for every column; it belongs to one goroutine.
type numbers struct {
	// slots hold the place of a value plus one, 0 for none.
	slots  []int32
	values []uint64
	codes  []int32
}

const slotBits = 18 // four slots a value

// encode fills values, in the order in which they come, and codes. ok is false if
// there are too many to be worth it.
func (n *numbers) encode(column []uint64) (ok bool) {
	if n.slots == nil {
		n.slots = make([]int32, 1<<slotBits)
	}
	clear(n.slots)
	n.values = n.values[:0]
	n.codes = grown(n.codes, len(column))
	most := min(maxDistinct, max(len(column)/2, 64))
	last, code := uint64(0), int32(-1)
	for i, value := range column {
		if value != last || code < 0 {
			if code = n.place(value); code >= int32(most) {
				return false
			}
			last = value
		}
		n.codes[i] = code
	}
	return true
}

func (n *numbers) place(value uint64) int32 {
	const mask = 1<<slotBits - 1
	for slot := value * 0x9e3779b97f4a7c15 >> (64 - slotBits); ; slot = (slot + 1) & mask {
		at := n.slots[slot]
		if at == 0 {
			n.values = append(n.values, value)
			n.slots[slot] = int32(len(n.values))
			return int32(len(n.values) - 1)
		}
		if n.values[at-1] == value {
			return at - 1
		}
	}
}

func grown[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// appendCodes writes codes as Parquet's data pages of dictionaries have them: the
// width, then runs and packed groups of eight (RLE/bit-packing hybrid).
func appendCodes(dst []byte, codes []int32, distinct int) []byte {
	width := bits.Len(uint(max(distinct-1, 0)))
	dst = append(dst, byte(width))
	packed := 0 // where the values begin that are not written yet
	for i := 0; i < len(codes); {
		run := 1
		for i+run < len(codes) && codes[i+run] == codes[i] {
			run++
		}
		switch rest := (i - packed) % 8; {
		case run < 8:
			i += run
		case rest != 0: // fill the group that has begun
			i += 8 - rest
		default:
			dst = appendPacked(dst, codes[packed:i], width)
			dst = binary.AppendUvarint(dst, uint64(run)<<1)
			for b := 0; b < width; b += 8 {
				dst = append(dst, byte(codes[i]>>b))
			}
			i += run
			packed = i
		}
	}
	return appendPacked(dst, codes[packed:], width)
}

// appendPacked writes groups of eight; the last one is filled with zeros.
func appendPacked(dst []byte, codes []int32, width int) []byte {
	if len(codes) == 0 {
		return dst
	}
	groups := (len(codes) + 7) / 8
	dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
	var held uint64
	filled := 0
	for _, code := range codes {
		held |= uint64(code) << filled
		filled += width
		for filled >= 8 {
			dst = append(dst, byte(held))
			held >>= 8
			filled -= 8
		}
	}
	for i := len(codes); i < groups*8; i++ {
		filled += width
		for filled >= 8 {
			dst = append(dst, byte(held))
			held >>= 8
			filled -= 8
		}
	}
	return dst
}
