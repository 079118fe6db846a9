package demo

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/adtally/adtally/ingest/token"
	"github.com/adtally/adtally/proto"
)

// How much of the traffic is not as it should be.
const (
	robotShare    = 0.03  // of visits
	prefetchShare = 0.015 // of visits on the web, which are two thirds
	macroShare    = 0.004 // of visits on the web
	lateShare     = 0.01  // of live visits
	repeatShare   = 0.02  // of events other than clicks
	robotClicks   = 0.05  // of impressions by robots
)

const tokenLife = 48 * time.Hour

// videoSteps are the steps of a film, the chance that one who saw the step
// before sees this one, and when it comes.
var videoSteps = []struct {
	typ    proto.EventType
	chance float64
	after  time.Duration
}{
	{proto.EventType_EVENT_TYPE_VIDEO_START, 0.96, 500 * time.Millisecond},
	{proto.EventType_EVENT_TYPE_VIDEO_Q1, 0.86, 5 * time.Second},
	{proto.EventType_EVENT_TYPE_VIDEO_MID, 0.88, 10 * time.Second},
	{proto.EventType_EVENT_TYPE_VIDEO_Q3, 0.91, 15 * time.Second},
	{proto.EventType_EVENT_TYPE_VIDEO_COMPLETE, 0.93, 20 * time.Second},
}

// kind says who or what fetched an ad.
type kind uint8

const (
	human    kind = iota + 1
	robot         // says so in its user agent
	prefetch      // a browser ahead of its user
)

// visit is one ad shown once, with all that comes of it.
type visit struct {
	at        time.Time
	kind      kind
	campaign  *campaign
	publisher *publisher
	region    *region
	profile   *profile
	address   string
	user      string
	token     *proto.Token
	signed    string // the text of the token, in live traffic only
	// macro is what a page left unfilled, or empty.
	macro string
	// held is how long a device was away before it could report.
	held time.Duration
	// draw is at everybody's disposal, for choices that mean nothing.
	draw  uint64
	steps []step // in the order of time
}

// step is one event of a visit. A repeat has the id of the step it repeats.
type step struct {
	typ    proto.EventType
	after  time.Duration
	id     string
	repeat bool
}

// visit draws what comes of an arrival.
func (a arrival) visit(r *rand.Rand) *visit {
	by := a.by
	v := &visit{at: a.at.Truncate(time.Millisecond), kind: human, address: address(r), user: person(r), draw: r.Uint64()}
	v.campaign = pick(r, by.campaigns, func(c *campaign) float64 { return c.share })
	v.publisher = pick(r, v.campaign.publishers, func(p *publisher) float64 { return p.share })
	v.region = pick(r, by.regions, func(x *region) float64 { return x.share })
	v.profile = pick(r, people[v.publisher.channel], profileShare)
	fate := r.Float64()
	switch onWeb := v.publisher.channel == web; {
	case fate < robotShare:
		v.kind, v.profile = robot, pick(r, robots, profileShare)
	case onWeb && fate < robotShare+prefetchShare:
		v.kind = prefetch
	case onWeb && fate < robotShare+prefetchShare+macroShare:
		v.macro = anyOf(r, macros)
	}
	variant := r.IntN(len(variants))
	v.token = v.newToken(r, by.advertiser, variants[variant])
	v.addSteps(r, variant)
	slices.SortStableFunc(v.steps, func(a, b step) int { return cmp.Compare(a.after, b.after) })
	return v
}

func profileShare(p *profile) float64 { return p.share }

func (v *visit) newToken(r *rand.Rand, by *advertiser, variant string) *proto.Token {
	group := pick(r, v.campaign.groups, func(g *adGroup) float64 { return g.share })
	return &proto.Token{
		Version:      token.Version,
		AdvertiserId: by.Advertiser,
		CampaignId:   v.campaign.id,
		AdGroupId:    group.id,
		CreativeId:   anyOf(r, group.creatives),
		PlacementId:  anyOf(r, v.publisher.placements),
		PublisherId:  v.publisher.id,
		ImpressionId: newID(r),
		PriceNanos:   v.campaign.nanos(),
		Pricing:      v.campaign.pricing,
		Currency:     by.Currency,
		Variant:      variant,
		LandingUrl:   v.campaign.landing,
		Issued:       v.at.Unix(),
		Expires:      v.at.Add(tokenLife).Unix(),
	}
}

