package query

import (
	"mime"
	"strconv"
	"strings"

	"github.com/adtally/adtally/query/export"
)

// formats are the formats of answers; the first is the default.
var formats = export.Formats

// negotiate returns the format that the Accept headers like best. Of equally
// liked ones it is the first of formats.
func negotiate(accept []string) (format string, ok bool) {
	ranges := parseAccept(strings.Join(accept, ","))
	if len(ranges) == 0 {
		return formats[0], true
	}
	best := 0.0
	for _, offer := range formats {
		if q := quality(offer, ranges); q > best {
			best, format = q, offer
		}
	}
	return format, best > 0
}

type acceptRange struct {
	media string
	q     float64
}

func parseAccept(header string) []acceptRange {
	var ranges []acceptRange
	for part := range strings.SplitSeq(header, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			media = "" // matches nothing, but is no empty list either
		}
		q := 1.0
		if text, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				q = 0
			}
		}
		ranges = append(ranges, acceptRange{media: media, q: q})
	}
	return ranges
}

// quality is that of the most specific range that covers the offer.
func quality(offer string, ranges []acceptRange) float64 {
	kind, _, _ := strings.Cut(offer, "/")
	for _, want := range []string{offer, kind + "/*", "*/*"} {
		for _, r := range ranges {
			if r.media == want {
				return r.q
			}
		}
	}
	return 0
}
