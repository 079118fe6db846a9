package consent

import (
	"bytes"
)

// container is what a GPP string says: the sections that it holds and what the
// choices in them amount to, as bit sets by section id.
type container struct {
	present, silent, forbids, malformed uint64
	broken                              bool // the string as a whole cannot be read
}

// Ids of sections that are not sections of a US state.
const (
	maxSection     = 63
	sectionTCF     = 2
	sectionHeader  = 3
	sectionSignal  = 4 // signal integrity
	sectionUSP     = 6
	noneApplies    = -1
	undetermined   = 0
	headerType     = 3
	headerVersion  = 1
	maxSectionList = 32
)

func (s *container) set(id int, v verdict) {
	bit := uint64(1) << id
	s.present |= bit
	switch v {
	case silent:
		s.silent |= bit
	case forbids:
		s.forbids |= bit
	case malformed:
		s.malformed |= bit
	case allows:
	}
}

// readGPP returns what the sections that apply say, that of the TCF on its own.
// outsideGDPR is whether the request came with gdpr=0.
func (d *Decider) readGPP(in *Signals, outsideGDPR bool) (v, tcf verdict) {
	if len(in.GPP) == 0 && len(in.GPPSID) == 0 {
		return silent, silent
	}
	listed, applies, ok := readSIDs(in.GPPSID)
	if !ok {
		return malformed, silent
	}
	if listed && applies == 0 {
		return allows, silent
	}
	if len(in.GPP) == 0 {
		// Sections apply and none came; undetermined alone says nothing.
		if listed {
			return malformed, silent
		}
		return silent, silent
	}
	s := d.lookUpGPP(in.GPP)
	if s.broken {
		return malformed, silent
	}
	if !listed {
		applies = s.present
		if outsideGDPR {
			applies &^= 1 << sectionTCF
		}
	}
	const tcfBit = 1 << sectionTCF
	return s.verdict(applies &^ tcfBit), s.verdict(applies & tcfBit)
}

// verdict returns what the sections in applies say together.
func (s *container) verdict(applies uint64) verdict {
	switch {
	case applies&s.forbids != 0:
		return forbids
	case applies&(s.malformed|^s.present) != 0:
		return malformed
	case applies&^s.silent != 0:
		return allows
	default:
		return silent
	}
}

// readSIDs reads gpp_sid: ids separated by commas. listed is false if the list
// is absent or undetermined; none listed means that no section applies.
func readSIDs(text []byte) (listed bool, applies uint64, ok bool) {
	if len(text) == 0 {
		return false, 0, true
	}
	if len(text) > maxSIDs {
		return false, 0, false
	}
	none := false
	for more := true; more; {
		var item []byte
		item, text, more = bytes.Cut(text, []byte(","))
		id, ok := readSID(bytes.TrimSpace(item))
		switch {
		case !ok:
			return false, 0, false
		case id == noneApplies:
			none = true
		case id == undetermined:
		default:
			applies |= 1 << id
		}
	}
	return none || applies != 0, applies, true
}

// readSID reads one id: -1 or a number up to maxSection. (strconv allocates for
// every error.)
func readSID(text []byte) (id int, ok bool) {
	if string(text) == "-1" {
		return noneApplies, true
	}
	if len(text) == 0 || len(text) > 2 {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		id = 10*id + int(c-'0')
	}
	return id, id <= maxSection
}

func (d *Decider) lookUpGPP(text []byte) container {
	if len(text) > maxGPP {
		return container{broken: true}
	}
	s, hash, ok := d.gpp.Get(text)
	if !ok {
		s = d.parseGPP(string(text))
		d.gpp.Put(hash, s)
	}
	return s
}

// parseGPP reads a header and its sections, separated by tildes.
func (d *Decider) parseGPP(text string) (s container) {
	header, rest, more := cut(text)
	ids, ok := readHeader(header)
	if !ok {
		return container{broken: true}
	}
	for _, id := range ids {
		if !more {
			return container{broken: true}
		}
		var section string
		section, rest, more = cut(rest)
		s.set(id, d.parseSection(id, section))
	}
	if more {
		return container{broken: true}
	}
	return s
}

func (d *Decider) parseSection(id int, text string) verdict {
	switch id {
	case sectionTCF:
		if len(text) > maxTCF {
			return malformed
		}
		return d.parseTCF(text)
	case sectionHeader, sectionSignal:
		return silent
	case sectionUSP:
		if text == "" {
			return malformed
		}
		return readUSPrivacy([]byte(text))
	default:
		return d.parseUS(id, text)
	}
}
