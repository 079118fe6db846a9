package demo

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/adtally/adtally/proto"
)

// Account is what reports need to know of a demo advertiser.
type Account struct {
	Advertiser uint64
	// Name is for people.
	Name string
	// Currency is the ISO 4217 code of its prices.
	Currency string
	// Timezone is the IANA zone whose days it reports in.
	Timezone string
}

// Accounts returns the accounts of the demo advertisers.
func Accounts() []Account {
	out := make([]Account, 0, len(market))
	for _, a := range market {
		out = append(out, a.Account)
	}
	return out
}

// advertiser is an account with what it runs and where its customers are.
type advertiser struct {
	Account
	share     float64 // of all events
	regions   []region
	campaigns []campaign
}

// campaign is what one advertiser pays for. Its rates are those of people on a
// publisher of average appeal.
type campaign struct {
	id      uint64
	share   float64 // of the advertiser's visits
	pricing proto.Pricing
	price   string // as the pricing model states it
	landing string
	video   bool

	viewable   float64    // of impressions
	clicks     [2]float64 // of impressions, by variant
	conversion float64    // of clicks

	groups     []adGroup
	publishers []publisher
}

// adGroup is a part of a campaign and its creatives.
type adGroup struct {
	id        uint64
	share     float64
	creatives []uint64
}

// channel is how a publisher reports what happened.
type channel uint8

const (
	web    channel = iota + 1 // pixels and redirects, from browsers
	app                       // batches, from an SDK
	server                    // events, from the publisher's own servers
)

// publisher is a place where ads are shown.
type publisher struct {
	id         uint64
	share      float64
	channel    channel
	appeal     float64 // multiplies click rates
	placements []uint64
}

// region is where people are: an ISO 3166-2 code, or a country alone.
type region struct {
	code  string
	share float64
}

func (r region) country() string { return r.code[:2] }

var variants = [2]string{"a", "b"}

// The publishers. Television has nothing to click on.
var (
	newsSite  = publisher{id: 101, share: 30, channel: web, appeal: 1, placements: []uint64{1011, 1012, 1013}}
	recipes   = publisher{id: 102, share: 16, channel: web, appeal: 1.3, placements: []uint64{1021, 1022}}
	sports    = publisher{id: 103, share: 20, channel: web, appeal: 0.8, placements: []uint64{1031, 1032}}
	gameApp   = publisher{id: 201, share: 12, channel: app, appeal: 1.2, placements: []uint64{2011, 2012}}
	weather   = publisher{id: 202, share: 10, channel: app, appeal: 0.7, placements: []uint64{2021}}
	streaming = publisher{id: 301, share: 28, channel: server, appeal: 0, placements: []uint64{3011, 3012}}
	radio     = publisher{id: 302, share: 10, channel: server, appeal: 0.6, placements: []uint64{3021}}

	displaySites = []publisher{newsSite, recipes, sports, gameApp, weather, radio}
	videoSites   = []publisher{newsSite, sports, gameApp, streaming}
)

