package consent

import (
	"strings"

	"github.com/prebid/go-gpp/sections"
)

const (
	optedOut    = 1 // 0 is not applicable, 2 did not opt out
	highest     = 2
	maxUSLength = 256
)

// layout is where a section keeps its opt-outs. After the version, of six bits,
// come fields of two bits: some before the opt-outs (notices and, in the newest
// sections, the kind of contract), the opt-outs of sale, of sharing and of
// targeted advertising as far as the law knows them, and others. The section may
// have a second segment.
type layout struct {
	before, optOuts, fields int
	second                  segment
}

// segment is what the second segment of a section holds.
type segment uint8

const (
	none      segment = iota
	gpcFlag           // Global Privacy Control
	sensitive         // choices on sensitive data, not read here
)

// layouts are the US sections by id, from the section specifications of the
// Global Privacy Platform. prebid/go-gpp has types for 7 to 12 only, so all are
// read by this table with its bit stream.
var layouts = [...]layout{
	7:  {6, 3, 27, gpcFlag},  // national; version 2 has more fields behind
	8:  {3, 2, 20, gpcFlag},  // California
	9:  {3, 2, 17, none},     // Virginia
	10: {3, 2, 16, gpcFlag},  // Colorado
	11: {4, 2, 18, none},     // Utah
	12: {3, 2, 19, gpcFlag},  // Connecticut
	13: {3, 2, 20, none},     // Florida
	14: {3, 2, 20, gpcFlag},  // Montana
	15: {3, 2, 23, gpcFlag},  // Oregon
	16: {3, 2, 18, gpcFlag},  // Texas
	17: {3, 2, 23, gpcFlag},  // Delaware
	18: {4, 2, 18, gpcFlag},  // Iowa
	19: {3, 2, 18, gpcFlag},  // Nebraska
	20: {3, 2, 20, gpcFlag},  // New Hampshire
	21: {3, 2, 24, gpcFlag},  // New Jersey
	22: {3, 2, 18, gpcFlag},  // Tennessee
	23: {3, 2, 18, gpcFlag},  // Minnesota
	24: {5, 2, 8, gpcFlag},   // Maryland
	25: {5, 2, 9, sensitive}, // Indiana
	26: {5, 2, 9, sensitive}, // Kentucky
	27: {5, 2, 9, sensitive}, // Rhode Island
}

// parseUS reads a section of the United States or of one of its states. A
// section with another id cannot be read.
func (d *Decider) parseUS(id int, text string) (v verdict) {
	defer d.contain(&v)
	if len(text) > maxUSLength || id >= len(layouts) || layouts[id].fields == 0 {
		return malformed
	}
	l := layouts[id]
	if l.second == none && strings.Contains(text, ".") {
		return malformed
	}
	core, tail, err := sections.CreateBitStreams(text, l.second == gpcFlag)
	if err != nil {
		return malformed
	}
	if _, err = core.ReadByte6(); err != nil {
		return malformed
	}
	fields, err := core.ReadTwoBitField(l.fields)
	if err != nil {
		return malformed
	}
	v = allows
	if tail != nil {
		gpc, err := sections.NewCommonUSGPCSegment(tail)
		if err != nil {
			return malformed
		}
		if gpc.Gpc {
			v = forbids
		}
	}
	for _, o := range fields[l.before : l.before+l.optOuts] {
		switch {
		case o == optedOut:
			return forbids
		case o > highest && v == allows:
			v = malformed
		}
	}
	return v
}
