package token

import (
	"strings"
	"unicode/utf8"

	"github.com/adtally/adtally/proto"
)

// The longest texts that a token may hold, in bytes.
const (
	MaxImpressionID = 128
	MaxVariant      = 64
	MaxLandingURL   = 2048
)

// FieldError is a field of a token that must not be counted as it is.
type FieldError struct {
	// Field is the name of the field in adtally.v1.Token.
	Field string
	// Problem completes the sentence that begins with the field.
	Problem string
}

// Error returns the field and its problem.
func (e *FieldError) Error() string { return e.Field + " " + e.Problem }

// Validate reports the first field of t that ingest would refuse, as a
// *FieldError. It does not look at the version, the key id and the expiry: an
// expired token still counts, flagged.
func Validate(t *proto.Token) error {
	switch {
	case t.AdvertiserId == 0:
		return &FieldError{"advertiser_id", "must be greater than 0"}
	case t.CampaignId == 0:
		return &FieldError{"campaign_id", "must be greater than 0"}
	case t.ImpressionId == "" || len(t.ImpressionId) > MaxImpressionID || !utf8.ValidString(t.ImpressionId):
		return &FieldError{"impression_id", "must be 1 to 128 bytes of UTF-8"}
	case len(t.Variant) > MaxVariant || !utf8.ValidString(t.Variant):
		return &FieldError{"variant", "must be at most 64 bytes of UTF-8"}
	case t.Issued < 0:
		return &FieldError{"issued", "must not be negative"}
	case t.Expires < 0:
		return &FieldError{"expires", "must not be negative"}
	}
	if err := validatePrice(t); err != nil {
		return err
	}
	if t.LandingUrl != "" {
		return validateLanding(t.LandingUrl)
	}
	return nil
}

func validatePrice(t *proto.Token) error {
	limit := int64(proto.MaxPrice) * proto.NanosPerUnit
	if t.Pricing == proto.Pricing_PRICING_CPM {
		limit /= 1000
	}
	switch {
	case t.PriceNanos < 0 || t.PriceNanos > limit:
		return &FieldError{"price_nanos", "must be 0 to the largest price"}
	case t.Pricing < 0 || t.Pricing > proto.Pricing_PRICING_FLAT:
		return &FieldError{"pricing", "is not known"}
	case t.PriceNanos > 0 && t.Pricing == proto.Pricing_PRICING_UNSPECIFIED:
		return &FieldError{"pricing", "is needed with a price"}
	case t.Currency == "" && t.PriceNanos > 0:
		return &FieldError{"currency", "is needed with a price"}
	case t.Currency != "" && !validCurrency(t.Currency):
		return &FieldError{"currency", "must be 3 upper-case letters"}
	}
	return nil
}

func validCurrency(code string) bool {
	if len(code) != 3 {
		return false
	}
	for i := range len(code) {
		if code[i] < 'A' || code[i] > 'Z' {
			return false
		}
	}
	return true
}

// validateLanding accepts only URLs that every browser reads the same way: an
// absolute http or https URL of visible ASCII with a plain host. What a parser
// might repair (backslashes, user names, escaped hosts) is refused.
func validateLanding(url string) error {
	if len(url) > MaxLandingURL {
		return &FieldError{"landing_url", "must be at most 2048 bytes"}
	}
	for i := range len(url) {
		if c := url[i]; c <= ' ' || c >= 0x7f || c == '\\' {
			return &FieldError{"landing_url", "must be visible ASCII without backslashes"}
		}
	}
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return &FieldError{"landing_url", "must begin with http:// or https://"}
	}
	host := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		host = rest[:end]
	}
	if !validHost(host) {
		return &FieldError{"landing_url", "must have a plain host without user name"}
	}
	return nil
}

// validHost takes name, name:port, [ipv6] and [ipv6]:port.
func validHost(host string) bool {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		address, rest, ok := strings.Cut(inner, "]")
		return ok && len(address) > 1 && onlyOf(address, isHexColon) && validPort(rest)
	}
	end := strings.IndexByte(host, ':')
	if end < 0 {
		end = len(host)
	}
	return end > 0 && onlyOf(host[:end], isHostByte) && validPort(host[end:])
}

// validPort takes nothing or a colon with a number.
func validPort(text string) bool {
	port, ok := strings.CutPrefix(text, ":")
	return text == "" || ok && port != "" && len(port) <= 5 && onlyOf(port, isDigit)
}

func onlyOf(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHostByte(c byte) bool { return isAlnum(c) || c == '-' || c == '.' || c == '_' }

func isHexColon(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' || c == ':' || c == '.'
}
