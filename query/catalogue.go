package query

import (
	"fmt"
	"slices"
	"strings"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/proto"
	"github.com/adtally/adtally/query/export"
)

// dimension is a column to group and filter by.
type dimension struct {
	clickhouse.Dimension
	description string
	// sql is what it is made of, for one that is no column by itself.
	sql string
}

// expr is the expression over the rows of a table.
func (d *dimension) expr() string {
	if d.sql != "" {
		return d.sql
	}
	return d.Name
}

// selected is the dimension as a column of a SELECT over a table.
func (d *dimension) selected() string {
	if d.sql != "" {
		return d.sql + " AS " + d.Name
	}
	return d.Name
}

// columnType is the type of a column in answers.
type columnType = export.Type

const (
	typeDate      = export.Date
	typeTimestamp = export.Timestamp
	typeID        = export.ID
	typeString    = export.String
	typeInteger   = export.Integer
	typeDecimal   = export.Decimal
)

func (d *dimension) columnType() columnType {
	if d.ID {
		return typeID
	}
	return typeString
}

// measure is an integer that ClickHouse adds up.
type measure struct {
	// alias names the column of the statement.
	alias string
	sql   string
}

// metric is what an answer shows: a measure, or the quotient of two.
type metric struct {
	name, description string
	kind              metricKind
	// of is the measure, or the numerator of a quotient.
	of *measure
	// per is the denominator of a quotient.
	per *measure
	// factor multiplies a quotient: cpm is for a thousand.
	factor int64
}

type metricKind int

const (
	kindCount     metricKind = iota // an integer
	kindMoney                       // nano-units as a decimal
	kindRate                        // counts through counts
	kindPrice                       // nano-units through counts
	kindReach                       // different users, estimated
	kindFrequency                   // counts through different users
)

func (m *metric) columnType() columnType {
	if m.kind == kindCount || m.kind == kindReach {
		return typeInteger
	}
	return typeDecimal
}

// spends says that the metric is in a currency.
func (m *metric) spends() bool { return m.kind == kindMoney || m.kind == kindPrice }

// granularity is the width of the time buckets.
type granularity struct {
	name string
	typ  columnType // empty for total
	// seconds is the width of buckets within a day, 0 for longer ones.
	seconds int64
	// maxDays bounds the range that may be asked.
	maxDays int
	// days is the SQL that turns day_of_bucket, the number of a local day, into
	// that of its bucket's first day.
	days string
}

// Ranges are bounded so that the number of buckets is.
const (
	maxRangeYears  = 5
	maxRangeDays   = 366 * maxRangeYears
	maxQuarterDays = 366
	maxMinuteDays  = 31
)

var granularities = []granularity{
	{name: "total", maxDays: maxRangeDays},
	{name: "minute", typ: typeTimestamp, seconds: secondsPerMinute, maxDays: maxMinuteDays},
	{name: "quarter", typ: typeTimestamp, seconds: 900, maxDays: maxQuarterDays},
	{name: "hour", typ: typeTimestamp, seconds: 3600, maxDays: maxRangeDays},
	{name: "day", typ: typeDate, maxDays: maxRangeDays, days: "day_of_bucket"},
	// Day 0, the first of January 1970, was a Thursday; weeks begin on Mondays.
	{name: "week", typ: typeDate, maxDays: maxRangeDays, days: "day_of_bucket - (day_of_bucket + 3) % 7"},
	{name: "month", typ: typeDate, maxDays: maxRangeDays, days: "toInt64(toStartOfMonth(toDate(day_of_bucket)))"},
}

// catalogue is everything that a report may name. Validation, the statement and
// the schema endpoint read the same lists.
type catalogue struct {
	dimensions []dimension
	metrics    []metric
	spend      *measure
}

func (c *catalogue) dimension(name string) *dimension {
	i := slices.IndexFunc(c.dimensions, func(d dimension) bool { return d.Name == name })
	if i < 0 {
		return nil
	}
	return &c.dimensions[i]
}

func (c *catalogue) metric(name string) *metric {
	i := slices.IndexFunc(c.metrics, func(m metric) bool { return m.name == name })
	if i < 0 {
		return nil
	}
	return &c.metrics[i]
}

func granularityNamed(name string) *granularity {
	i := slices.IndexFunc(granularities, func(g granularity) bool { return g.name == name })
	if i < 0 {
		return nil
	}
	return &granularities[i]
}

func (c *catalogue) dimensionNames() []string {
	return namesOf(c.dimensions, func(d dimension) string { return d.Name })
}

func (c *catalogue) metricNames() []string {
	return namesOf(c.metrics, func(m metric) string { return m.name })
}

func granularityNames() []string {
	return namesOf(granularities, func(g granularity) string { return g.name })
}

func namesOf[T any](list []T, name func(T) string) []string {
	names := make([]string, len(list))
	for i := range list {
		names[i] = name(list[i])
	}
	return names
}

// reports is the one catalogue. It is never changed.
var reports = newCatalogue()

