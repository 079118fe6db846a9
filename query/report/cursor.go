package report

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/query/problems"
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

func badCursor() *problems.Problem {
	return problems.Field("cursor", "invalid_cursor", "The cursor is none that this request got: send it unchanged, with the same request and advertiser.")
}

// openCursor checks the signature of a cursor.
func openCursor(secret []byte, tenant uint64, text string) (*cursor, *problems.Problem) {
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

// Canonical writes what a report asks, always in the same way, without the
// version of the books and the page.
func (r *Report) Canonical() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s %s %s %s %d\n", r.Tenant.Advertiser(), r.Start.UTC().Format(time.RFC3339),
		r.End.UTC().Format(time.RFC3339), r.Zone, r.Granularity.Name, r.Limit)
	for _, d := range r.Dimensions {
		b.WriteString("d " + d.Name + "\n")
	}
	for _, m := range r.Metrics {
		b.WriteString("m " + m.Name + "\n")
	}
	for _, f := range r.Filters {
		fmt.Fprintf(&b, "f %s %t %q\n", f.Dimension.Name, f.Negated, f.Values)
	}
	for _, o := range r.Order {
		b.WriteString("o " + o.name(r) + " " + strconv.FormatBool(o.Descending) + "\n")
	}
	return b.String()
}

func (r *Report) hash() string {
	sum := sha256.Sum256([]byte(r.Canonical()))
	return cursorEncoding.EncodeToString(sum[:16])
}

func (o *SortKey) name(r *Report) string {
	switch {
	case o.Bucket:
		return r.Granularity.Name
	case o.Dimension != nil:
		return o.Dimension.Name
	default:
		return o.Metric.Name
	}
}

// TotalOrder lists all keys that rows are sorted by: those asked for, and then
// every key of the rows, so that no two rows are equal.
func (r *Report) TotalOrder() []SortKey {
	keys := slices.Clone(r.Order)
	if r.Granularity.Type != "" && !slices.ContainsFunc(keys, func(o SortKey) bool { return o.Bucket }) {
		keys = append(keys, SortKey{Bucket: true})
	}
	for _, d := range r.Dimensions {
		if !slices.ContainsFunc(keys, func(o SortKey) bool { return o.Dimension == d }) {
			keys = append(keys, SortKey{Dimension: d})
		}
	}
	return keys
}

// Page checks a request as New does, and finds the page that its cursor asks for.
func Page(req Request, grant access.Grant, account func(advertiser uint64) access.Account, secret []byte) (*Report, *problems.Problem) {
	text := req.Cursor
	req.Cursor = ""
	if text == "" {
		return New(req, grant, account)
	}
	tenant, problem := TenantOf(req.Advertiser, grant)
	if problem != nil {
		return nil, problem
	}
	page, problem := openCursor(secret, tenant.Advertiser(), text)
	if problem != nil {
		return nil, problem
	}
	if page.AsOf != "" {
		if req.AsOf != "" && req.AsOf != page.AsOf {
			return nil, badCursor()
		}
		req.AsOf = page.AsOf
	}
	r, problem := New(req, grant, account)
	if problem != nil {
		return nil, problem
	}
	if r.hash() != page.Request || len(page.After) != len(r.TotalOrder()) {
		return nil, badCursor()
	}
	r.After = page.After
	return r, nil
}

// NextCursor is the cursor of the page behind a row, whose sort keys are those of
// TotalOrder, in the version of the books that asOf names.
func (r *Report) NextCursor(secret []byte, asOf string, after []*string) string {
	next := cursor{Request: r.hash(), AsOf: asOf, After: after}
	return next.sign(secret, r.Tenant.Advertiser())
}