// addSteps draws what the one who fetched the ad does with it.
func (v *visit) addSteps(r *rand.Rand, variant int) {
	c := v.campaign
	v.add(r, proto.EventType_EVENT_TYPE_IMPRESSION, 0)
	switch v.kind {
	case prefetch:
		return
	case robot:
		if r.Float64() < robotClicks {
			v.add(r, proto.EventType_EVENT_TYPE_CLICK, 300*time.Millisecond)
		}
		return
	default:
	}
	if c.video {
		v.addVideo(r)
	}
	if r.Float64() >= c.viewable {
		return
	}
	v.add(r, proto.EventType_EVENT_TYPE_VIEWABLE, between(r, time.Second, 3*time.Second))
	// Nobody clicks on what they did not see.
	if r.Float64() >= c.clicks[variant]*v.publisher.appeal/c.viewable {
		return
	}
	clicked := between(r, 3*time.Second, 25*time.Second)
	v.add(r, proto.EventType_EVENT_TYPE_CLICK, clicked)
	if r.Float64() < c.conversion {
		v.add(r, proto.EventType_EVENT_TYPE_CONVERSION, clicked+between(r, 90*time.Second, 20*time.Minute))
	}
}

func (v *visit) addVideo(r *rand.Rand) {
	for _, s := range videoSteps {
		if r.Float64() >= s.chance {
			return
		}
		v.add(r, s.typ, s.after)
	}
}

// add appends a step and, sometimes, its repeat. A click through the redirect
// has no id that a repeat could share, so clicks are not repeated.
func (v *visit) add(r *rand.Rand, typ proto.EventType, after time.Duration) {
	s := step{typ: typ, after: after.Truncate(time.Millisecond)}
	switch typ {
	case proto.EventType_EVENT_TYPE_IMPRESSION:
		s.id = v.token.ImpressionId
	case proto.EventType_EVENT_TYPE_CLICK, proto.EventType_EVENT_TYPE_CONVERSION:
		s.id = newID(r)
	default:
		s.id = v.token.ImpressionId + "-" + typ.Name()
	}
	v.steps = append(v.steps, s)
	if typ != proto.EventType_EVENT_TYPE_CLICK && r.Float64() < repeatShare {
		s.repeat = true
		v.steps = append(v.steps, s)
	}
}

// eventsPerVisit is the mean number of steps that addSteps makes.
func (c *campaign) eventsPerVisit() float64 {
	const once = 1 + repeatShare
	film, seen := 0.0, 1.0
	for _, s := range videoSteps {
		if c.video {
			seen *= s.chance
			film += seen
		}
	}
	sum, shares := 0.0, 0.0
	for _, p := range c.publishers {
		humans := 1 - robotShare
		if p.channel == web {
			humans -= prefetchShare
		}
		clicks := (c.clicks[0] + c.clicks[1]) / 2 * p.appeal
		perHuman := (film+c.viewable+clicks*c.conversion)*once + clicks
		sum += p.share * (once + robotShare*robotClicks + humans*perHuman)
		shares += p.share
	}
	return sum / shares
}

// postpone makes some visits late: the device was away for hours.
func (v *visit) postpone(r *rand.Rand) {
	if v.kind != human || r.Float64() >= lateShare {
		return
	}
	v.held = between(r, time.Hour, 6*time.Hour).Truncate(time.Millisecond)
	v.at = v.at.Add(-v.held)
	v.token.Issued, v.token.Expires = v.at.Unix(), v.at.Add(tokenLife).Unix()
}

func newID(r *rand.Rand) string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], r.Uint64())
	binary.BigEndian.PutUint64(id[8:], r.Uint64())
	return hex.EncodeToString(id[:])
}

func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(r.Int64N(int64(high-low)))
}
