package books

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
)

// Sums are the measures of rows of one currency.
type Sums struct {
	Gross     int64   `json:"gross"`
	Net       int64   `json:"net"`
	Duplicate int64   `json:"duplicate"`
	Invalid   int64   `json:"invalid"`
	Orphan    int64   `json:"orphan"`
	Spend     big.Int `json:"spend_nanos"`
}

func (s *Sums) add(t *Sums) {
	s.Gross += t.Gross
	s.Net += t.Net
	s.Duplicate += t.Duplicate
	s.Invalid += t.Invalid
	s.Orphan += t.Orphan
	s.Spend.Add(&s.Spend, &t.Spend)
}

func (s *Sums) equal(t *Sums) bool {
	return s.Gross == t.Gross && s.Net == t.Net && s.Duplicate == t.Duplicate && s.Invalid == t.Invalid &&
		s.Orphan == t.Orphan && s.Spend.Cmp(&t.Spend) == 0
}

// Totals are control totals: the sums by currency.
type Totals map[string]*Sums

// Add adds the sums of o to t.
func (t Totals) Add(o Totals) {
	for currency, sums := range o {
		if t[currency] == nil {
			t[currency] = &Sums{}
		}
		t[currency].add(sums)
	}
}

// Equal reports whether both are the same; a currency without anything does not
// count.
func (t Totals) Equal(o Totals) bool {
	var none Sums
	at := func(t Totals, currency string) *Sums {
		if sums := t[currency]; sums != nil {
			return sums
		}
		return &none
	}
	for _, list := range []Totals{t, o} {
		for currency := range list {
			if !at(t, currency).equal(at(o, currency)) {
				return false
			}
		}
	}
	return true
}

// All adds up the currencies. It is a checksum; currencies are never added up
// where people see it.
func (t Totals) All() Sums {
	var all Sums
	for _, sums := range t {
		all.add(sums)
	}
	return all
}

// Currencies lists the currencies in order.
func (t Totals) Currencies() []string { return slices.Sorted(maps.Keys(t)) }

// String writes the totals for a log line.
func (t Totals) String() string {
	var text strings.Builder
	for _, currency := range t.Currencies() {
		s := t[currency]
		fmt.Fprintf(&text, "[%s gross %d net %d duplicate %d invalid %d orphan %d spend_nanos %s]",
			currency, s.Gross, s.Net, s.Duplicate, s.Invalid, s.Orphan, &s.Spend)
	}
	return text.String()
}
