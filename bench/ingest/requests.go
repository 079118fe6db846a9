package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/proto"
)

const keysFile = "signing-keys.json"

// distinct is how many different requests are cycled through.
const distinct = 4096

// agents are what browsers send; each request carries one.
var agents = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.6723.86 Mobile Safari/537.36",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:132.0) Gecko/20100101 Firefox/132.0",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0",
}

// prepare writes the keys of the server into dir and returns requests that
// they sign: pixels for one event, client batches for more.
func prepare(dir string, k kase) ([][]byte, error) {
	ring, err := token.CreateKeyring(filepath.Join(dir, keysFile))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "id.key"), []byte("000102030405060708090a0b0c0d0e0f\n"), 0o600); err != nil {
		return nil, err
	}
	n := distinct
	if k.events > 1 {
		n = 64
	}
	requests := make([][]byte, n)
	for i := range requests {
		if k.events == 1 {
			requests[i] = pixel(ring, i)
			continue
		}
		requests[i] = batch(ring, i, k)
	}
	return requests, nil
}

func signed(ring *token.Keyring, i int) []byte {
	return ring.Sign(nil, &proto.Token{
		Version: 1, AdvertiserId: uint64(1 + i%20), CampaignId: uint64(100 + i%200), AdGroupId: uint64(1000 + i%400),
		CreativeId: uint64(5000 + i%900), PlacementId: uint64(70 + i%50), PublisherId: uint64(9 + i%30),
		ImpressionId: fmt.Sprintf("%032x", i*7919), PriceNanos: 2_500_000, Pricing: proto.Pricing_PRICING_CPM, Currency: "EUR",
		Variant: "a", LandingUrl: "https://shop.example/landing?from=ad", Issued: time.Now().Unix(),
	})
}

func pixel(ring *token.Keyring, i int) []byte {
	return fmt.Appendf(nil, "GET /i/%s?cb=%d&gdpr=0 HTTP/1.1\r\nHost: ads.example\r\nUser-Agent: %s\r\nAccept: image/avif,image/webp,*/*;q=0.8\r\nAccept-Language: de-DE,de;q=0.9\r\nAccept-Encoding: gzip, deflate, br\r\nReferer: https://news.example/article/%d\r\nX-Forwarded-For: 203.0.113.%d\r\n\r\n",
		signed(ring, i), i, agents[i%len(agents)], i, i%250)
}

// batch is an object with the array of events, for Benthos the array alone, of
// which it makes messages without a step in between.
func batch(ring *token.Keyring, i int, k kase) []byte {
	var body bytes.Buffer
	before, after := `{"events":[`, `]}`
	if k.who == benthos || k.who == checking {
		before, after = `[`, `]`
	}
	body.WriteString(before)
	for n := range k.events {
		if n > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"token":"%s","type":"impression"}`, signed(ring, i*k.events+n))
	}
	body.WriteString(after)
	return fmt.Appendf(nil, "POST /e HTTP/1.1\r\nHost: ads.example\r\nUser-Agent: %s\r\nContent-Type: application/json\r\nOrigin: https://news.example\r\nContent-Length: %d\r\n\r\n%s",
		agents[i%len(agents)], body.Len(), body.Bytes())
}
