package proto

import (
	"errors"
	"strconv"
	"strings"
)

// NanosPerUnit is the number of nano-units in one unit of a currency.
const NanosPerUnit = 1_000_000_000

// MaxPrice is the largest price that a request may state, in whole units. A
// ledger cell (one minute of one campaign) holds its spend in an Int64, which
// overflows at nine billion units; reports add cells up in 128 bits.
const MaxPrice = 1_000_000

const priceDigits = 6

var (
	errPriceSyntax = errors.New("not a plain decimal number such as 1.25")
	errPriceDigits = errors.New("more than 6 decimal places")
	errPriceRange  = errors.New("more than 1000000")
)

// ParsePrice reads a decimal with at most 6 places and returns the price of
// one event in nano-units: a thousandth of the stated price for CPM, the
// stated price otherwise. The result is exact.
func ParsePrice(text string, model Pricing) (int64, error) {
	whole, frac, dot := strings.Cut(text, ".")
	if whole == "" || dot && frac == "" || !allDigits(whole) || !allDigits(frac) {
		return 0, errPriceSyntax
	}
	if len(frac) > priceDigits {
		return 0, errPriceDigits
	}
	units, err := strconv.ParseUint(whole, 10, 32)
	if err != nil || units > MaxPrice {
		return 0, errPriceRange
	}
	micros := int64(units) * 1_000_000
	if frac != "" {
		part, err := strconv.ParseUint((frac + "000000")[:priceDigits], 10, 32)
		if err != nil {
			return 0, errPriceSyntax
		}
		micros += int64(part)
	}
	if micros > MaxPrice*1_000_000 {
		return 0, errPriceRange
	}
	if model == Pricing_PRICING_CPM {
		return micros, nil // millionths per thousand are nano-units per event
	}
	return micros * 1_000, nil
}

// FormatNanos writes nano-units as a decimal without trailing zeros: "1.25".
func FormatNanos(nanos int64) string {
	sign := ""
	n := uint64(nanos)
	if nanos < 0 {
		sign, n = "-", -n
	}
	text := sign + strconv.FormatUint(n/NanosPerUnit, 10)
	frac := n % NanosPerUnit
	if frac == 0 {
		return text
	}
	digits := strconv.FormatUint(NanosPerUnit+frac, 10)[1:]
	return text + "." + strings.TrimRight(digits, "0")
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
