package consent

import "strings"

// cut splits a GPP string after its first part.
func cut(text string) (part, rest string, more bool) { return strings.Cut(text, "~") }

// readHeader reads the section ids of a GPP header: type (6 bits), version (6)
// and a range of Fibonacci-coded ids, as base64url text. Ids rise, and none is
// above maxSection.
func readHeader(text string) (ids []int, ok bool) {
	if len(text) > 64 {
		return nil, false
	}
	b := bitReader{text: text, ok: true}
	if b.read(6) != headerType || b.read(6) != headerVersion {
		return nil, false
	}
	last := 0
	for n := b.read(12); n > 0 && b.ok; n-- {
		group := b.read(1) == 1
		first := last + b.fibonacci()
		last = first
		if group {
			last += b.fibonacci()
		}
		if !b.ok || last > maxSection || len(ids)+last-first >= maxSectionList {
			return nil, false
		}
		for id := first; id <= last; id++ {
			ids = append(ids, id)
		}
	}
	return ids, b.ok && b.rest()
}

// bitReader reads numbers from base64url text, six bits a character. After the
// end, or at a character that is none, ok is false and numbers are 0.
type bitReader struct {
	text string
	pos  int
	ok   bool
}

func (b *bitReader) read(bits int) (n int) {
	for range bits {
		if b.pos/6 >= len(b.text) {
			b.ok = false
			return 0
		}
		six := sixBits(b.text[b.pos/6])
		if six < 0 {
			b.ok = false
			return 0
		}
		n = n<<1 | six>>(5-b.pos%6)&1
		b.pos++
	}
	return n
}

// fibonacci reads a number coded as a sum of Fibonacci numbers, smallest first,
// that ends with two ones. Numbers above maxSection are an error: their sum has
// no end that a header could reach.
func (b *bitReader) fibonacci() (n int) {
	previous := 0
	for low, high := 1, 2; b.ok && low <= maxSection; low, high = high, low+high {
		bit := b.read(1)
		if bit == 1 && previous == 1 {
			return n
		}
		n += bit * low
		previous = bit
	}
	// The largest number may still have its closing one to come.
	if b.ok && previous == 1 && b.read(1) == 1 {
		return n
	}
	b.ok = false
	return 0
}

// rest reports whether what follows is text that could be read.
func (b *bitReader) rest() bool {
	for _, c := range []byte(b.text[(b.pos+5)/6:]) {
		if sixBits(c) < 0 {
			return false
		}
	}
	return true
}

func sixBits(c byte) int {
	switch {
	case 'A' <= c && c <= 'Z':
		return int(c - 'A')
	case 'a' <= c && c <= 'z':
		return int(c-'a') + 26
	case '0' <= c && c <= '9':
		return int(c-'0') + 52
	case c == '-':
		return 62
	case c == '_':
		return 63
	default:
		return -1
	}
}
