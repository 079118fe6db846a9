package window

import "bytes"

// texts codes sets of dimension texts by small numbers. A set is kept as its
// texts, each behind one byte of length. The zero value is ready to use.
type texts struct {
	blob  []byte
	ends  []uint32
	index index
	// strings are the first sets as rows have them.
	strings [][numTexts]string
}

// maxTexts is the size beyond which a dictionary is forgotten with the span
// that filled it.
const maxTexts = 1 << 20

// code returns the number of the set, whose hash is h. set is copied.
func (t *texts) code(h uint64, set []byte) uint32 {
	p := t.index.seek(h)
	for at := t.index.next(&p); at >= 0; at = t.index.next(&p) {
		if bytes.Equal(t.set(uint32(at)), set) {
			return uint32(at)
		}
	}
	at := len(t.ends)
	t.blob = append(t.blob, set...)
	t.ends = append(t.ends, uint32(len(t.blob)))
	t.index.insert(h, at)
	return uint32(at)
}

// set returns the set with that number. It is valid until the next change.
func (t *texts) set(code uint32) []byte {
	from := uint32(0)
	if code > 0 {
		from = t.ends[code-1]
	}
	return t.blob[from:t.ends[code]]
}

// unpacked returns the texts of the set with that number.
func (t *texts) unpacked(code uint32) *[numTexts]string {
	for at := len(t.strings); at <= int(code); at++ {
		t.strings = append(t.strings, unpackTexts(t.set(uint32(at))))
	}
	return &t.strings[code]
}

// packTexts appends the texts of e as one set.
func packTexts(dst []byte, e *event) []byte {
	for i := range e.texts {
		dst = append(dst, byte(len(e.texts[i])))
		dst = append(dst, e.texts[i]...)
	}
	return dst
}

// unpackTexts makes strings of a set.
func unpackTexts(set []byte) (out [numTexts]string) {
	for i := range out {
		n := 1 + int(set[0])
		out[i] = string(set[1:n])
		set = set[n:]
	}
	return out
}