var dimensionDescriptions = map[string]string{
	"advertiser": "The advertiser; within one report always the same.",
	"campaign":   "The campaign's id.",
	"ad_group":   "The ad group's id.",
	"creative":   "The creative's id.",
	"placement":  "The placement's id.",
	"publisher":  "The publisher's id.",
	"country":    "ISO 3166-1 code of the country, empty if unknown.",
	"region":     "ISO 3166-2 code of the region, empty if unknown.",
	"device":     "Kind of device, empty if unknown.",
	"os":         "Operating system, empty if unknown.",
	"browser":    "Browser, empty if unknown.",
	"variant":    "Variant of an experiment, empty outside of one.",
	"currency":   "ISO 4217 code of the price, empty without one.",
}

func newCatalogue() *catalogue {
	c := &catalogue{}
	for _, d := range clickhouse.Dimensions {
		c.dimensions = append(c.dimensions, dimension{Dimension: d, description: dimensionDescriptions[d.Name]})
	}
	c.dimensions = append(c.dimensions, dimension{
		Dimension: clickhouse.Dimension{Name: "invalid_reason"}, sql: reasonsSQL(),
		description: "Why events are invalid traffic: the flags they share, separated by commas as in crawler,data_centre; empty for valid ones. An event is in one row.",
	})
	net := map[proto.EventType]*measure{}
	for _, t := range proto.EventTypes() {
		net[t] = c.addCounts(t)
	}
	c.addCount("duplicates", "sum(duplicate)", "Repeats of events of every type.")

	c.spend = &measure{alias: "m_spend", sql: "sum(toInt128(spend_nanos))"}
	impressions := net[proto.EventType_EVENT_TYPE_IMPRESSION]
	viewable := net[proto.EventType_EVENT_TYPE_VIEWABLE]
	clicks := net[proto.EventType_EVENT_TYPE_CLICK]
	conversions := net[proto.EventType_EVENT_TYPE_CONVERSION]
	c.metrics = append(
		c.metrics,
		metric{name: "spend", description: "What the net events cost.", kind: kindMoney, of: c.spend},
		metric{name: "ctr", description: "clicks / impressions.", kind: kindRate, of: clicks, per: impressions, factor: 1},
		metric{name: "viewability", description: "viewable / impressions.", kind: kindRate, of: viewable, per: impressions, factor: 1},
		metric{name: "conversion_rate", description: "conversions / clicks.", kind: kindRate, of: conversions, per: clicks, factor: 1},
		metric{name: "cpm", description: "spend / impressions × 1000.", kind: kindPrice, of: c.spend, per: impressions, factor: 1000},
		metric{name: "cpc", description: "spend / clicks.", kind: kindPrice, of: c.spend, per: clicks, factor: 1},
		metric{name: "cpa", description: "spend / conversions.", kind: kindPrice, of: c.spend, per: conversions, factor: 1},
		metric{name: "reach", description: "Different users, an estimate (±1 %); by campaign, country and device only, and never added up.", kind: kindReach},
		metric{name: "frequency", description: "impressions / reach, where reach is possible.", kind: kindFrequency, of: impressions},
	)
	return c
}

// reasonsSQL names the invalid flags of a cell as proto.Flag does; a flag that a
// newer version has set is "other". Rows have one set of flags each, so the sums by
// reason add up.
func reasonsSQL() string {
	names := append(proto.FlagNames(), "other")
	return fmt.Sprintf("arrayStringConcat(arrayMap(flag -> ['%s'][least(flag + 1, %d)], bitPositionsToArray(invalid_flags)), ',')",
		strings.Join(names, "', '"), len(names))
}

// addCounts adds the counters of one event type and returns the net one.
func (c *catalogue) addCounts(t proto.EventType) *measure {
	name := plural(t)
	sum := func(column string) string { return fmt.Sprintf("sumIf(%s, event_type = %d)", column, t) }
	net := c.addCount(name, sum("net"), "Valid events, each counted once.")
	c.addCount(name+"_gross", sum("gross"), "Everything received, repeats too.")
	c.addCount(name+"_duplicate", sum("duplicate"), "Repeats of events that were counted.")
	c.addCount(name+"_invalid", sum("invalid"), "Events flagged as invalid traffic.")
	if t == proto.EventType_EVENT_TYPE_CLICK {
		c.addCount(name+"_orphan", sum("orphan"), "Clicks whose impression never came.")
	}
	return net
}

func (c *catalogue) addCount(name, sql, description string) *measure {
	m := &measure{alias: "m_" + name, sql: sql}
	c.metrics = append(c.metrics, metric{name: name, description: description, kind: kindCount, of: m})
	return m
}

// plural is the name of a type's counter. "viewable" counts viewable
// impressions and video steps are states, so those stay as they are.
func plural(t proto.EventType) string {
	switch t {
	case proto.EventType_EVENT_TYPE_IMPRESSION, proto.EventType_EVENT_TYPE_CLICK, proto.EventType_EVENT_TYPE_CONVERSION:
		return t.Name() + "s"
	default:
		return t.Name()
	}
}
