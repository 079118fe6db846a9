package ingest

import (
	"net/netip"

	"github.com/adtally/adtally/ingest/agent"
	"github.com/adtally/adtally/ingest/network"
	"github.com/adtally/adtally/proto"
)

// Lists are what the senders of requests are looked up in. Each may be nil,
// which flags and derives nothing. Lists do not change: to reload one of them,
// swap the pointer in Deps to new Lists.
type Lists struct {
	// Agents reads user agents.
	Agents *agent.Parser
	// DataCentres are networks from which no people browse.
	DataCentres *network.Ranges
	// Geo finds the country and the region of an address.
	Geo *network.Geo
}

// noLists are those of a server without any.
var noLists Lists

func (s *Server) lists() *Lists {
	if s.deps.Lists == nil {
		return &noLists
	}
	if l := s.deps.Lists.Load(); l != nil {
		return l
	}
	return &noLists
}

// origin is what the lists say of a sender. The zero origin says nothing.
type origin struct {
	flags               proto.Flag
	device, os, browser string
	country, region     string
}

// readAgent adds what the user agent says.
func (o *origin) readAgent(l *Lists, ua []byte) {
	if l.Agents == nil {
		return
	}
	v := l.Agents.Parse(ua)
	o.device, o.os, o.browser = v.Device, v.OS, v.Browser
	if v.Crawler {
		o.flags |= proto.FlagCrawler
	}
	if v.NonBrowser {
		o.flags |= proto.FlagNonBrowser
	}
}

// readAddress adds whether a client is in a data centre. An address that is not
// known is not valid. Addresses are not kept.
func (o *origin) readAddress(l *Lists, addr netip.Addr) {
	if l.DataCentres != nil && addr.IsValid() && l.DataCentres.Contains(addr) {
		o.flags |= proto.FlagDataCentre
	}
}

// readPlace adds where a client is: by its address, or by what a trusted proxy
// said in headers.
func (o *origin) readPlace(l *Lists, addr netip.Addr, country, region []byte) {
	if l.Geo != nil {
		place := l.Geo.Locate(addr, country, region)
		o.country, o.region = place.Country, place.Region
	}
}

// needAddress reports whether any list asks for the address of the client.
func (l *Lists) needAddress() bool { return l.DataCentres != nil || l.Geo != nil }

// placeHeaders names the headers with a place; empty where there are none.
func (l *Lists) placeHeaders() (country, region string) {
	if l.Geo == nil {
		return "", ""
	}
	return l.Geo.Headers()
}

// maxVotes is the number of flags that lists set.
const maxVotes = 3

// ballot is the memory of the votes of one event.
type ballot struct {
	votes [maxVotes]proto.ListVote
	list  [maxVotes]*proto.ListVote
}

// settleOrigin writes an origin on the event of sc: its flags, and names where
// the event has none. The votes live until the next event.
func (sc *scratch) settleOrigin(o *origin) {
	e := &sc.event
	for _, name := range [...]struct {
		dst  *string
		text string
	}{
		{&e.Device, o.device},
		{&e.Os, o.os},
		{&e.Browser, o.browser},
		{&e.Country, o.country},
	} {
		if *name.dst == "" {
			*name.dst = name.text
		}
	}
	// A region belongs to its country: another source's would not.
	if e.Region == "" && e.Country == o.country {
		e.Region = o.region
	}
	if o.flags == 0 {
		return
	}
	e.InvalidFlags |= uint32(o.flags)
	e.Votes = sc.ballot.list[:0]
	sc.vote(o.flags & proto.FlagCrawler)
	sc.vote(o.flags & proto.FlagNonBrowser)
	sc.vote(o.flags & proto.FlagDataCentre)
}

// vote notes which list set a flag; no flag is no vote.
func (sc *scratch) vote(flag proto.Flag) {
	if flag == 0 {
		return
	}
	b, e := &sc.ballot, &sc.event
	v := &b.votes[len(e.Votes)]
	v.Flag = uint32(flag)
	v.List, v.Version = sc.visit.lists.source(flag)
	e.Votes = append(e.Votes, v)
}

// source names the list that sets a flag.
func (l *Lists) source(flag proto.Flag) (name, version string) {
	switch flag {
	case proto.FlagCrawler:
		return l.Agents.List().Name(), l.Agents.List().Version()
	case proto.FlagDataCentre:
		return l.DataCentres.Name(), l.DataCentres.Version()
	default:
		return l.Agents.BrowserList()
	}
}