// market is everyone who advertises. Ids are fixed: they are in reports.
var market = []advertiser{
	{
		Account: Account{Advertiser: 1, Name: "Baywater Coffee", Currency: "USD", Timezone: "America/New_York"},
		share:   45,
		regions: []region{
			{"US-CA", 24}, {"US-NY", 22}, {"US-TX", 13}, {"US-WA", 10}, {"US-IL", 8}, {"US-MA", 7}, {"CA-ON", 9}, {"CA-BC", 4}, {"MX-CMX", 3},
		},
		campaigns: []campaign{
			{
				id: 11, share: 40, pricing: proto.Pricing_PRICING_CPM, price: "4.20", landing: "https://www.example.com/coffee/autumn",
				viewable: 0.68, clicks: [2]float64{0.012, 0.017}, conversion: 0.06,
				groups: []adGroup{{111, 60, []uint64{1111, 1112}}, {112, 40, []uint64{1121}}}, publishers: displaySites,
			},
			{
				id: 12, share: 30, pricing: proto.Pricing_PRICING_CPC, price: "0.85", landing: "https://www.example.com/coffee/subscribe?plan=beans",
				viewable: 0.61, clicks: [2]float64{0.021, 0.018}, conversion: 0.09,
				groups: []adGroup{{121, 70, []uint64{1211, 1212}}, {122, 30, []uint64{1221, 1222}}}, publishers: displaySites,
			},
			{
				id: 13, share: 18, pricing: proto.Pricing_PRICING_CPM, price: "17.50", landing: "https://www.example.com/coffee/film", video: true,
				viewable: 0.82, clicks: [2]float64{0.006, 0.008}, conversion: 0.04,
				groups: []adGroup{{131, 100, []uint64{1311, 1312}}}, publishers: videoSites,
			},
			{
				id: 14, share: 12, pricing: proto.Pricing_PRICING_CPA, price: "6.00", landing: "https://www.example.com/coffee/first-order",
				viewable: 0.64, clicks: [2]float64{0.016, 0.019}, conversion: 0.14,
				groups: []adGroup{{141, 100, []uint64{1411}}}, publishers: displaySites,
			},
		},
	},
	{
		Account: Account{Advertiser: 2, Name: "Nordlicht Outdoor", Currency: "EUR", Timezone: "Europe/Berlin"},
		share:   35,
		regions: []region{
			{"DE-NW", 18}, {"DE-BY", 17}, {"DE-BE", 12}, {"DE-HH", 8}, {"AT-9", 9}, {"CH-ZH", 7}, {"NL-NH", 8}, {"SE-AB", 9}, {"NO-03", 7}, {"DK-84", 5},
		},
		campaigns: []campaign{
			{
				id: 21, share: 50, pricing: proto.Pricing_PRICING_CPM, price: "3.10", landing: "https://www.example.org/outdoor/winter",
				viewable: 0.72, clicks: [2]float64{0.009, 0.014}, conversion: 0.05,
				groups: []adGroup{{211, 55, []uint64{2111, 2112}}, {212, 45, []uint64{2121, 2122}}}, publishers: displaySites,
			},
			{
				id: 22, share: 30, pricing: proto.Pricing_PRICING_CPC, price: "0.64", landing: "https://www.example.org/outdoor/boots?size=all",
				viewable: 0.66, clicks: [2]float64{0.019, 0.023}, conversion: 0.08,
				groups: []adGroup{{221, 100, []uint64{2211, 2212}}}, publishers: displaySites,
			},
			{
				id: 23, share: 20, pricing: proto.Pricing_PRICING_CPA, price: "9.50", landing: "https://www.example.org/outdoor/tents",
				viewable: 0.63, clicks: [2]float64{0.013, 0.012}, conversion: 0.11,
				groups: []adGroup{{231, 100, []uint64{2311}}}, publishers: displaySites,
			},
		},
	},
	{
		Account: Account{Advertiser: 3, Name: "Sagano Travel", Currency: "JPY", Timezone: "Asia/Tokyo"},
		share:   20,
		regions: []region{
			{"JP-13", 34}, {"JP-27", 18}, {"JP-26", 10}, {"JP-23", 9}, {"KR-11", 9}, {"TW-TPE", 8}, {"SG", 5}, {"AU-NSW", 4}, {"IN-MH", 3},
		},
		campaigns: []campaign{
			{
				id: 31, share: 65, pricing: proto.Pricing_PRICING_CPM, price: "420", landing: "https://www.example.net/travel/bamboo",
				viewable: 0.7, clicks: [2]float64{0.011, 0.015}, conversion: 0.03,
				groups: []adGroup{{311, 50, []uint64{3111, 3112}}, {312, 50, []uint64{3121}}}, publishers: displaySites,
			},
			{
				id: 32, share: 35, pricing: proto.Pricing_PRICING_CPC, price: "95", landing: "https://www.example.net/travel/rail-pass", video: true,
				viewable: 0.79, clicks: [2]float64{0.008, 0.011}, conversion: 0.05,
				groups: []adGroup{{321, 100, []uint64{3211, 3212}}}, publishers: videoSites,
			},
		},
	},
}

// nanos is the price of one billed event, in nano-units.
func (c *campaign) nanos() int64 {
	n, err := proto.ParsePrice(c.price, c.pricing)
	if err != nil {
		panic("BUG: the price of a demo campaign: " + err.Error())
	}
	return n
}

// runner is an advertiser with what is worked out of it once.
type runner struct {
	*advertiser
	zone *time.Location
	// perVisit is how many events come of a visit on average.
	perVisit float64
}

func newRunner(a *advertiser) (runner, error) {
	zone, err := time.LoadLocation(a.Timezone)
	if err != nil {
		return runner{}, fmt.Errorf("load time zone of %s: %w", a.Name, err)
	}
	r := runner{advertiser: a, zone: zone}
	total := 0.0
	for i := range a.campaigns {
		c := &a.campaigns[i]
		r.perVisit += c.share * c.eventsPerVisit()
		total += c.share
	}
	r.perVisit /= total
	return r, nil
}

// pick draws one of the choices by its weight.
func pick[T any](r *rand.Rand, from []T, weight func(*T) float64) *T {
	total := 0.0
	for i := range from {
		total += weight(&from[i])
	}
	at := r.Float64() * total
	for i := range from {
		if at -= weight(&from[i]); at < 0 {
			return &from[i]
		}
	}
	return &from[len(from)-1] // the sum was rounded
}

// anyOf draws one of the choices, all alike.
func anyOf[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }
