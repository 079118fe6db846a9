// Package jsonscan reads the JSON of beacons: strictly, once, and without
// allocating. What is read is money, so nothing is repaired and nothing guessed.
package jsonscan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxDepth  = 64
	maxNumber = 64 // bytes
)

// The ways in which JSON can be broken.
var (
	ErrSyntax     = errors.New("broken JSON")
	ErrUTF8       = errors.New("invalid UTF-8")
	ErrDepth      = errors.New("nested deeper than 64")
	ErrNumber     = errors.New("a number that is too long or too large")
	ErrSurrogate  = errors.New("half a surrogate pair")
	ErrEnd        = errors.New("the text ends too early")
	ErrControl    = errors.New("a control character in a string")
	ErrEscape     = errors.New("an unknown escape in a string")
	ErrAfterValue = errors.New("more text after the end")
)

// Scanner reads JSON strictly (RFC 8259), once, without building a tree and
// without turning numbers into floats. The bytes it hands out point into the
// text or into its own arena, and live until the next reset.
type Scanner struct {
	text  []byte
	pos   int
	depth int
	arena []byte // unescaped strings
}

// Kind is the kind of a JSON value.
type Kind uint8

// The kinds of values.
const (
	None Kind = iota // absent, or null
	String
	Number
	Other // true, false, an array or an object
)

// Reset begins a text. It is not changed, and must stay as it is while anything
// that was handed out is used. The error is ErrUTF8.
func (s *Scanner) Reset(text []byte) error {
	s.text, s.pos, s.depth, s.arena = text, 0, 0, s.arena[:0]
	if !utf8.Valid(text) {
		return ErrUTF8
	}
	return nil
}

// Text returns what is read.
func (s *Scanner) Text() []byte { return s.text }

// Pos returns the offset of the next byte in the text.
func (s *Scanner) Pos() int { return s.pos }

// Rewind goes back to pos, which is not within an array or object.
func (s *Scanner) Rewind(pos int) { s.pos, s.depth = pos, 0 }

