package books

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/calendar"
	"github.com/adtally/adtally/internal/clickhouse"
)

// ZoneMap says in which time zone the days of each advertiser were rolled up. It
// is named by its content and never changed.
type ZoneMap struct {
	ID    uuid.UUID
	zones map[uint64]zoneRules
}

// zoneRules is a zone as one version of the zone database has it. A zone that is
// not regular has no rollup by days and no name here.
type zoneRules struct {
	name  string
	rules uint64
}

// NewZoneMap returns the map of the given zones. An advertiser that is not in it
// is in UTC; so is none whose zone is UTC.
func NewZoneMap(zones map[uint64]*time.Location) *ZoneMap {
	m := &ZoneMap{zones: make(map[uint64]zoneRules)}
	for advertiser, zone := range zones {
		rules, regular := calendar.Rules(zone)
		switch {
		case !regular:
			m.zones[advertiser] = zoneRules{} // no report is in a zone without a name
		case zone.String() != time.UTC.String():
			m.zones[advertiser] = zoneRules{zone.String(), rules}
		}
	}
	m.ID = m.name()
	return m
}

// name is a hash of the content.
func (m *ZoneMap) name() uuid.UUID {
	hash := sha256.New()
	for _, advertiser := range m.Advertisers() {
		z := m.zones[advertiser]
		var text []byte
		text = binary.BigEndian.AppendUint64(text, advertiser)
		text = binary.BigEndian.AppendUint64(text, z.rules)
		text = binary.BigEndian.AppendUint32(text, uint32(len(z.name)))
		_, _ = hash.Write(append(text, z.name...)) // never fails
	}
	id, _ := uuid.FromBytes(hash.Sum(nil)[:16]) // 16 bytes are always one
	return id
}

// Advertisers lists those that are in the map, in order.
func (m *ZoneMap) Advertisers() []uint64 {
	list := make([]uint64, 0, len(m.zones))
	for advertiser := range m.zones {
		list = append(list, advertiser)
	}
	slices.Sort(list)
	return list
}

// Has reports whether the advertiser's days were rolled up in the zone, by the
// rules that hold here.
func (m *ZoneMap) Has(advertiser uint64, zone *time.Location) bool {
	z, ok := m.zones[advertiser]
	if !ok {
		return zone.String() == time.UTC.String()
	}
	rules, _ := calendar.Rules(zone)
	return z.name == zone.String() && z.rules == rules
}

// Groups lists the advertisers of each zone, and those without days.
func (m *ZoneMap) Groups() (zones map[string][]uint64, without []uint64) {
	zones = make(map[string][]uint64)
	for _, advertiser := range m.Advertisers() {
		z := m.zones[advertiser]
		if z.name == "" {
			without = append(without, advertiser)
			continue
		}
		zones[z.name] = append(zones[z.name], advertiser)
	}
	return zones, without
}

// Changed lists the advertisers whose days the other map rolls up differently.
func (m *ZoneMap) Changed(other *ZoneMap) []uint64 {
	var list []uint64
	for advertiser, zone := range m.zones {
		if other.zones[advertiser] != zone {
			list = append(list, advertiser)
		}
	}
	for advertiser := range other.zones {
		if _, known := m.zones[advertiser]; !known {
			list = append(list, advertiser)
		}
	}
	slices.Sort(list)
	return list
}

// ZoneMap reads a map.
func (r *Reader) ZoneMap(ctx context.Context, id uuid.UUID) (m *ZoneMap, err error) {
	rows, err := r.conn.Query(clickhouse.With(ctx, "", nil, clickhouse.Parameters{"map": id.String()}),
		"SELECT advertiser, zone, rules FROM zone_maps WHERE map = {map:UUID} LIMIT 1")
	if err != nil {
		return nil, fmt.Errorf("read zone map: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return nil, errors.Join(fmt.Errorf("zone map %s is not there", id), rows.Err())
	}
	var advertisers, rules []uint64
	var zones []string
	if err := rows.Scan(&advertisers, &zones, &rules); err != nil {
		return nil, fmt.Errorf("read zone map: %w", err)
	}
	m = &ZoneMap{ID: id, zones: make(map[uint64]zoneRules, len(advertisers))}
	for i, advertiser := range advertisers {
		m.zones[advertiser] = zoneRules{zones[i], rules[i]}
	}
	return m, rows.Err()
}

// PutZoneMap writes a map unless it is there. Written twice it is the same.
func PutZoneMap(ctx context.Context, conn clickhouse.Conn, m *ZoneMap) error {
	var known uint64
	row := conn.QueryRow(clickhouse.With(ctx, "", nil, clickhouse.Parameters{"map": m.ID.String()}),
		"SELECT count() FROM zone_maps WHERE map = {map:UUID}")
	if err := row.Scan(&known); err != nil {
		return fmt.Errorf("look for zone map: %w", err)
	}
	if known > 0 {
		return nil
	}
	advertisers := m.Advertisers()
	zones, rules := make([]string, len(advertisers)), make([]uint64, len(advertisers))
	for i, advertiser := range advertisers {
		zones[i], rules[i] = m.zones[advertiser].name, m.zones[advertiser].rules
	}
	batch, err := conn.PrepareBatch(clickhouse.With(ctx, "", clickhouse.Settings{"async_insert": 0}, nil),
		"INSERT INTO zone_maps (map, advertiser, zone, rules)")
	if err != nil {
		return fmt.Errorf("write zone map: %w", err)
	}
	if err := batch.Append(m.ID, advertisers, zones, rules); err != nil {
		return errors.Join(fmt.Errorf("write zone map: %w", err), batch.Abort())
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("write zone map: %w", err)
	}
	return nil
}
