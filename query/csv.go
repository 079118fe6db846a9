package query

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// writeCSV writes the rows as RFC 4180: CRLF, quotes where needed, an empty cell
// for no value. encoding/csv is not used as it drops a CR inside of a cell.
func (a *Answer) writeCSV(w io.Writer) error {
	dst := make([]byte, 0, flushAt+4096)
	for i, c := range a.columns {
		dst = appendComma(dst, i)
		dst = append(dst, c.name...)
	}
	dst = append(dst, "\r\n"...)
	for i := range a.rows {
		for j := range a.columns {
			dst = appendComma(dst, j)
			dst = a.columns[j].appendCSV(dst, &a.rows[i])
		}
		dst = append(dst, "\r\n"...)
		if len(dst) >= flushAt {
			if _, err := w.Write(dst); err != nil {
				return err
			}
			dst = dst[:0]
		}
	}
	_, err := w.Write(dst)
	return err
}

func (c *column) appendCSV(dst []byte, row *cells) []byte {
	begin := len(dst)
	dst, ok := c.cell(dst, row)
	if !ok {
		return dst[:begin]
	}
	if c.typ == typeString {
		return appendCSVText(dst[:begin], string(dst[begin:]))
	}
	return dst
}

// appendCSVText writes a text cell. One that a spreadsheet would run as a
// formula gets a leading apostrophe.
func appendCSVText(dst []byte, text string) []byte {
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

// startsFormula looks behind leading blanks, as some programs cut those, and
// knows the full-width forms that some take for the plain ones.
func startsFormula(text string) bool {
	if strings.IndexAny(text, "\t\r\n\x00") == 0 {
		return true
	}
	first, size := utf8.DecodeRuneInString(strings.TrimLeftFunc(text, unicode.IsSpace))
	return size > 0 && strings.ContainsRune("=+-@\x00＝＋－＠", first)
}

// setHeaders tells in headers what JSON tells in meta.
func (a *Answer) setHeaders(h http.Header) {
	through := ""
	if !a.meta.completeThrough.IsZero() {
		through = a.meta.completeThrough.UTC().Format(time.RFC3339)
	}
	h.Set("X-Adtally-Complete-Through", through)
	h.Set("X-Adtally-Finality", finalityProvisional)
	h.Set("X-Adtally-Timezone", a.report.zone.String())
	h.Set("X-Adtally-Advertiser", strconv.FormatUint(a.report.tenant.Advertiser(), 10))
	h.Set("X-Adtally-Rows", strconv.Itoa(len(a.rows)))
	h.Set("X-Adtally-Truncated", strconv.FormatBool(a.meta.truncated))
	h.Set("X-Adtally-Query-Ms", strconv.FormatInt(a.meta.took.Milliseconds(), 10))
	if a.meta.currency != "" {
		h.Set("X-Adtally-Currency", a.meta.currency)
	}
}
