// Package reports is what tests of reports ask, who asks, and what buckets mean.
package reports

import (
	"slices"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/access"
)

// Who asks.
var (
	OneAdvertiser  = access.Grant{KeyID: "one", Scopes: access.AllScopes, Advertisers: []uint64{7}}
	TwoAdvertisers = access.Grant{KeyID: "two", Scopes: access.AllScopes, Advertisers: []uint64{7, 8}}
	Everyone       = access.Grant{KeyID: "all", Scopes: access.AllScopes, All: true}
)

// Account is that of an advertiser: in UTC, and 8 in Kathmandu.
func Account(advertiser uint64) access.Account {
	if advertiser == 8 {
		return access.Account{Advertiser: 8, Name: "Eight", Timezone: "Asia/Kathmandu"}
	}
	return access.Account{Advertiser: advertiser, Name: "Other", Timezone: "UTC"}
}

// Body is the body of a good report, a week of clicks, with more fields. Those
// it names itself replace the usual ones.
func Body(more string) string {
	base := `"start":"2026-11-01","end":"2026-11-08","metrics":["clicks"]`
	for field := range strings.SplitSeq("start end metrics", " ") {
		if strings.Contains(more, `"`+field+`":`) {
			base = strings.Join(slices.DeleteFunc(strings.Split(base, ","), func(s string) bool {
				return strings.HasPrefix(s, `"`+field+`"`)
			}), ",")
		}
	}
	return "{" + strings.Trim(base+","+more, ",") + "}"
}

// Zones have offsets of quarters and halves of an hour, changes by half an
// hour, at midnight, several times a year and over the date line.
var Zones = []string{
	"UTC", "Asia/Kathmandu", "America/St_Johns", "Europe/Berlin", "America/New_York", "Asia/Kolkata",
	"Australia/Lord_Howe", "America/Havana", "Africa/Casablanca", "Pacific/Apia", "Asia/Beirut",
	"America/Santiago", "Pacific/Chatham", "America/Asuncion", "Africa/Cairo",
}

// ChangeAfter is the minute at which clocks of a zone change next.
func ChangeAfter(t time.Time, zone *time.Location) (time.Time, bool) {
	_, next := t.In(zone).ZoneBounds()
	// Some zone files change nothing at the last second of 32 bits.
	return next.UTC().Truncate(time.Minute), !next.IsZero()
}

var withinDay = map[string]int{"minute": 60, "quarter": 900, "hour": 3600}

// BucketOf is the meaning of a bucket, minute by minute: within a day it begins
// where the wall clock's hour or the offset last changed, and is named by the seconds
// of that; longer ones are named by the number of their first day.
func BucketOf(minute time.Time, granularity string, zone *time.Location) int64 {
	local := minute.In(zone)
	y, m, d := local.Date()
	date := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	switch granularity {
	case "total":
		return 0
	case "day":
	case "week":
		for date.Weekday() != time.Monday {
			date = date.AddDate(0, 0, -1)
		}
	case "month":
		date = time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
	default:
		at := func(t time.Time) [2]int {
			local := t.In(zone)
			_, offset := local.Zone()
			return [2]int{offset, (local.Hour()*3600 + local.Minute()*60) / withinDay[granularity]}
		}
		same := at(minute)
		for at(minute.Add(-time.Minute)) == same {
			minute = minute.Add(-time.Minute)
		}
		return minute.Unix()
	}
	return date.Unix() / (24 * 60 * 60)
}
