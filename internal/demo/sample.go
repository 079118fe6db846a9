package demo

import (
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/adtally/adtally/ingest/token"
)

// SamplePixel returns the path, below the path prefix, of a new impression of a
// demo campaign: "/i/<token>". With /c/ in place of /i/ it is the click on that impression,
// with /v/ its view.
func SamplePixel(ring *token.Keyring) string {
	by := &market[0]
	v := &visit{at: time.Now(), campaign: &by.campaigns[0], publisher: &newsSite}
	t := v.newToken(newRandom(), by, variants[0])
	return "/i/" + string(ring.Sign(nil, t))
}

// SampleBatch returns the body of a POST /v1/events: a new impression of a demo
// campaign and the click on it.
func SampleBatch() string {
	r := newRandom()
	imp, clk := newID(r)[:12], newID(r)[:12]
	a := &market[0]
	c := &a.campaigns[0]
	const of = `"advertiser_id":%d,"campaign_id":%d,"country":"US","device":"mobile","price":"%s","pricing":"%s","currency":"%s"}`
	return fmt.Sprintf(`{"events":[{"type":"impression","id":"imp-%s",`+of+`,{"type":"click","id":"clk-%s","impression_id":"imp-%s",`+of+`]}`,
		imp, a.Advertiser, c.id, c.price, c.pricing.Name(), a.Currency,
		clk, imp, a.Advertiser, c.id, c.price, c.pricing.Name(), a.Currency)
}

// SampleReport returns the body of a POST /v1/reports: the campaigns of a demo
// advertiser on its day of now.
func SampleReport(now time.Time) string {
	a := &market[0]
	zone, err := time.LoadLocation(a.Timezone)
	if err != nil {
		zone = time.UTC // a machine without zones
	}
	day := now.In(zone)
	return fmt.Sprintf(`{"advertiser":%d,"start":"%s","end":"%s","timezone":"%s","granularity":"day","dimensions":["campaign","currency"],`+
		`"metrics":["impressions","impressions_duplicate","impressions_invalid","clicks","ctr","spend"]}`,
		a.Advertiser, day.Format(time.DateOnly), day.AddDate(0, 0, 1).Format(time.DateOnly), zone)
}

// newRandom returns a random source whose ids nobody has seen.
func newRandom() *mathrand.Rand {
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // never fails: it ends the process instead
	return mathrand.New(mathrand.NewChaCha8(seed))
}
