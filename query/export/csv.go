package export

import (
	"bytes"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// csvWriter writes the rows as RFC 4180: CRLF, quotes where needed, an empty cell
// for no value. encoding/csv is not used as it drops a CR inside of a cell.
type csvWriter struct {
	w     io.Writer
	shape *Shape
	buf   []byte
	cells []textCells
	// format has a comma in front of all cells but the first.
	format textFormat
}

func newCSV(w io.Writer, shape *Shape) *csvWriter {
	c := &csvWriter{w: w, shape: shape, buf: make([]byte, 0, flushAt+8192)}
	c.format.escape = AppendCSVText
	for i, column := range shape.Columns {
		comma := ""
		if i > 0 {
			comma = ","
		}
		c.format.before = append(c.format.before, comma)
		c.buf = append(append(c.buf, comma...), column.Name...)
	}
	c.buf = append(c.buf, "\r\n"...)
	return c
}

// Batch implements Writer.
func (c *csvWriter) Batch(b *Batch) error {
	c.cells = c.format.columns(c.cells, c.shape, b)
	dst := c.buf
	for row := range b.Rows {
		for i := range c.cells {
			dst = c.cells[i].append(dst, row)
		}
		dst = append(dst, "\r\n"...)
		if len(dst) >= flushAt {
			if _, err := c.w.Write(dst); err != nil {
				return err
			}
			dst = dst[:0]
		}
	}
	c.buf = dst
	return nil
}

// Close implements Writer; CSV has no place for totals.
func (c *csvWriter) Close(*Batch, *Meta) error {
	_, err := c.w.Write(c.buf)
	return err
}

// AppendCSVText writes a text cell. One that a spreadsheet would run as a formula
// gets a leading apostrophe (OWASP ASVS 5.0, 1.2.10); numbers are never texts here
// and stay as they are.
func AppendCSVText(dst []byte, text string) []byte {
	if startsFormula(text) {
		text = "'" + text
	}
	if !strings.ContainsAny(text, ",\"\r\n") && text == strings.TrimSpace(text) {
		return append(dst, text...)
	}
	dst = append(dst, '"')
	dst = append(dst, bytes.ReplaceAll([]byte(text), []byte(`"`), []byte(`""`))...)
	return append(dst, '"')
}

// startsFormula looks behind leading blanks and marks that programs cut or do not
// show, and knows the full-width forms that some take for the plain ones.
func startsFormula(text string) bool {
	if strings.IndexAny(text, "\t\r\n\x00") == 0 {
		return true
	}
	first, size := utf8.DecodeRuneInString(strings.TrimLeftFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r)
	}))
	return size > 0 && strings.ContainsRune("=+-@\t\r\n\x00＝＋－＠", first)
}
