package query

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cursor says where the next page of a report begins. It is signed with the
// instance's secret, and is good for one tenant and one request only.
type cursor struct {
	// Request is the hash of the request whose page it continues.
	Request string `json:"r"`
	// AsOf pins the version of the books.
	AsOf string `json:"a,omitempty"`
	// After are the sort keys of the last row that was shown; nil is no value.
	After []*string `json:"k"`
}

const cursorMACLen = 16

var cursorEncoding = base64.RawURLEncoding.Strict()

// cursorMAC signs a cursor for a tenant.
func cursorMAC(secret []byte, tenant uint64, payload []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "adtally cursor 1\n%d\n", tenant)
	_, _ = mac.Write(payload) // a hash takes all
	return mac.Sum(nil)[:cursorMACLen]
}

func (c *cursor) sign(secret []byte, tenant uint64) string {
	payload, err := json.Marshal(c)
	if err != nil {
		panic("BUG: a cursor is always JSON: " + err.Error())
	}
	return cursorEncoding.EncodeToString(append(cursorMAC(secret, tenant, payload), payload...))
}

func badCursor() *Problem {
	return badField("cursor", "invalid_cursor", "The cursor is none that this request got: send it unchanged, with the same request and advertiser.")
}

// openCursor checks the signature of a cursor.
func openCursor(secret []byte, tenant uint64, text string) (*cursor, *Problem) {
	raw, err := cursorEncoding.DecodeString(text)
	if err != nil || len(raw) < cursorMACLen {
		return nil, badCursor()
	}
	payload := raw[cursorMACLen:]
	if !hmac.Equal(raw[:cursorMACLen], cursorMAC(secret, tenant, payload)) {
		return nil, badCursor()
	}
	var c cursor
	if json.Unmarshal(payload, &c) != nil {
		return nil, badCursor()
	}
	return &c, nil
}

// canonical writes what a report asks, always in the same way, without the
// version of the books and the page.
func (r *Report) canonical() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s %s %s %s %d\n", r.tenant.Advertiser(), r.start.UTC().Format(time.RFC3339),
		r.end.UTC().Format(time.RFC3339), r.zone, r.granularity.name, r.limit)
	for _, d := range r.dimensions {
		b.WriteString("d " + d.Name + "\n")
	}
	for _, m := range r.metrics {
		b.WriteString("m " + m.name + "\n")
	}
	for _, f := range r.filters {
		fmt.Fprintf(&b, "f %s %t %q\n", f.dimension.Name, f.negated, f.values)
	}
	for _, o := range r.order {
		b.WriteString("o " + o.name(r) + " " + strconv.FormatBool(o.descending) + "\n")
	}
	return b.String()
}

func (r *Report) hash() string {
	sum := sha256.Sum256([]byte(r.canonical()))
	return cursorEncoding.EncodeToString(sum[:16])
}

func (o *orderKey) name(r *Report) string {
	switch {
	case o.bucket:
		return r.granularity.name
	case o.dimension != nil:
		return o.dimension.Name
	default:
		return o.metric.name
	}
}

// totalOrder lists all keys that rows are sorted by: those asked for, and then
// every key of the rows, so that no two rows are equal.
func (r *Report) totalOrder() []orderKey {
	keys := slices.Clone(r.order)
	if r.granularity.typ != "" && !slices.ContainsFunc(keys, func(o orderKey) bool { return o.bucket }) {
		keys = append(keys, orderKey{bucket: true})
	}
	for _, d := range r.dimensions {
		if !slices.ContainsFunc(keys, func(o orderKey) bool { return o.dimension == d }) {
			keys = append(keys, orderKey{dimension: d})
		}
	}
	return keys
}

// sortValues returns the sort keys of a row, as continue reads them.
func (b *block) sortValues(r *Report, st *statement, row int) []*string {
	var values []*string
	add := func(text string) { values = append(values, &text) }
	for _, o := range r.totalOrder() {
		switch {
		case o.bucket:
			add(strconv.FormatInt(b.bucket[row], 10))
		case o.dimension != nil:
			add(b.keyText(r, o.dimension, row))
		case o.metric.per == nil:
			add(b.measureAt(st, o.metric.of, row).String())
		default:
			den := b.measureAt(st, o.metric.per, row)
			if den.Sign() == 0 {
				values = append(values, nil)
				continue
			}
			num := b.measureAt(st, o.metric.of, row)
			num.Mul(num, sortScale)
			add(num.Quo(num, den).String()) // towards zero, as intDiv
		}
	}
	return values
}

// sortScale is that of metric.sortExpr.
var sortScale = big.NewInt(1_000_000_000_000_000_000)

func (b *block) keyText(r *Report, d *dimension, row int) string {
	v := &b.keys[slices.Index(r.dimensions, d)]
	if d.ID {
		return strconv.FormatUint(v.IDs[row], 10)
	}
	return textAt(v, row)
}

func (b *block) measureAt(st *statement, m *measure, row int) *big.Int {
	if m == reports.spend {
		return b.spend[row].BigInt()
	}
	return big.NewInt(b.counts[slices.Index(st.measures, m)][row])
}

// following returns the statement's text for the rows after the last page. The
// totals stay those of all rows.
func (b *builder) following(r *Report, text string) string {
	if r.after == nil {
		return text
	}
	return "SELECT * FROM (\n" + text + "\n)\nWHERE " + b.after(r.totalOrder(), r.after)
}

// after compares rows with the sort keys of the last one.
func (b *builder) after(order []orderKey, values []*string) string {
	o, value := order[0], values[0]
	name := "k" + strconv.Itoa(len(values))
	expr, typ := o.sortKey()
	greater, equal := "0", "isNull("+expr+")"
	if value != nil {
		b.params[name] = *value
		if typ == "String" {
			b.params[name] = escapeParam(*value)
		}
		op := " > "
		if o.descending {
			op = " < "
		}
		greater, equal = expr+op+"{"+name+":"+typ+"}", expr+" = {"+name+":"+typ+"}"
		if o.metric != nil && o.metric.per != nil {
			// Rows without a value come last.
			greater, equal = "ifNull("+greater+", 1)", "ifNull("+equal+", 0)"
		}
	}
	if len(order) == 1 {
		return greater
	}
	return "(" + greater + " OR (" + equal + " AND " + b.after(order[1:], values[1:]) + "))"
}

// sortKey is the expression that a key sorts by, and its type.
func (o *orderKey) sortKey() (expr, typ string) {
	switch {
	case o.bucket:
		return "bucket", "Int64"
	case o.dimension != nil && o.dimension.ID:
		return o.dimension.Name, "UInt64"
	case o.dimension != nil:
		return o.dimension.Name, "String"
	case o.metric.per == nil && o.metric.of == reports.spend:
		return o.metric.of.alias, "Int128"
	case o.metric.per == nil:
		return o.metric.of.alias, "Int64"
	default:
		return o.metric.sortExpr(), "Int256"
	}
}

// escapeParam writes a text as the value of a parameter.
func escapeParam(text string) string {
	var dst []byte
	for i := range len(text) {
		dst = appendPlain(dst, text[i])
	}
	return string(dst)
}
