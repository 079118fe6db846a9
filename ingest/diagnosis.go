package ingest

import (
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/adtally/adtally/ingest/jsonscan"
	"github.com/adtally/adtally/proto"
)

// report is the answer of the doctor.
type report struct {
	Counted int         `json:"counted"` // always 0
	Events  []diagnosis `json:"events"`
	Unknown []string    `json:"unknown,omitempty"` // members around the events
}

// diagnosis is how one event would be read.
type diagnosis struct {
	Index  int    `json:"index"`
	As     string `json:"as"`
	Counts bool   `json:"counts"`
	// Why not, as in the answers of the other endpoints.
	Reason string `json:"reason,omitempty"`
	Field  string `json:"field,omitempty"`
	Detail string `json:"detail,omitempty"`

	Signature string       `json:"signature,omitempty"`
	KeyID     string       `json:"key_id,omitempty"`
	Token     *tokenTimes  `json:"token,omitempty"`
	Event     *readEvent   `json:"event,omitempty"`
	Consent   *readConsent `json:"consent,omitempty"`
	Flags     []readFlag   `json:"flags,omitempty"`
	Macros    []macroAt    `json:"unexpanded_macros,omitempty"`
	Unknown   []string     `json:"unknown,omitempty"` // parameters or fields that are not read
}

type tokenTimes struct {
	Issued  string `json:"issued,omitempty"`
	Expires string `json:"expires,omitempty"`
	// State is valid, expired or not_yet_valid.
	State string `json:"state"`
}

// readEvent is what is counted, and under which names. Numbers of 64 bits are
// strings, as in reports.
type readEvent struct {
	Type         string `json:"type"`
	Time         string `json:"time"`
	Received     string `json:"received"`
	ID           string `json:"id,omitempty"`
	ImpressionID string `json:"impression_id,omitempty"`

	Advertiser string `json:"advertiser_id"`
	Campaign   string `json:"campaign_id"`
	AdGroup    string `json:"ad_group_id,omitempty"`
	Creative   string `json:"creative_id,omitempty"`
	Placement  string `json:"placement_id,omitempty"`
	Publisher  string `json:"publisher_id,omitempty"`

	Price    string `json:"price_per_event"`
	Pricing  string `json:"pricing,omitempty"`
	Currency string `json:"currency,omitempty"`
	Bills    bool   `json:"bills"`

	Country string `json:"country,omitempty"`
	Region  string `json:"region,omitempty"`
	Device  string `json:"device,omitempty"`
	OS      string `json:"os,omitempty"`
	Browser string `json:"browser,omitempty"`
	Variant string `json:"variant,omitempty"`

	LandingURL string `json:"landing_url,omitempty"`
	Partition  int32  `json:"partition"`
}

type readConsent struct {
	Decision    string `json:"decision"`
	Reason      string `json:"reason"`
	Identifiers bool   `json:"identifiers"`
	UserHashed  bool   `json:"user_hashed"`
}

type readFlag struct {
	Flag    string `json:"flag"`
	List    string `json:"list,omitempty"`
	Version string `json:"version,omitempty"`
}

type macroAt struct {
	Where string `json:"where"`
	Macro string `json:"macro"`
}

// describe says what was made of the event of sc. Everything is copied: the
// texts of sc do not last.
func (d *diagnosis) describe(s *Server, sc *scratch, bad rejection) {
	d.Counts = bad.reason == ""
	d.Reason, d.Field, d.Detail = string(bad.reason), bad.field, bad.detail
	signed := d.Signature == signatureOK
	if signed {
		d.Token = s.tokenTimes(&sc.token, time.Now())
	}
	if !d.Counts {
		return
	}
	e := &sc.event
	d.Event = newReadEvent(e)
	d.Event.Partition = s.deps.Sink.Partition(e)
	if signed {
		d.Event.ImpressionID = strings.Clone(sc.token.ImpressionId)
		d.Event.LandingURL = strings.Clone(sc.token.LandingUrl)
	}
	if s.deps.Consent != nil {
		dec := sc.decision
		d.Consent = &readConsent{
			Decision: consentNames[dec.Consent], Reason: dec.Reason.String(), Identifiers: dec.Identifiers, UserHashed: e.UserHash != 0,
		}
	}
	for bits := e.InvalidFlags; bits != 0; bits &= bits - 1 {
		flag := bits & -bits
		f := readFlag{Flag: proto.Flag(flag).String()}
		for _, v := range e.Votes {
			if v.Flag == flag {
				f.List, f.Version = v.List, v.Version
			}
		}
		d.Flags = append(d.Flags, f)
	}
}

