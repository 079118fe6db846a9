package window

import (
	"bytes"
	"encoding/binary"
)

// texts codes sets of dimension texts by small numbers. The zero value is ready
// to use.
type texts struct {
	blob  []byte
	ends  []textsEnd
	index index
	// strings are the first sets as rows have them.
	strings [][numTexts]string
}

// textsEnd says where a set ends in the blob: its texts, then its currency.
type textsEnd struct{ texts, currency uint32 }

// maxTexts is the size beyond which a dictionary is forgotten with the span
// that filled it.
const maxTexts = 1 << 20

// code returns the number of the set, whose hash is h. The bytes are copied.
func (t *texts) code(h uint64, list, currency []byte) uint32 {
	p := t.index.seek(h)
	for at := t.index.next(&p); at >= 0; at = t.index.next(&p) {
		if a, b := t.set(uint32(at)); bytes.Equal(a, list) && bytes.Equal(b, currency) {
			return uint32(at)
		}
	}
	at := len(t.ends)
	t.blob = append(t.blob, list...)
	middle := uint32(len(t.blob))
	t.blob = append(t.blob, currency...)
	t.ends = append(t.ends, textsEnd{middle, uint32(len(t.blob))})
	t.index.insert(h, at)
	return uint32(at)
}

// set returns the set with that number. It is valid until the next change.
func (t *texts) set(code uint32) (list, currency []byte) {
	from, end := uint32(0), t.ends[code]
	if code > 0 {
		from = t.ends[code-1].currency
	}
	return t.blob[from:end.texts], t.blob[end.texts:end.currency]
}

// unpacked returns the texts of the set with that number.
func (t *texts) unpacked(code uint32) *[numTexts]string {
	for at := len(t.strings); at <= int(code); at++ {
		t.strings = append(t.strings, split(t.set(uint32(at))))
	}
	return &t.strings[code]
}

// hashTexts is the hash of a set.
func hashTexts(list, currency []byte) uint64 { return hashBytes(hashBytes(0, currency), list) }

// Places in a set that was split.
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

// split makes strings of a set.
func split(list, money []byte) (out [numTexts]string) {
	out[currency] = string(money)
	for len(list) > 0 {
		tag, n := binary.Uvarint(list)
		length, m := binary.Uvarint(list[n:])
		text := list[n+m:][:length]
		out[(tag-tagCountry)>>3] = string(text)
		list = list[n+m+int(length):]
	}
	return out
}

// otherTexts is the list of which every text is Other.
var otherTexts = func() (list []byte) {
	for tag := uint(tagCountry); tag <= tagVariant; tag += 8 {
		list = appendText(list, tag, Other)
	}
	return list
}()
