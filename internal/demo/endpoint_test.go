package demo

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/proto"
)

const testKey = "test-key"

// endpoint is an ingest that checks each request against the contract and
// remembers what it was told.
type endpoint struct {
	ring *token.Keyring
	// fail, if set, may answer a request in place of the endpoint.
	fail func(w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	problems []string
	requests int
	told     []told
}

// told is one event as it arrived.
type told struct {
	typ, key   string // equal keys are repeats
	route      route
	at         time.Time // of the event
	arrived    time.Time
	advertiser uint64
	campaign   uint64
	impression string
	userAgent  string
	prefetch   bool
	macro      bool
}

// ServeHTTP implements http.Handler.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.requests++
	fail := e.fail
	e.mu.Unlock()
	if fail != nil && fail(w, r) {
		return
	}
	events, err := e.read(r)
	e.mu.Lock()
	e.told = append(e.told, events...)
	if err != nil {
		e.problems = append(e.problems, fmt.Sprintf("%s %s: %v", r.Method, r.URL, err))
	}
	e.mu.Unlock()
	switch {
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	case r.Method == http.MethodPost:
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"accepted":%d,"rejected":[]}`, len(events))
	case strings.HasPrefix(r.URL.Path, "/c/"):
		w.Header().Set("Location", "http://www.example.com/must-not-be-followed")
		w.WriteHeader(http.StatusFound)
	default:
		w.Header().Set("Content-Type", "image/gif")
		_, _ = w.Write(make([]byte, 43))
	}
}

// RoundTrip lets the endpoint stand in for the network.
func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w.Result(), nil
}

func (e *endpoint) read(r *http.Request) ([]told, error) {
	if r.ContentLength < 0 || len(r.TransferEncoding) > 0 {
		return nil, errors.New("no Content-Length")
	}
	if r.Header.Get("User-Agent") == "" {
		return nil, errors.New("no User-Agent")
	}
	if r.URL.Path == "/v1/events" {
		return e.readServer(r)
	}
	if !documented(r.Header.Get("X-Forwarded-For")) {
		return nil, fmt.Errorf("client address %q", r.Header.Get("X-Forwarded-For"))
	}
	if r.URL.Path == "/e" {
		return e.readClient(r)
	}
	return e.readBeacon(r)
}

var paths = map[string]string{"i": "impression", "v": "viewable", "c": "click"}

func (e *endpoint) readBeacon(r *http.Request) ([]told, error) {
	endpoint, text, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if !ok || r.Method != http.MethodGet {
		return nil, errors.New("no beacon")
	}
	one, err := e.readToken(text)
	if err != nil {
		return nil, err
	}
	query := r.URL.RawQuery
	one.typ = paths[endpoint]
	if endpoint == "t" {
		one.typ = "video_" + r.URL.Query().Get("e")
	}
	if _, known := proto.ParseEventType(one.typ); !known {
		return nil, fmt.Errorf("step %q", one.typ)
	}
	one.key = one.typ + one.impression
	one.route = beacon
	one.at = one.arrived
	if ts := r.URL.Query().Get("ts"); ts != "" {
		ms, err := strconv.ParseInt(ts, 10, 64)
		if err != nil {
			return nil, err
		}
		one.at = time.UnixMilli(ms)
	}
	if !strings.Contains(query, "cb=") {
		return nil, errors.New("no cache buster")
	}
	one.macro = strings.ContainsAny(query, "$[") || strings.Contains(query, "%%")
	one.prefetch = r.Header.Get("Sec-Purpose") == "prefetch"
	one.userAgent = r.UserAgent()
	return []told{one}, nil
}

func (e *endpoint) readToken(text string) (told, error) {
	var t proto.Token
	if err := e.ring.Verify(&t, []byte(text)); err != nil {
		return told{}, err
	}
	now := time.Now()
	if t.Issued > now.Unix() || t.Expires < now.Unix() {
		return told{}, fmt.Errorf("token issued %d, expires %d, at %d", t.Issued, t.Expires, now.Unix())
	}
	return told{arrived: now, advertiser: t.AdvertiserId, campaign: t.CampaignId, impression: t.ImpressionId}, nil
}

func (e *endpoint) readClient(r *http.Request) ([]told, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	var events []clientJSON
	switch form, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); form {
	case "application/x-ndjson":
		for line := range bytes.Lines(body) {
			var one clientJSON
			if err := strictJSON(line, &one); err != nil {
				return nil, err
			}
			events = append(events, one)
		}
	case "text/plain", "application/json":
		if events, err = readList[clientJSON](body); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("content type %q", form)
	}
	out := make([]told, 0, len(events))
	for _, ev := range events {
		one, err := e.readToken(ev.Token)
		if err != nil {
			return nil, err
		}
		one.typ, one.key, one.route, one.at, one.userAgent = ev.Type, ev.Type+ev.ID, clientBatch, time.UnixMilli(ev.Time), r.UserAgent()
		out = append(out, one)
	}
	return out, checkAll(out)
}

func (e *endpoint) readServer(r *http.Request) ([]told, error) {
	if r.Header.Get("Authorization") != "Bearer "+testKey || r.Method != http.MethodPost {
		return nil, errors.New("not authorized")
	}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	events, err := readList[eventJSON](body)
	if err != nil {
		return nil, err
	}
	out := make([]told, 0, len(events))
	for _, ev := range events {
		if err := checkServerEvent(ev); err != nil {
			return nil, fmt.Errorf("event %+v: %w", ev, err)
		}
		out = append(out, told{
			typ: ev.Type, key: ev.Type + ev.ID, route: serverEvent, at: ev.Time, arrived: time.Now(),
			advertiser: ev.Advertiser, campaign: ev.Campaign, impression: ev.ImpressionID, userAgent: ev.UserAgent,
		})
	}
	return out, checkAll(out)
}

func checkServerEvent(ev eventJSON) error {
	pricing, ok := proto.ParsePricing(ev.Pricing)
	if !ok {
		return errors.New("pricing")
	}
	if _, err := proto.ParsePrice(ev.Price, pricing); err != nil {
		return err
	}
	switch {
	case ev.ID == "" || ev.ImpressionID == "" || len(ev.ID) > 128:
		return errors.New("ids")
	case ev.Type == "impression" && ev.ID != ev.ImpressionID:
		return errors.New("the id of an impression is its impression_id")
	case ev.Advertiser == 0 || ev.Campaign == 0 || ev.AdGroup == 0 || ev.Creative == 0 || ev.Placement == 0 || ev.Publisher == 0:
		return errors.New("numbers")
	case len(ev.Country) != 2 || ev.Region != "" && !strings.HasPrefix(ev.Region, ev.Country+"-"):
		return errors.New("place")
	case ev.Device == "" || ev.OS == "" || ev.Browser == "" || ev.UserAgent == "" || len(ev.Currency) != 3:
		return errors.New("texts")
	case !documented(ev.IP):
		return errors.New("ip")
	}
	return nil
}

// checkAll checks what holds of every batch.
func checkAll(events []told) error {
	if len(events) == 0 || len(events) > 200 {
		return fmt.Errorf("%d events", len(events))
	}
	for _, one := range events {
		if _, ok := proto.ParseEventType(one.typ); !ok {
			return fmt.Errorf("type %q", one.typ)
		}
		if age := one.arrived.Sub(one.at); age < 0 || age > 31*24*time.Hour {
			return fmt.Errorf("an event is %v old", age)
		}
	}
	return nil
}

func readBody(r *http.Request) ([]byte, error) {
	if r.ContentLength > 128<<10 {
		return nil, fmt.Errorf("body of %d bytes", r.ContentLength)
	}
	if r.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(r.Body)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// readList reads {"events":[…]} or a bare array.
func readList[T any](body []byte) ([]T, error) {
	var list []T
	if bytes.HasPrefix(body, []byte("[")) {
		err := strictJSON(body, &list)
		return list, err
	}
	var wrapped struct {
		Events []T `json:"events"`
	}
	err := strictJSON(body, &wrapped)
	return wrapped.Events, err
}

func strictJSON(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

// syncBuffer takes log lines from any goroutine.
type syncBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// count returns how many lines hold all texts.
func (b *syncBuffer) count(texts ...string) int {
	n := 0
	for line := range strings.Lines(b.text.String()) {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(line, text)
		}
		if all {
			n++
		}
	}
	return n
}
