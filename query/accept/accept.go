// Package accept chooses the format of an answer by the Accept header (RFC 9110).
package accept

import (
	"mime"
	"strconv"
	"strings"
)

// Best returns the offer that the Accept headers like best, of equally liked ones the
// first; false if they take none.
func Best(headers, offers []string) (offer string, ok bool) {
	liked := Parse(headers)
	if len(liked) == 0 {
		return offers[0], true
	}
	best := 0.0
	for _, o := range offers {
		if q := liked.Quality(o); q > best {
			best, offer = q, o
		}
	}
	return offer, best > 0
}

// Ranges are the media ranges of a request.
type Ranges []mediaRange

type mediaRange struct {
	media string
	q     float64
}

// Parse reads Accept headers. What is no media range matches nothing.
func Parse(headers []string) Ranges {
	var ranges Ranges
	for part := range strings.SplitSeq(strings.Join(headers, ","), ",") {
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
		ranges = append(ranges, mediaRange{media: media, q: q})
	}
	return ranges
}

// Quality is that of the most specific range that covers the offer.
func (ranges Ranges) Quality(offer string) float64 {
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
