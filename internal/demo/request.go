package demo

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/adtally/adtally/proto"
)

// What ingest takes in one request.
const (
	maxBatch = 200       // events
	maxBody  = 128 << 10 // bytes
)

// serverUserAgent is what servers call themselves.
const serverUserAgent = "demo-ad-server/1.0"

// eventJSON is one event of POST /v1/events.
type eventJSON struct {
	Type         string    `json:"type"`
	ID           string    `json:"id"`
	ImpressionID string    `json:"impression_id"`
	Time         time.Time `json:"time"`
	Advertiser   uint64    `json:"advertiser_id"`
	Campaign     uint64    `json:"campaign_id"`
	AdGroup      uint64    `json:"ad_group_id"`
	Creative     uint64    `json:"creative_id"`
	Placement    uint64    `json:"placement_id"`
	Publisher    uint64    `json:"publisher_id"`
	Country      string    `json:"country"`
	Region       string    `json:"region,omitempty"`
	Device       string    `json:"device"`
	OS           string    `json:"os"`
	Browser      string    `json:"browser"`
	Variant      string    `json:"variant"`
	User         string    `json:"user_id,omitempty"`
	IP           string    `json:"ip"`
	UserAgent    string    `json:"user_agent"`
	Price        string    `json:"price"`
	Pricing      string    `json:"pricing"`
	Currency     string    `json:"currency"`
}

// serverEvent returns a step as the publisher's or advertiser's server tells it.
func (v *visit) serverEvent(s step) eventJSON {
	e := eventJSON{
		Type: s.typ.Name(), ID: s.id, ImpressionID: v.token.ImpressionId, Time: v.at.Add(s.after).UTC(),
		Advertiser: v.token.AdvertiserId, Campaign: v.token.CampaignId, AdGroup: v.token.AdGroupId,
		Creative: v.token.CreativeId, Placement: v.token.PlacementId, Publisher: v.token.PublisherId,
		Country: v.region.country(), Device: v.profile.device, OS: v.profile.os, Browser: v.profile.browser,
		Variant: v.token.Variant, User: v.user, IP: v.address, UserAgent: v.profile.userAgent,
		Price: v.campaign.price, Pricing: v.campaign.pricing.Name(), Currency: v.token.Currency,
	}
	if len(v.region.code) > 2 {
		e.Region = v.region.code
	}
	if v.kind == robot {
		e.User = ""
	}
	return e
}

// clientJSON is one event of POST /e.
type clientJSON struct {
	Token string `json:"token"`
	Type  string `json:"type"`
	ID    string `json:"id"`
	Time  int64  `json:"time"`
}

// requests makes the requests of deliveries.
type requests struct {
	base string // without the last slash
	key  string // of server events
}

// beacon returns the pixel or redirect of a delivery with one step.
func (q *requests) beacon(ctx context.Context, d delivery) (*http.Request, error) {
	v, typ := d.visit, d.steps[0].typ
	query := "cb=" + strconv.FormatUint(v.draw, 36)
	if v.macro != "" {
		query = "cb=" + v.macro
	}
	var path string
	switch typ {
	case proto.EventType_EVENT_TYPE_IMPRESSION:
		path = "/i/"
	case proto.EventType_EVENT_TYPE_VIEWABLE:
		path = "/v/"
	case proto.EventType_EVENT_TYPE_CLICK:
		path = "/c/"
	default:
		path, query = "/t/", "e="+strings.TrimPrefix(typ.Name(), "video_")+"&"+query
	}
	if v.draw&1 == 0 {
		query += "&ts=" + strconv.FormatInt(v.at.Add(d.steps[0].after).UnixMilli(), 10)
	}
	if v.region.country() == "US" && v.draw&2 == 0 {
		query += "&us_privacy=1YNN"
	}
	url := q.base + path + v.signed + "?" + query
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("make beacon: %w", err)
	}
	v.identify(req)
	if v.kind == prefetch {
		req.Header.Set("Sec-Purpose", "prefetch")
	}
	return req, nil
}

// identify sets the headers by which a device is known.
func (v *visit) identify(req *http.Request) {
	req.Header.Set("User-Agent", v.profile.userAgent)
	req.Header.Set("X-Forwarded-For", v.address)
}

// clientBatch returns the batch of an SDK, in one of the forms that they use.
func (q *requests) clientBatch(ctx context.Context, d delivery) (*http.Request, error) {
	v := d.visit
	events := make([]clientJSON, 0, len(d.steps))
	for _, s := range d.steps {
		events = append(events, clientJSON{Token: v.signed, Type: s.typ.Name(), ID: s.id, Time: v.at.Add(s.after).UnixMilli()})
	}
	form, body, err := clientBody(v.draw, events)
	if err != nil {
		return nil, err
	}
	packed := v.draw&12 == 0
	if packed {
		if body, err = pack(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, q.base+"/e", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make client batch: %w", err)
	}
	v.identify(req)
	req.Header.Set("Content-Type", form)
	req.Header.Set("Origin", "https://app.example.com")
	if packed {
		req.Header.Set("Content-Encoding", "gzip")
	}
	return req, nil
}

// clientBody writes events as sendBeacon, as fetch or as a log shipper would.
func clientBody(draw uint64, events []clientJSON) (form string, body []byte, err error) {
	switch draw % 3 {
	case 0:
		form = "text/plain;charset=UTF-8"
		body, err = json.Marshal(map[string]any{"events": events})
	case 1:
		form = "application/json"
		body, err = json.Marshal(events)
	default:
		form = "application/x-ndjson"
		var lines bytes.Buffer
		enc := json.NewEncoder(&lines)
		for _, e := range events {
			err = errors.Join(err, enc.Encode(e))
		}
		body = lines.Bytes()
	}
	if err != nil {
		return "", nil, fmt.Errorf("encode client batch: %w", err)
	}
	return form, body, nil
}

func pack(body []byte) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(body)
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, fmt.Errorf("pack client batch: %w", err)
	}
	return out.Bytes(), nil
}

// serverRequest returns the request of a batch.
func (q *requests) serverRequest(ctx context.Context, b *batch) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, q.base+"/v1/events", bytes.NewReader(b.body()))
	if err != nil {
		return nil, fmt.Errorf("make server batch: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+q.key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", serverUserAgent)
	return req, nil
}

// batch is the body of a POST /v1/events in the making.
type batch struct {
	events []byte
	n      int
}

const (
	batchHead = `{"events":[`
	batchTail = `]}`
)

// add appends an encoded event, or reports that the batch is full.
func (b *batch) add(event []byte) bool {
	if b.n == maxBatch || len(batchHead)+len(b.events)+1+len(event)+len(batchTail) > maxBody {
		return false
	}
	if b.n > 0 {
		b.events = append(b.events, ',')
	}
	b.events = append(b.events, event...)
	b.n++
	return true
}

func (b *batch) body() []byte { return []byte(batchHead + string(b.events) + batchTail) }
