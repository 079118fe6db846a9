package query

import (
	"io"
	"strconv"
	"time"
	"unicode/utf8"
)

// flushAt is how much text is collected before it is written.
const flushAt = 64 << 10

// writeJSON writes an answer as one JSON object. Cells are appended straight
// from the rows: a large answer is mostly digits, and reflecting over maps would
// cost more than the query.
func (a *Answer) writeJSON(w io.Writer) error {
	dst := make([]byte, 0, flushAt+4096)
	dst = append(dst, `{"columns":[`...)
	for i, c := range a.columns {
		dst = appendComma(dst, i)
		dst = append(dst, `{"name":"`+c.name+`","type":"`+string(c.typ)+`"}`...)
	}
	dst = append(dst, `],"rows":[`...)
	for i := range a.rows {
		dst = appendComma(dst, i)
		dst = a.appendRow(dst, &a.rows[i], true)
		if len(dst) >= flushAt {
			if _, err := w.Write(dst); err != nil {
				return err
			}
			dst = dst[:0]
		}
	}
	dst = append(dst, `],"totals":`...)
	dst = a.appendRow(dst, &a.totals, false)
	dst = append(dst, `,"meta":`...)
	dst = append(a.appendMeta(dst), "}\n"...)
	_, err := w.Write(dst)
	return err
}

// appendRow writes a row as an object; keys are left out of the totals.
func (a *Answer) appendRow(dst []byte, row *cells, keys bool) []byte {
	dst = append(dst, '{')
	n := 0
	for i := range a.columns {
		c := &a.columns[i]
		if c.key && !keys {
			continue
		}
		dst = appendComma(dst, n)
		n++
		dst = append(dst, '"')
		dst = append(dst, c.name...)
		dst = append(dst, `":`...)
		dst = c.appendJSON(dst, row)
	}
	return append(dst, '}')
}

func (c *column) appendJSON(dst []byte, row *cells) []byte {
	begin := len(dst)
	if c.typ != typeInteger {
		dst = append(dst, '"')
	}
	text := len(dst)
	dst, ok := c.cell(dst, row)
	switch {
	case !ok:
		return append(dst[:begin], "null"...)
	case c.typ == typeInteger:
		return dst
	case c.typ == typeString:
		return appendJSONString(dst[:begin], string(dst[text:]))
	default:
		return append(dst, '"')
	}
}

func (a *Answer) appendMeta(dst []byte) []byte {
	dst = append(dst, `{"complete_through":`...)
	if a.meta.completeThrough.IsZero() {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, '"')
		dst = a.meta.completeThrough.UTC().AppendFormat(dst, time.RFC3339)
		dst = append(dst, '"')
	}
	dst = append(dst, `,"finality":"`+finalityProvisional+`","timezone":`...)
	dst = appendJSONString(dst, a.report.zone.String())
	dst = append(dst, `,"advertiser":"`...)
	dst = strconv.AppendUint(dst, a.report.tenant.Advertiser(), 10)
	dst = append(dst, '"')
	if a.meta.currency != "" {
		dst = append(dst, `,"currency":`...)
		dst = appendJSONString(dst, a.meta.currency)
	}
	dst = append(dst, `,"rows":`...)
	dst = strconv.AppendInt(dst, int64(len(a.rows)), 10)
	dst = append(dst, `,"truncated":`...)
	dst = strconv.AppendBool(dst, a.meta.truncated)
	dst = append(dst, `,"query_ms":`...)
	dst = strconv.AppendInt(dst, a.meta.took.Milliseconds(), 10)
	return append(dst, '}')
}

func appendComma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

// appendJSONString writes any bytes as a JSON string; what is not UTF-8 becomes
// U+FFFD.
func appendJSONString(dst []byte, text string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
