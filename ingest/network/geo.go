package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/adtally/adtally/ingest/agent/recent"
)

// Place is a country and a region of it; empty where not known. The texts may
// be kept.
type Place struct {
	Country string // ISO 3166-1 alpha-2, as US
	Region  string // ISO 3166-2, as US-CA
}

// GeoConfig holds the settings of geography.
type GeoConfig struct {
	Database      string `help:"File in MaxMind's DB format with countries or cities; it is held in memory. Empty: the headers are used."`
	CountryHeader string `help:"Header in which a trusted proxy gives the client's country, such as CF-IPCountry or CloudFront-Viewer-Country."`
	RegionHeader  string `help:"Header in which a trusted proxy gives the client's region, such as CF-Region-Code or CloudFront-Viewer-Country-Region."`
}

// placeCache is how many records of the database, and pairs of headers, are
// remembered; each takes some 70 bytes.
const placeCache = 16384

// Geo finds places. It may be used by any number of goroutines.
type Geo struct {
	cfg     GeoConfig
	db      *maxminddb.Reader // nil without a database
	records *recent.Cache[Place]
	headers *recent.Cache[Place]
}

// OpenGeo reads the database, if one is configured.
func OpenGeo(cfg GeoConfig) (*Geo, error) {
	g := &Geo{cfg: cfg}
	var err error
	if g.records, err = recent.New[Place](placeCache); err != nil {
		return nil, fmt.Errorf("create cache of places: %w", err)
	}
	if g.headers, err = recent.New[Place](placeCache); err != nil {
		return nil, fmt.Errorf("create cache of places: %w", err)
	}
	if cfg.Database == "" {
		return g, nil
	}
	// Not mapped: a mapped file that is cut short ends the process.
	data, err := os.ReadFile(cfg.Database)
	if err != nil {
		return nil, fmt.Errorf("read geography: %w", err)
	}
	if g.db, err = maxminddb.OpenBytes(data); err != nil {
		return nil, fmt.Errorf("read geography %s: %w", cfg.Database, err)
	}
	if err := checkDatabase(g.db); err != nil {
		return nil, fmt.Errorf("read geography %s: %w", cfg.Database, err)
	}
	return g, nil
}

// checkDatabase looks for a country in the first records: a database of another
// kind, or of another maker's form, would leave all places unknown and say
// nothing.
func checkDatabase(db *maxminddb.Reader) error {
	const records = 10_000
	n := 0
	for found := range db.Networks() {
		if found.Err() != nil {
			return found.Err()
		}
		if decode(found).Country != "" {
			return nil
		}
		if n++; n == records {
			break
		}
	}
	return fmt.Errorf("none of its first %d records has a country.iso_code; use a country or city database", n)
}

// Headers returns the names of the headers for Locate; empty where none is
// configured.
func (g *Geo) Headers() (country, region string) { return g.cfg.CountryHeader, g.cfg.RegionHeader }

// Version says which database is in use and when it was built; empty without
// one.
func (g *Geo) Version() string {
	if g.db == nil {
		return ""
	}
	m := &g.db.Metadata
	return fmt.Sprintf("%s %s", m.DatabaseType, m.BuildTime().UTC().Format("2006-01-02"))
}

// Locate returns the place of a client, before its address is truncated. With a
// database country and region are not looked at; without one they are the values
// of the headers, which the caller must leave out unless a trusted proxy sent
// them. It does not keep them. It allocates only for places that it has not seen
// recently.
func (g *Geo) Locate(addr netip.Addr, country, region []byte) Place {
	if g.db != nil {
		return g.lookUp(addr)
	}
	return g.fromHeaders(country, region)
}

func (g *Geo) lookUp(addr netip.Addr) Place {
	if !addr.IsValid() {
		return Place{}
	}
	found := g.db.Lookup(addr.Unmap())
	if !found.Found() {
		return Place{}
	}
	// Many networks share a record, and its place in the file names it.
	var key [8]byte
	binary.LittleEndian.PutUint64(key[:], uint64(found.Offset()))
	place, hash, ok := g.records.Get(key[:])
	if !ok {
		place = decode(found)
		g.records.Put(hash, place)
	}
	return place
}

// decode reads a record of MaxMind's city or country databases. What cannot be
// read is not known.
func decode(found maxminddb.Result) Place {
	var record struct {
		Country struct {
			Code string `maxminddb:"iso_code"`
		} `maxminddb:"country"`
		Subdivisions []struct {
			Code string `maxminddb:"iso_code"`
		} `maxminddb:"subdivisions"`
	}
	if err := found.Decode(&record); err != nil {
		return Place{}
	}
	region := ""
	if len(record.Subdivisions) > 0 { // the largest is the first
		region = record.Subdivisions[0].Code
	}
	return newPlace([]byte(record.Country.Code), []byte(region))
}

func (g *Geo) fromHeaders(country, region []byte) Place {
	if len(country) != countryLength || len(region) > maxRegion {
		return newPlace(country, nil)
	}
	var stack [countryLength + maxRegion]byte
	place, hash, ok := g.headers.Get(append(append(stack[:0], country...), region...))
	if !ok {
		place = newPlace(country, region)
		g.headers.Put(hash, place)
	}
	return place
}
