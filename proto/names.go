package proto

import "strings"

// typeNames are the names of event types in requests, reports and metrics.
var typeNames = map[EventType]string{
	EventType_EVENT_TYPE_IMPRESSION:       "impression",
	EventType_EVENT_TYPE_VIEWABLE:         "viewable",
	EventType_EVENT_TYPE_CLICK:            "click",
	EventType_EVENT_TYPE_CONVERSION:       "conversion",
	EventType_EVENT_TYPE_VIDEO_START:      "video_start",
	EventType_EVENT_TYPE_VIDEO_Q1:         "video_q1",
	EventType_EVENT_TYPE_VIDEO_MID:        "video_mid",
	EventType_EVENT_TYPE_VIDEO_Q3:         "video_q3",
	EventType_EVENT_TYPE_VIDEO_COMPLETE:   "video_complete",
	EventType_EVENT_TYPE_VIDEO_SKIP:       "video_skip",
	EventType_EVENT_TYPE_VIDEO_PAUSE:      "video_pause",
	EventType_EVENT_TYPE_VIDEO_RESUME:     "video_resume",
	EventType_EVENT_TYPE_VIDEO_MUTE:       "video_mute",
	EventType_EVENT_TYPE_VIDEO_UNMUTE:     "video_unmute",
	EventType_EVENT_TYPE_VIDEO_FULLSCREEN: "video_fullscreen",
}

var typesByName = invert(typeNames)

// pricingNames are the names of pricing models in requests.
var pricingNames = map[Pricing]string{
	Pricing_PRICING_CPM:  "cpm",
	Pricing_PRICING_CPC:  "cpc",
	Pricing_PRICING_CPA:  "cpa",
	Pricing_PRICING_FLAT: "flat",
}

var pricingByName = invert(pricingNames)

// EventTypes lists the types that are counted, in the order of their numbers.
func EventTypes() []EventType {
	types := make([]EventType, 0, len(typeNames))
	for t := EventType_EVENT_TYPE_IMPRESSION; t <= EventType_EVENT_TYPE_VIDEO_FULLSCREEN; t++ {
		types = append(types, t)
	}
	return types
}

// Name returns the name of a counted type ("impression"), or "" for others.
func (t EventType) Name() string { return typeNames[t] }

// ParseEventType returns the type with that name.
func ParseEventType(name string) (EventType, bool) {
	t, ok := typesByName[name]
	return t, ok
}

// EventTypeNames lists the names that ParseEventType takes, for error texts.
func EventTypeNames() string {
	names := make([]string, 0, len(typeNames))
	for _, t := range EventTypes() {
		names = append(names, t.Name())
	}
	return strings.Join(names, ", ")
}

// Name returns the name of a pricing model ("cpm"), or "" for none.
func (p Pricing) Name() string { return pricingNames[p] }

// ParsePricing returns the pricing model with that name.
func ParsePricing(name string) (Pricing, bool) {
	p, ok := pricingByName[name]
	return p, ok
}

// Bills reports whether an event of type t costs its price under p. A flat
// price is the price of each event that carries it, of whatever type.
func (p Pricing) Bills(t EventType) bool {
	switch p {
	case Pricing_PRICING_CPM:
		return t == EventType_EVENT_TYPE_IMPRESSION
	case Pricing_PRICING_CPC:
		return t == EventType_EVENT_TYPE_CLICK
	case Pricing_PRICING_CPA:
		return t == EventType_EVENT_TYPE_CONVERSION
	case Pricing_PRICING_FLAT:
		return t.Name() != ""
	default:
		return false
	}
}

func invert[K comparable](names map[K]string) map[string]K {
	out := make(map[string]K, len(names))
	for k, name := range names {
		out[name] = k
	}
	return out
}
