package ingest

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/proto"
)

// The rows in these tests are those of a catalogue of hostile inputs; each sends
// them to a running server.

// signRaw signs any payload text with the key of the tests.
func signRaw(text string) string {
	mac := hmac.New(sha256.New, bytes.Repeat([]byte("s"), 32))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// TestForgedTokens is rows 1, 2 and 3: nothing is counted that the key did not
// sign, byte for byte.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	retired := r.sign(nil)
	k2 := token.Key{ID: "k2", Secret: bytes.Repeat([]byte("t"), 32)}
	k1 := token.Key{ID: "k1", Secret: bytes.Repeat([]byte("s"), 32)}
	foreign, err := token.NewKeyring("k1", []token.Key{{ID: "k1", Secret: k2.Secret}})
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := token.NewKeyring("k7", []token.Key{{ID: "k7", Secret: k1.Secret}})
	if err != nil {
		t.Fatal(err)
	}
	f := func(text, code string) {
		t.Helper()
		r.do("GET", "/c/"+text, "").want(t, 400, `"code":"`+code+`"`)
		r.post("/e", fmt.Sprintf(`[{"token":%q,"type":"click"}]`, text)).want(t, 202, `"accepted":0`, `"reason":"`+code+`"`)
	}
	// row 1: one bit of the payload, one of the mac.
	good := r.sign(nil)
	raw := []byte(good)
	for _, at := range []int{12, len(good) - 4} {
		bent := slices.Clone(raw)
		bent[at] = flipBit(bent[at])
		f(string(bent), "bad_signature")
	}
	// row 2: macs that are short, empty or of another key; keys unknown or gone.
	payload, mac, _ := strings.Cut(good, ".")
	for _, bad := range []string{"", mac[:2], mac[:21], mac + "AA", base64.RawURLEncoding.EncodeToString(make([]byte, 16))} {
		f(payload+"."+bad, "bad_signature")
	}
	f(string(foreign.Sign(nil, fullToken())), "bad_signature")
	f(string(unknown.Sign(nil, fullToken())), "bad_signature")
	ring, err := token.NewKeyring("k2", []token.Key{k2})
	if err != nil {
		t.Fatal(err)
	}
	r.server.deps.Tokens.Store(ring)
	f(retired, "bad_signature")
	r.server.deps.Tokens.Store(r.ring)
	// row 3: text that decodes to the same bytes, with a mac of its own.
	whole := payload[:len(payload)/4*4]
	f(signRaw(whole+"="), "bad_token")
	f(signRaw(whole+"==="), "bad_token")
	f(signRaw(whole+"\n"[:0]+"A"), "bad_token")
	f(signRaw(whole+"AB"), "bad_token") // trailing bits that are not zero
	f(signRaw(strings.ReplaceAll(payload, "A", "+")), "bad_token")
	if r.stored() != 0 {
		t.Error("a forged token was counted")
	}
}

func flipBit(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)^1]
}

// TestTokenVectors sends the invalid tokens that every language is tested with.
func TestTokenVectors(t *testing.T) {
	t.Parallel()
	var file struct {
		Current string
		Keys    []token.Key
		Invalid []struct{ Name, Token string }
	}
	text, err := os.ReadFile("../proto/testdata/tokens.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &file); err != nil || len(file.Invalid) == 0 {
		t.Fatalf("%d vectors, %v", len(file.Invalid), err)
	}
	ring, err := token.NewKeyring(file.Current, file.Keys)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, nil)
	r.server.deps.Tokens.Store(ring)
	for _, v := range file.Invalid {
		quoted, _ := json.Marshal(v.Token)
		a := r.post("/e", `[{"type":"click","token":`+string(quoted)+`}]`)
		if a.status != 202 || !strings.Contains(a.body, `"accepted":0`) {
			t.Errorf("%s: %d %s", v.Name, a.status, a.body)
		}
	}
	if r.stored() != 0 {
		t.Error("an invalid token was counted")
	}
}

// TestPricesInTokens is row 4: also a valid signature does not make a price of
// what is none.
func TestPricesInTokens(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	f := func(change func(*proto.Token)) {
		t.Helper()
		r.do("GET", "/i/"+r.sign(change), "").want(t, 400, `"code":"bad_token"`)
	}
	f(func(tk *proto.Token) { tk.PriceNanos = -1 })
	f(func(tk *proto.Token) { tk.PriceNanos = math.MinInt64 }) // 2^63 as it is encoded
	f(func(tk *proto.Token) { tk.PriceNanos = math.MaxInt64 })
	f(func(tk *proto.Token) { tk.Currency = "" })
	f(func(tk *proto.Token) { tk.Currency = "US" })
	f(func(tk *proto.Token) { tk.Pricing = 0 })
	f(func(tk *proto.Token) { tk.Pricing = 77 })
	if r.stored() != 0 {
		t.Error("a token with a bad price was counted")
	}
}

// TestReplayedBeacon is row 5: ten thousand repeats, in parallel, are one event
// to whoever counts: one id, in one partition.
func TestReplayedBeacon(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	const conns, each = 20, 500
	request := []byte("GET /i/" + r.sign(nil) + " HTTP/1.1\r\nHost: h\r\n\r\n")
	var wg sync.WaitGroup
	for range conns {
		wg.Go(func() {
			c, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			answers := bufio.NewReader(c)
			for range each {
				_, _ = c.Write(request)
				res, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if res.StatusCode != http.StatusOK {
					t.Error(res.Status)
					return
				}
			}
		})
	}
	wg.Wait()
	partition := int32(-1)
	for _, e := range r.events(conns * each) {
		if e.EventID() != hash(1, "imp-1") {
			t.Fatalf("id %v", e.EventID())
		}
		if p := proto.Partition(e, testSpread, testPartitions); partition < 0 {
			partition = p
		} else if p != partition {
			t.Fatalf("partitions %d and %d", p, partition)
		}
	}
}

// TestRedirectGoesWhereItWasSigned is rows 9, 10 and 11: nothing outside the
// token says where a click goes, what it counts for, or adds a header.
func TestRedirectGoesWhereItWasSigned(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	queries := []string{"tenant=1&tenant=2", "%74enant=2", "advertiser_id=9", "sig=a&sig=b", "landing_url=https://evil.example", "cb=%0d%0aSet-Cookie:%20a=b", "cb=%c4%8d%c4%8aX:%20y"}
	for _, to := range []string{
		"https://evil.example", "//evil.example", `/\evil.example`, "https:evil.example", "javascript:alert(1)", "data:text/html,x",
		"http://ok@evil.example", "http://ok%00.evil.example", "https://аpple.example",
	} {
		queries = append(queries, "url="+to, "u="+to)
	}
	for _, q := range queries {
		got := r.raw("GET /c/" + r.sign(nil) + "?" + q + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		head, _, _ := strings.Cut(got, "\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 302 ") || strings.Count(head, "\r\nLocation: https://shop.example/landing?x=1&y=2") != 1 ||
			strings.Contains(head, "evil") || strings.Contains(head, "Set-Cookie") || strings.Contains(head, "X: y") {
			t.Errorf("%s: %q", q, got)
		}
	}
	for _, e := range r.events(len(queries)) {
		if e.AdvertiserId != 1 {
			t.Errorf("advertiser %d", e.AdvertiserId)
		}
	}
	n := r.stored()
	for _, to := range []string{
		"//evil.example", `/\evil.example`, "https:evil.example", "javascript:alert(1)", "data:text/html,x", "http://ok@evil.example", "http://ok%00.evil.example",
		"https://аpple.example", "https://a.example/\r\nSet-Cookie: a=b", "https://a.example/č", "https://a.example/\u010d\u010aX: y", `https://a.example\@evil.example`, "https://", "ftp://a.example/",
	} {
		a := r.do("GET", "/c/"+r.sign(func(tk *proto.Token) { tk.LandingUrl = to }), "")
		if a.status != 400 || a.header.Get("Location") != "" {
			t.Errorf("%q: %d to %q", to, a.status, a.header.Get("Location"))
		}
	}
	if r.stored() != n {
		t.Error("a click to nowhere was counted")
	}
	// What was escaped when it was signed stays so.
	a := r.do("GET", "/c/"+r.sign(func(tk *proto.Token) { tk.LandingUrl = "https://a.example/%0d%0aX:%20y" }), "")
	if a.status != 302 || a.header.Get("Location") != "https://a.example/%0d%0aX:%20y" || a.header.Get("X") != "" {
		t.Errorf("%d %v", a.status, a.header)
	}
	// The only header that repeats what came is that of CORS.
	got := r.raw("POST /e HTTP/1.1\r\nHost: h\r\nConnection: close\r\nOrigin: https://a\rSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n[]")
	if head, _, _ := strings.Cut(got, "\r\n\r\n"); strings.Contains(head, "Set-Cookie") {
		t.Errorf("%q", got)
	}
}

// TestHostileProtobuf is row 17: payloads that are signed and are no message.
func TestHostileProtobuf(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	key := "\x08\x01\x12\x02k1"
	for name, payload := range map[string]string{
		"length of 2^31":        key + "\x4a\x80\x80\x80\x80\x08x",
		"length of 2^63":        key + "\x4a\xff\xff\xff\xff\xff\xff\xff\xff\x7fx",
		"wire type 7":           key + "\x4f\x01",
		"group without end":     key + "\x4b",
		"end of no group":       key + "\x4c",
		"varint of 11 bytes":    key + "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"varint that stops":     key + "\x18\xff",
		"tag 0":                 key + "\x00\x01",
		"text that is not UTF8": key + "\x18\x01\x20\x01\x4a\x01\xff",
		"nothing but the key":   key,
	} {
		for _, text := range []string{signRaw(base64.RawURLEncoding.EncodeToString([]byte(payload))), base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".AAAAAAAAAAAAAAAAAAAAAA"} {
			if a := r.do("GET", "/i/"+text, ""); a.status != 400 {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
	}
	if r.stored() != 0 {
		t.Error("it was counted")
	}
	r.wantMetric("adtally_ingest_panics_total", "0")
}
