package token

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/adtally/adtally/proto"
)

const maxSpecLine = 64 << 10

// ReadSpecs reads one JSON object a line from r, as ParseSpec does, and calls f
// with each token; empty lines are skipped. f may keep the token. Errors name
// the line.
func ReadSpecs(r io.Reader, now time.Time, f func(*proto.Token) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxSpecLine)
	n := 0
	for lines.Scan() {
		n++
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		t, err := ParseSpec(line, now)
		if err == nil {
			err = f(t)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	return nil
}

// ParseSpec reads the fields of a token from a JSON object: advertiser_id,
// campaign_id, ad_group_id, creative_id, placement_id, publisher_id (numbers
// or strings), impression_id (random when absent), price (a decimal, as the
// pricing model states it), pricing, currency, variant, landing_url, issued
// (now when absent) and expires (RFC 3339 or seconds since 1970). The token is
// valid and ready for Sign.
func ParseSpec(line []byte, now time.Time) (*proto.Token, error) {
	s := spec{token: &proto.Token{Version: Version, Issued: now.Unix()}}
	if err := s.fields(line); err != nil {
		return nil, err
	}
	t := s.token
	if t.ImpressionId == "" {
		t.ImpressionId = hex.EncodeToString(randomBytes(16))
	}
	if s.price != "" {
		nanos, err := proto.ParsePrice(s.price, t.Pricing)
		if err != nil {
			return nil, fmt.Errorf("price %q: %w", s.price, err)
		}
		t.PriceNanos = nanos
	}
	if err := Validate(t); err != nil {
		return nil, err
	}
	return t, nil
}

// spec is a token in the making. The price waits here until the pricing model
// is known.
type spec struct {
	token *proto.Token
	price string
}

func (s *spec) fields(line []byte) error {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	seen := make(map[string]bool)
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return fmt.Errorf("read field name: %w", err)
		}
		name, ok := key.(string)
		if !ok {
			return errors.New("not a JSON object")
		}
		if seen[name] {
			return fmt.Errorf("field %q is given twice", name)
		}
		seen[name] = true
		value, err := dec.Token()
		if err != nil {
			return fmt.Errorf("read field %q: %w", name, err)
		}
		if err := s.set(name, value); err != nil {
			return fmt.Errorf("field %q: %w", name, err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("read end of object: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more text after the JSON object")
	}
	return nil
}

func (s *spec) set(name string, value json.Token) (err error) {
	t := s.token
	switch name {
	case "advertiser_id":
		t.AdvertiserId, err = idOf(value)
	case "campaign_id":
		t.CampaignId, err = idOf(value)
	case "ad_group_id":
		t.AdGroupId, err = idOf(value)
	case "creative_id":
		t.CreativeId, err = idOf(value)
	case "placement_id":
		t.PlacementId, err = idOf(value)
	case "publisher_id":
		t.PublisherId, err = idOf(value)
	case "impression_id":
		t.ImpressionId, err = textOf(value)
	case "price":
		s.price, err = decimalOf(value)
	case "pricing":
		t.Pricing, err = pricingOf(value)
	case "currency":
		t.Currency, err = textOf(value)
	case "variant":
		t.Variant, err = textOf(value)
	case "landing_url":
		t.LandingUrl, err = textOf(value)
	case "issued":
		t.Issued, err = secondsOf(value)
	case "expires":
		t.Expires, err = secondsOf(value)
	default:
		return errors.New("unknown field")
	}
	return err
}

func textOf(value json.Token) (string, error) {
	s, ok := value.(string)
	if !ok {
		return "", errors.New("not a string")
	}
	return s, nil
}

// decimalOf keeps the text of a number: a float would not be exact.
func decimalOf(value json.Token) (string, error) {
	switch v := value.(type) {
	case string:
		if v == "" {
			return "", errors.New("is empty")
		}
		return v, nil
	case json.Number:
		return v.String(), nil
	default:
		return "", errors.New("neither a decimal string nor a number")
	}
}

func idOf(value json.Token) (uint64, error) {
	text, err := decimalOf(value)
	if err != nil {
		return 0, err
	}
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, errors.New("not an integer from 0 to 18446744073709551615")
	}
	return id, nil
}

func pricingOf(value json.Token) (proto.Pricing, error) {
	name, err := textOf(value)
	if err != nil {
		return 0, err
	}
	p, ok := proto.ParsePricing(name)
	if !ok {
		return 0, errors.New("not one of cpm, cpc, cpa, flat")
	}
	return p, nil
}

func secondsOf(value json.Token) (int64, error) {
	switch v := value.(type) {
	case json.Number:
		sec, err := v.Int64()
		if err == nil && sec >= 0 {
			return sec, nil
		}
	case string:
		at, err := time.Parse(time.RFC3339, v)
		if err == nil {
			return at.Unix(), nil
		}
	}
	return 0, errors.New("neither RFC 3339 nor seconds since 1970")
}