var consentNames = map[proto.Consent]string{
	proto.Consent_CONSENT_UNSPECIFIED:    "unspecified",
	proto.Consent_CONSENT_FULL:           "full",
	proto.Consent_CONSENT_NO_IDENTIFIERS: "no_identifiers",
}

func newReadEvent(e *proto.Event) *readEvent {
	return &readEvent{
		Type: e.Type.Name(), Time: clock(time.UnixMicro(e.TimeUs)), Received: clock(time.UnixMicro(e.ReceivedUs)),
		Advertiser: decimal(e.AdvertiserId), Campaign: decimal(e.CampaignId), AdGroup: decimal(e.AdGroupId),
		Creative: decimal(e.CreativeId), Placement: decimal(e.PlacementId), Publisher: decimal(e.PublisherId),
		Price: proto.FormatNanos(e.PriceNanos), Pricing: e.Pricing.Name(), Currency: strings.Clone(e.Currency), Bills: e.Pricing.Bills(e.Type),
		Country: strings.Clone(e.Country), Region: strings.Clone(e.Region),
		Device: strings.Clone(e.Device), OS: strings.Clone(e.Os), Browser: strings.Clone(e.Browser), Variant: strings.Clone(e.Variant),
	}
}

func (s *Server) tokenTimes(t *proto.Token, now time.Time) *tokenTimes {
	out := &tokenTimes{State: "valid"}
	if t.Issued != 0 {
		out.Issued = clock(time.Unix(t.Issued, 0))
	}
	if t.Expires != 0 {
		out.Expires = clock(time.Unix(t.Expires, 0))
	}
	switch {
	case s.expired(t, now):
		out.State = "expired"
	case s.early(t, now):
		out.State = "not_yet_valid"
	}
	return out
}

// addURLMacros lists what nobody replaced in a URL, and which parameters are not
// read.
func (d *diagnosis) addURLMacros(uri *fasthttp.URI) {
	d.addMacro("path", uri.PathOriginal())
	var v visit
	found := len(d.Macros)
	for name, value := range uri.QueryArgs().All() {
		if v.parameter(name) == nil && string(name) != "cb" && len(d.Unknown) < maxWarnings {
			d.Unknown = append(d.Unknown, clipText(string(name)))
		}
		d.addMacro(clipText(string(name)), value)
	}
	if len(d.Macros) == found {
		d.addMacro("query", uri.QueryString()) // %%NAME%% is not there any more once decoded
	}
}

// addMacros lists the fields of an event in which a macro was left.
func (d *diagnosis) addMacros(raw *rawEvent) {
	for f := range fields {
		if raw.object && raw.kind(f) == jsonscan.String {
			d.addMacro(fieldNames[f], raw.values[f])
		}
	}
}

// addTokenMacros lists the fields of an authentic token in which a macro was
// left when it was signed.
func (d *diagnosis) addTokenMacros(sc *scratch) {
	if d.Signature != signatureOK {
		return
	}
	d.addMacro("token.impression_id", []byte(sc.token.ImpressionId))
	d.addMacro("token.variant", []byte(sc.token.Variant))
	d.addMacro("token.landing_url", []byte(sc.token.LandingUrl))
}

func (d *diagnosis) addMacro(where string, text []byte) {
	if macro := findMacro(text); macro != nil && len(d.Macros) < maxWarnings {
		d.Macros = append(d.Macros, macroAt{Where: where, Macro: string(macro)})
	}
}

// restrict takes the fields off an event that its endpoint does not read.
func (d *diagnosis) restrict(raw *rawEvent, known fieldSet) {
	for f := range fields {
		if raw.given&^known&(1<<f) != 0 {
			d.Unknown = append(d.Unknown, fieldNames[f])
		}
	}
	raw.given &= known
	raw.twice &= known
}

// addIDs shows the ids of a server event as they were given: what is stored of
// them is a hash.
func (d *diagnosis) addIDs(raw *rawEvent) {
	if d.Event == nil {
		return
	}
	if raw.kind(fieldID) == jsonscan.String {
		d.Event.ID = string(raw.values[fieldID])
	}
	if raw.kind(fieldImpression) == jsonscan.String {
		d.Event.ImpressionID = string(raw.values[fieldImpression])
	}
}

func clipText(text string) string { return string(clip([]byte(text), maxNameShown)) }

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// decimal writes an id; 0 is none.
func decimal(id uint64) string {
	if id == 0 {
		return ""
	}
	return strconv.FormatUint(id, 10)
}
