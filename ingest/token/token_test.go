package token

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	protobuf "google.golang.org/protobuf/proto"

	"github.com/adtally/adtally/proto"
)

const vectorFile = "../../proto/testdata/tokens.json"

// vectors is the file that other languages test against.
type vectors struct {
	Current string `json:"current"`
	Keys    []Key  `json:"keys"`
	Valid   []struct {
		Name    string          `json:"name"`
		Spec    json.RawMessage `json:"spec"`
		Payload string          `json:"payload_hex"`
		Token   string          `json:"token"`
	} `json:"valid"`
	Invalid []struct {
		Name   string `json:"name"`
		Token  string `json:"token"`
		Reason string `json:"reason"`
		Field  string `json:"field"`
	} `json:"invalid"`
}

func loadVectors(tb testing.TB) (vectors, *Keyring) {
	tb.Helper()
	text, err := os.ReadFile(vectorFile)
	if err != nil {
		tb.Fatal(err)
	}
	var v vectors
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		tb.Fatal(err)
	}
	ring, err := NewKeyring(v.Current, v.Keys)
	if err != nil {
		tb.Fatal(err)
	}
	return v, ring
}

func TestVectors(t *testing.T) {
	t.Parallel()
	v, ring := loadVectors(t)
	if len(v.Valid) < 3 || len(v.Invalid) < 10 {
		t.Fatalf("%d valid and %d invalid vectors", len(v.Valid), len(v.Invalid))
	}
	for _, c := range v.Valid {
		want, err := ParseSpec(c.Spec, time.Time{})
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		if got := string(ring.Sign(nil, want)); got != c.Token {
			t.Errorf("%s: signed %s, want %s", c.Name, got, c.Token)
		}
		payload, _, _ := strings.Cut(c.Token, ".")
		if raw, err := base64.RawURLEncoding.DecodeString(payload); err != nil || hex.EncodeToString(raw) != c.Payload {
			t.Errorf("%s: payload %x, want %s", c.Name, raw, c.Payload)
		}
		var got proto.Token
		if err := ring.Verify(&got, []byte(c.Token)); err != nil || !protobuf.Equal(&got, want) {
			t.Errorf("%s: %v, got %v, want %v", c.Name, err, &got, want)
		}
	}
	for _, c := range v.Invalid {
		var got proto.Token
		err := ring.Verify(&got, []byte(c.Token))
		if reason, field := classify(err); reason != c.Reason || field != c.Field {
			t.Errorf("%s: %v (%s %s), want %s %s", c.Name, err, reason, field, c.Reason, c.Field)
		}
	}
}

func classify(err error) (reason, field string) {
	switch {
	case err == nil:
		return "none", ""
	case errors.Is(err, ErrSyntax):
		return "syntax", ""
	case errors.Is(err, ErrSignature):
		return "signature", ""
	case errors.Is(err, ErrVersion):
		return "version", ""
	}
	if bad, ok := errors.AsType[*FieldError](err); ok {
		return "field", bad.Field
	}
	return err.Error(), ""
}

func testRing(tb testing.TB) *Keyring {
	tb.Helper()
	ring, err := NewKeyring("k1", []Key{{ID: "k1", Secret: bytes.Repeat([]byte("s"), 32)}})
	if err != nil {
		tb.Fatal(err)
	}
	return ring
}

func sample() *proto.Token {
	return &proto.Token{
		AdvertiserId: 1, CampaignId: 2, ImpressionId: "i", PriceNanos: 5, Pricing: proto.Pricing_PRICING_CPC, Currency: "USD",
		LandingUrl: "https://h/", Issued: 1_700_000_000,
	}
}

