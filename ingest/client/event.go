package client

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Event is what a server reports. Type and AdvertiserID are required; what is
// left empty is not sent.
type Event struct {
	// Type is impression, viewable, click, conversion, video_start and so on.
	Type string `json:"type"`
	// ID names the event: repeats of it count once. Without one Send makes a
	// random one. Of an impression it is the ImpressionID.
	ID string `json:"id,omitempty"`
	// ImpressionID is the impression that a click, a view or a conversion is of.
	ImpressionID string `json:"impression_id,omitempty"`
	// Time is when it happened; Send takes the present for the zero time.
	Time time.Time `json:"time"`

	AdvertiserID uint64 `json:"advertiser_id"`
	CampaignID   uint64 `json:"campaign_id,omitempty"`
	AdGroupID    uint64 `json:"ad_group_id,omitempty"`
	CreativeID   uint64 `json:"creative_id,omitempty"`
	PlacementID  uint64 `json:"placement_id,omitempty"`
	PublisherID  uint64 `json:"publisher_id,omitempty"`

	// Country is an ISO 3166-1 alpha-2 code, Region an ISO 3166-2 code.
	Country string `json:"country,omitempty"`
	Region  string `json:"region,omitempty"`
	Device  string `json:"device,omitempty"`
	OS      string `json:"os,omitempty"`
	Browser string `json:"browser,omitempty"`
	Variant string `json:"variant,omitempty"`

	// UserID, IP and UserAgent are those of the person who was served. They are
	// used where consent allows, and not stored.
	UserID    string `json:"user_id,omitempty"`
	IP        string `json:"ip,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`

	// Price is a decimal with at most 6 places, per thousand for cpm. It needs
	// Pricing (cpm, cpc, cpa or flat) and Currency (ISO 4217).
	Price    string `json:"price,omitempty"`
	Pricing  string `json:"pricing,omitempty"`
	Currency string `json:"currency,omitempty"`

	// What the person agreed to (IAB TCF 2, GPP, US Privacy).
	GDPR        string `json:"gdpr,omitempty"`
	GDPRConsent string `json:"gdpr_consent,omitempty"`
	GPP         string `json:"gpp,omitempty"`
	GPPSID      string `json:"gpp_sid,omitempty"`
	USPrivacy   string `json:"us_privacy,omitempty"`
}

// pending is an encoded event that waits for its answer.
type pending struct {
	id    string
	text  []byte
	first time.Time // of its attempts
}

var errIncomplete = errors.New("type and advertiser_id are required")

// encode fixes what an event is, for every attempt.
func encode(e Event, now time.Time) (pending, error) {
	if e.Type == "" || e.AdvertiserID == 0 {
		return pending{}, errIncomplete
	}
	if e.ID == "" {
		e.ID = e.ImpressionID
		if e.Type != "impression" || e.ID == "" {
			e.ID = newID()
		}
	}
	if e.Time.IsZero() {
		e.Time = now
	}
	text, err := json.Marshal(e)
	if err != nil {
		return pending{}, fmt.Errorf("encode event: %w", err)
	}
	return pending{id: e.ID, text: text}, nil
}

// newID returns 128 random bits in hex digits.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	return hex.EncodeToString(b[:])
}
