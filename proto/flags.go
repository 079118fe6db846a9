package proto

import (
	"slices"
	"strings"
)

// Flag is one reason for which an event is invalid traffic (GIVT, after the
// MRC Invalid Traffic Detection and Filtration Standards). Flags are bits of
// Event.InvalidFlags; their numbers are stored in the ledger.
type Flag uint32

// The flags. New ones are added at the end.
const (
	// FlagCrawler is a user agent on the crawler list.
	FlagCrawler Flag = 1 << iota
	// FlagNonBrowser is a user agent that no known browser sends.
	FlagNonBrowser
	// FlagDataCentre is a client address in a data-centre range.
	FlagDataCentre
	// FlagPrefetch is a prefetch or prerender request.
	FlagPrefetch
	// FlagExpiredToken is a token used after its expiry or before its issue.
	FlagExpiredToken
	// FlagUnexpandedMacro is a macro left as text in a parameter.
	FlagUnexpandedMacro
	// FlagFutureTime is an event time too far ahead of its arrival.
	FlagFutureTime
	// FlagClickCap is a click beyond the number that one impression may have. It
	// is set by aggregate.
	FlagClickCap
	// FlagVerdict is a verdict that came after the event was counted; corrections
	// set it.
	FlagVerdict
)

var flagNames = []string{"crawler", "non_browser", "data_centre", "prefetch", "expired_token", "unexpanded_macro", "future_time", "click_cap", "verdict"}

// FlagNames lists the names of the flags in the order of their bits. The caller owns
// the slice.
func FlagNames() []string { return slices.Clone(flagNames) }

// String lists the names of the set flags, separated by commas.
func (f Flag) String() string {
	var names []string
	for i, name := range flagNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}