// Peek skips white space and returns the next byte, or 0 at the end.
func (s *Scanner) Peek() byte {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// take consumes c if it comes next.
func (s *Scanner) take(c byte) bool {
	if s.Peek() != c || c == 0 {
		return false
	}
	s.pos++
	return true
}

// expect consumes c.
func (s *Scanner) expect(c byte) error {
	if s.take(c) {
		return nil
	}
	return s.broken()
}

func (s *Scanner) broken() error {
	if s.Peek() == 0 && s.pos >= len(s.text) {
		return ErrEnd
	}
	return ErrSyntax
}

// End reports an error unless only white space is left.
func (s *Scanner) End() error {
	s.Peek()
	if s.pos < len(s.text) {
		return ErrAfterValue
	}
	return nil
}

// Enter consumes the opening byte of an array or object.
func (s *Scanner) Enter(open byte) error {
	if err := s.expect(open); err != nil {
		return err
	}
	if s.depth++; s.depth > maxDepth {
		return ErrDepth
	}
	return nil
}

// More moves to the next element of an array or object, past the comma, and
// reports false, past the closing byte, when there is none.
func (s *Scanner) More(closing byte, first bool) (bool, error) {
	if s.take(closing) {
		s.depth--
		return false, nil
	}
	if first {
		return true, nil
	}
	if err := s.expect(','); err != nil {
		return false, err
	}
	if s.Peek() == closing {
		return false, ErrSyntax
	}
	return true, nil
}

// Key reads a member name and its colon.
func (s *Scanner) Key() ([]byte, error) {
	name, err := s.str()
	if err != nil {
		return nil, err
	}
	return name, s.expect(':')
}

// Value reads any value. Strings come unescaped, everything else as written.
func (s *Scanner) Value() (Kind, []byte, error) {
	switch c := s.Peek(); c {
	case '"':
		text, err := s.str()
		return String, text, err
	case '{', '[':
		start := s.pos
		err := s.skipNested(c)
		return Other, s.text[start:s.pos], err
	case 't':
		return Other, []byte("true"), s.literal("true")
	case 'f':
		return Other, []byte("false"), s.literal("false")
	case 'n':
		return None, nil, s.literal("null")
	default:
		text, err := s.number()
		return Number, text, err
	}
}

func (s *Scanner) skipNested(open byte) error {
	if err := s.Enter(open); err != nil {
		return err
	}
	for first := true; ; first = false {
		again, err := s.More(open+2, first) // ']' and '}' are two after their openings
		if err != nil || !again {
			return err
		}
		if open == '{' {
			if _, err := s.Key(); err != nil {
				return err
			}
		}
		if _, _, err := s.Value(); err != nil {
			return err
		}
	}
}

func (s *Scanner) literal(word string) error {
	if !bytes.HasPrefix(s.text[s.pos:], []byte(word)) {
		return ErrSyntax
	}
	s.pos += len(word)
	return nil
}

// number reads -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?. Numbers that no
// float64 holds are refused: another reader of the same text would see
// infinity.
func (s *Scanner) number() ([]byte, error) {
	start := s.pos
	if s.at('-') {
		s.pos++
	}
	if s.at('0') {
		s.pos++
	} else if s.digits() == 0 {
		return nil, s.broken()
	}
	if s.at('.') {
		s.pos++
		if s.digits() == 0 {
			return nil, s.broken()
		}
	}
	exponent := s.at('e') || s.at('E')
	if exponent {
		s.pos++
		if s.at('+') || s.at('-') {
			s.pos++
		}
		if s.digits() == 0 {
			return nil, s.broken()
		}
	}
	text := s.text[start:s.pos]
	if len(text) > maxNumber {
		return nil, ErrNumber
	}
	if exponent {
		if _, err := strconv.ParseFloat(string(text), 64); err != nil {
			return nil, ErrNumber
		}
	}
	return text, nil
}

func (s *Scanner) at(c byte) bool { return s.pos < len(s.text) && s.text[s.pos] == c }

func (s *Scanner) digits() int {
	start := s.pos
	for s.pos < len(s.text) && '0' <= s.text[s.pos] && s.text[s.pos] <= '9' {
		s.pos++
	}
	return s.pos - start
}

// str reads a string. Most hold no escape and are handed out as they lie.
func (s *Scanner) str() ([]byte, error) {
	if err := s.expect('"'); err != nil {
		return nil, err
	}
	start := s.pos
	for i, c := range s.text[start:] {
		switch {
		case c == '"':
			s.pos = start + i + 1
			return s.text[start : start+i], nil
		case c == '\\':
			s.pos = start + i
			return s.escaped(start)
		case c < ' ':
			s.pos = start + i
			return nil, ErrControl
		}
	}
	s.pos = len(s.text)
	return nil, ErrEnd
}

// escaped reads the rest of a string that began at start and has its first
// escape at pos.
func (s *Scanner) escaped(start int) ([]byte, error) {
	begin := len(s.arena)
	s.arena = append(s.arena, s.text[start:s.pos]...)
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		s.pos++
		switch {
		case c == '"':
			return s.arena[begin:len(s.arena):len(s.arena)], nil
		case c < ' ':
			return nil, ErrControl
		case c != '\\':
			s.arena = append(s.arena, c)
		default:
			if err := s.escape(); err != nil {
				return nil, err
			}
		}
	}
	return nil, ErrEnd
}

func (s *Scanner) escape() error {
	if s.pos >= len(s.text) {
		return ErrEnd
	}
	c := s.text[s.pos]
	s.pos++
	switch c {
	case '"', '\\', '/':
		s.arena = append(s.arena, c)
	case 'b':
		s.arena = append(s.arena, '\b')
	case 'f':
		s.arena = append(s.arena, '\f')
	case 'n':
		s.arena = append(s.arena, '\n')
	case 'r':
		s.arena = append(s.arena, '\r')
	case 't':
		s.arena = append(s.arena, '\t')
	case 'u':
		return s.unicode()
	default:
		return ErrEscape
	}
	return nil
}

func (s *Scanner) unicode() error {
	r, err := s.hex4()
	if err != nil {
		return err
	}
	if utf16.IsSurrogate(r) {
		if !bytes.HasPrefix(s.text[s.pos:], []byte(`\u`)) {
			return ErrSurrogate
		}
		s.pos += 2
		low, err := s.hex4()
		if err != nil {
			return err
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return ErrSurrogate
		}
	}
	s.arena = utf8.AppendRune(s.arena, r)
	return nil
}

func (s *Scanner) hex4() (rune, error) {
	if s.pos+4 > len(s.text) {
		return 0, ErrEnd
	}
	var code [2]byte
	for i := range code {
		hi, lo := unhex(s.text[s.pos+2*i]), unhex(s.text[s.pos+2*i+1])
		if hi > 15 || lo > 15 {
			return 0, ErrEscape
		}
		code[i] = hi<<4 | lo
	}
	s.pos += 4
	return rune(binary.BigEndian.Uint16(code[:])), nil
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	default:
		return 255
	}
}

// Append appends text, which is valid UTF-8, as a JSON string.
func Append[T string | []byte](dst []byte, text T) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