// TestEveryBitCounts flips each bit of a token text: no other text is valid.
func TestEveryBitCounts(t *testing.T) {
	t.Parallel()
	ring := testRing(t)
	text := ring.Sign(nil, sample())
	var got proto.Token
	for i := range text {
		for bit := range 8 {
			text[i] ^= 1 << bit
			if err := ring.Verify(&got, text); !errors.Is(err, ErrSignature) && !errors.Is(err, ErrSyntax) {
				t.Errorf("byte %d, bit %d: %v", i, bit, err)
			}
			text[i] ^= 1 << bit
		}
	}
	for n := range text {
		if err := ring.Verify(&got, text[:n]); !errors.Is(err, ErrSignature) && !errors.Is(err, ErrSyntax) {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
	for _, extra := range []string{"=", "A", ".", "\n", " "} {
		for i := range len(text) + 1 {
			longer := string(text[:i]) + extra + string(text[i:])
			if err := ring.Verify(&got, []byte(longer)); err == nil {
				t.Errorf("%q at %d is still valid", extra, i)
			}
		}
	}
}

func TestKeysAreTakenByID(t *testing.T) {
	t.Parallel()
	a, b := Key{ID: "a", Secret: randomBytes(32)}, Key{ID: "b", Secret: randomBytes(32)}
	f := func(current string, keys []Key, text []byte, want error) {
		t.Helper()
		ring, err := NewKeyring(current, keys)
		if err != nil {
			t.Fatal(err)
		}
		var got proto.Token
		if err := ring.Verify(&got, text); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	onlyA, err := NewKeyring("a", []Key{a})
	if err != nil {
		t.Fatal(err)
	}
	text := onlyA.Sign(nil, sample())
	f("a", []Key{a}, text, nil)
	f("b", []Key{b, a}, text, nil)
	f("b", []Key{b}, text, ErrSignature)
	f("a", []Key{{ID: "a", Secret: b.Secret}}, text, ErrSignature)
	f("b", []Key{{ID: "b", Secret: a.Secret}}, text, ErrSignature)
}

func TestUnknownVersion(t *testing.T) {
	t.Parallel()
	ring := testRing(t)
	f := func(change func(*proto.Token), want error) {
		t.Helper()
		tk := sample()
		tk.KeyId, tk.Version = "k1", Version
		change(tk)
		payload, err := tk.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		var got proto.Token
		if err := ring.Verify(&got, seal(ring, payload)); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	f(func(*proto.Token) {}, nil)
	f(func(tk *proto.Token) { tk.Version = 2 }, ErrVersion)
	f(func(tk *proto.Token) { tk.Version = 0 }, ErrVersion)
	f(func(tk *proto.Token) { tk.KeyId = "" }, ErrSignature)
}

// seal signs any payload with the current key.
func seal(ring *Keyring, payload []byte) []byte {
	text := encoding.AppendEncode(nil, payload)
	m := ring.current.sign(text)
	defer ring.current.put(m)
	return encoding.AppendEncode(append(text, '.'), m.sum[:macBytes])
}

// TestAuthenticNonsense signs payloads that are no token: the parser must stand
// whatever a key holder signs.
func TestAuthenticNonsense(t *testing.T) {
	t.Parallel()
	ring := testRing(t)
	head := []byte{0x08, 0x01, 0x12, 0x02, 'k', '1'}
	f := func(rest []byte, want string) {
		t.Helper()
		var got proto.Token
		reason, _ := classify(ring.Verify(&got, seal(ring, append(bytes.Clone(head), rest...))))
		if reason != want {
			t.Errorf("%x: %s, want %s", rest, reason, want)
		}
	}
	f(nil, "field")
	f([]byte{0x4a, 0xff, 0xff, 0xff, 0xff, 0x07}, "syntax")                                     // 2^31 bytes follow, says the length
	f([]byte{0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, "syntax") // a varint of 11 bytes
	f([]byte{0x1f, 0x01}, "syntax")                                                             // wire type 7
	f([]byte{0x00}, "syntax")
	f(bytes.Repeat([]byte{0xa0, 0x06, 0x01}, 1000), "field") // unknown fields
	f(make([]byte, maxPayload), "syntax")                    // longer than any token
}

func TestValidate(t *testing.T) {
	t.Parallel()
	f := func(field string, change func(*proto.Token)) {
		t.Helper()
		tk := sample()
		change(tk)
		err := Validate(tk)
		bad, ok := errors.AsType[*FieldError](err)
		if field == "" && err != nil || field != "" && (!ok || bad.Field != field) {
			t.Errorf("%v, want %q for %v", err, field, tk)
		}
	}
	f("", func(*proto.Token) {})
	f("advertiser_id", func(tk *proto.Token) { tk.AdvertiserId = 0 })
	f("campaign_id", func(tk *proto.Token) { tk.CampaignId = 0 })
	f("impression_id", func(tk *proto.Token) { tk.ImpressionId = "" })
	f("impression_id", func(tk *proto.Token) { tk.ImpressionId = strings.Repeat("i", 129) })
	f("", func(tk *proto.Token) { tk.ImpressionId = strings.Repeat("i", 128) })
	f("impression_id", func(tk *proto.Token) { tk.ImpressionId = "\xff" })
	f("variant", func(tk *proto.Token) { tk.Variant = strings.Repeat("i", 65) })
	f("variant", func(tk *proto.Token) { tk.Variant = "\xff" })
	f("issued", func(tk *proto.Token) { tk.Issued = -1 })
	f("expires", func(tk *proto.Token) { tk.Expires = -1 })
	f("price_nanos", func(tk *proto.Token) { tk.PriceNanos = -1 })
	f("", func(tk *proto.Token) { tk.PriceNanos = 1_000_000_000_000_000 })
	f("price_nanos", func(tk *proto.Token) { tk.PriceNanos = 1_000_000_000_000_001 })
	f("", func(tk *proto.Token) {
		tk.Pricing, tk.PriceNanos = proto.Pricing_PRICING_CPM, 1_000_000_000_000
	})
	f("price_nanos", func(tk *proto.Token) {
		tk.Pricing, tk.PriceNanos = proto.Pricing_PRICING_CPM, 1_000_000_000_001
	})
	f("pricing", func(tk *proto.Token) { tk.Pricing = 5 })
	f("pricing", func(tk *proto.Token) { tk.Pricing = -1 })
	f("pricing", func(tk *proto.Token) { tk.Pricing = 0 })
	f("", func(tk *proto.Token) { tk.Pricing, tk.PriceNanos, tk.Currency = 0, 0, "" })
	f("currency", func(tk *proto.Token) { tk.Currency = "" })
	for _, code := range []string{"usd", "US", "USDT", "U$D", "ÄBC"} {
		f("currency", func(tk *proto.Token) { tk.Currency = code })
	}
}

func TestLandingURLs(t *testing.T) {
	t.Parallel()
	f := func(url string, ok bool) {
		t.Helper()
		tk := sample()
		tk.LandingUrl = url
		if err := Validate(tk); (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
	}
	for _, url := range []string{
		"", "http://h", "https://h/", "HTTPS://H.example:8443/a?b=c&d=%20#e", "https://[2001:db8::1]:443/", "https://a-b_c.example./x",
		"https://h/?u=https://other.example/@x", "https://h?x", "https://h#x", "https://h/{x}|y~$", "https://h/" + strings.Repeat("a", 2038),
	} {
		f(url, true)
	}
	for _, url := range []string{
		"h", "/x", "//evil", "/\\evil", "https:evil", "https:/evil", "https:///evil", "https://", "https://?x", "javascript:alert(1)", "data:text/html,x",
		"ftp://h/", "https ://h", " https://h", "https://h ", "https://ok@evil", "https://ok:pw@evil/", "https://ok%00.evil", "https://ok%2eevil", "https://h\\@evil", "https://h/\\x",
		"https://h/\r\nSet-Cookie: a=b", "https://h/\x00", "https://h/\x7f", "https://h/č", "https://xn--é", "https://еvil.example/", "https://:80/", "https://h:", "https://h:80a/",
		"https://h:123456/", "https://[::1", "https://[]/", "https://[::1]x/", "https://[h]/", "https://h/" + strings.Repeat("a", 2039),
	} {
		f(url, false)
	}
}

func TestKeyringIsShared(t *testing.T) {
	t.Parallel()
	ring := testRing(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var tk proto.Token
			for range 200 {
				want := sample()
				text := ring.Sign(nil, want)
				if err := ring.Verify(&tk, text); err != nil || !protobuf.Equal(&tk, want) {
					t.Errorf("%v", err)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzToken(f *testing.F) {
	v, ring := loadVectors(f)
	for _, c := range v.Valid {
		f.Add([]byte(c.Token))
	}
	for _, c := range v.Invalid {
		f.Add([]byte(c.Token))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var tk proto.Token
		if err := ring.Verify(&tk, text); err == nil {
			checkValid(t, ring, &tk, text)
		}
		// The same bytes as an authentic payload: the parser behind the mac.
		sealed := seal(ring, append([]byte{0x08, 0x01, 0x12, 0x02, 'k', '1'}, text...))
		if err := ring.Verify(&tk, sealed); err == nil {
			if err := Validate(&tk); err != nil {
				t.Fatalf("verified a token that is not valid: %v", err)
			}
		}
	})
}

func checkValid(t *testing.T, ring *Keyring, tk *proto.Token, text []byte) {
	t.Helper()
	if err := Validate(tk); err != nil {
		t.Fatalf("verified a token that is not valid: %v", err)
	}
	if len(tk.ProtoReflect().GetUnknown()) > 0 {
		return
	}
	again := ring.Sign(nil, tk)
	var back proto.Token
	if err := ring.Verify(&back, again); err != nil || !protobuf.Equal(&back, tk) {
		t.Fatalf("%s signed again does not verify: %v", text, err)
	}
}
