package report

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/proto"
	"github.com/adtally/adtally/query/export"
)

// Dimension is a column to group and filter by.
type Dimension struct {
	clickhouse.Dimension
	// Description explains it to people.
	Description string
	// sql is what it is made of, and of which column, for one that is no column by
	// itself.
	sql, column string
}

// Column is the column of a table that it is made of.
func (d *Dimension) Column() string {
	if d.column != "" {
		return d.column
	}
	return d.Name
}

// Expr is the SQL of the dimension over the rows of a table.
func (d *Dimension) Expr() string {
	if d.sql != "" {
		return d.sql
	}
	return d.Name
}

// Selected is the dimension as a column of a SELECT over a table.
func (d *Dimension) Selected() string {
	if d.sql != "" {
		return d.sql + " AS " + d.Name
	}
	return d.Name
}

// ColumnType is the type of the dimension in answers.
func (d *Dimension) ColumnType() export.Type {
	if d.ID {
		return export.ID
	}
	return export.String
}

// Measure is an integer that ClickHouse adds up.
type Measure struct {
	// Alias names the column of a statement.
	Alias string
	// Column is what is added up.
	Column string
	// Type is that of the events; 0 for all.
	Type proto.EventType
}

// SQL is the aggregate over the rows of a table.
func (m *Measure) SQL() string {
	if m.Type == 0 {
		return "sum(" + m.Column + ")"
	}
	return fmt.Sprintf("sumIf(%s, event_type = %d)", m.Column, m.Type)
}

// Columns lists the columns of a table that the measure needs.
func (m *Measure) Columns() []string {
	if m.Type == 0 {
		return []string{m.Column}
	}
	return []string{m.Column, "event_type"}
}

// Kind says how a metric is made of measures.
type Kind int

// The kinds of metrics.
const (
	KindCount     Kind = iota // an integer
	KindMoney                 // nano-units as a decimal
	KindRate                  // counts through counts
	KindPrice                 // nano-units through counts
	KindReach                 // different users, estimated
	KindFrequency             // counts through different users
)

// Metric is what an answer shows: a measure, or the quotient of two.
type Metric struct {
	// Name is that of its column, Description explains it to people.
	Name, Description string
	// Kind says what of the following is meant.
	Kind Kind
	// Of is the measure, or the numerator of a quotient.
	Of *Measure
	// Per is the denominator of a quotient.
	Per *Measure
	// Factor multiplies a quotient: cpm is for a thousand.
	Factor int64
}

// ColumnType is the type of the metric in answers.
func (m *Metric) ColumnType() export.Type {
	if m.Kind == KindCount || m.Kind == KindReach {
		return export.Integer
	}
	return export.Decimal
}

// Places is the scale of the metric's decimals. Sums of money are not rounded at
// all.
func (m *Metric) Places() int {
	if m.Kind == KindMoney {
		return export.MoneyPlaces
	}
	return export.RatePlaces
}

// Spends says that the metric is in a currency.
func (m *Metric) Spends() bool { return m.Kind == KindMoney || m.Kind == KindPrice }

// Unique says that the metric needs the number of users.
func (m *Metric) Unique() bool { return m.Kind == KindReach || m.Kind == KindFrequency }

// Granularity is the width of the time buckets.
type Granularity struct {
	Name string
	// Type is that of the column with the bucket; empty for total, which has none.
	Type export.Type
	// Seconds is the width of buckets within a day, 0 for longer ones.
	Seconds int64
	// MaxDays bounds the range that may be asked.
	MaxDays int
	// DaysSQL turns day_of_bucket, the number of a local day, into that of its
	// bucket's first day.
	DaysSQL string
}

// Ranges are bounded so that the number of buckets is.
const (
	maxRangeYears  = 5
	maxRangeDays   = 366 * maxRangeYears
	maxQuarterDays = 366
	maxMinuteDays  = 31
)

// Granularities are those that a report may have.
var Granularities = []Granularity{
	{Name: "total", MaxDays: maxRangeDays},
	{Name: "minute", Type: export.Timestamp, Seconds: SecondsPerMinute, MaxDays: maxMinuteDays},
	{Name: "quarter", Type: export.Timestamp, Seconds: 900, MaxDays: maxQuarterDays},
	{Name: "hour", Type: export.Timestamp, Seconds: 3600, MaxDays: maxRangeDays},
	{Name: "day", Type: export.Date, MaxDays: maxRangeDays, DaysSQL: "day_of_bucket"},
	// Day 0, the first of January 1970, was a Thursday; weeks begin on Mondays.
	{Name: "week", Type: export.Date, MaxDays: maxRangeDays, DaysSQL: "day_of_bucket - (day_of_bucket + 3) % 7"},
	{Name: "month", Type: export.Date, MaxDays: maxRangeDays, DaysSQL: "toInt64(toStartOfMonth(toDate(day_of_bucket)))"},
}

// Longest is the longest range in words.
func (g *Granularity) Longest() string {
	if g.MaxDays == maxRangeDays {
		return strconv.Itoa(maxRangeYears) + " years"
	}
	return strconv.Itoa(g.MaxDays) + " days"
}

// What a report may name. Validation, statements and the schema endpoint read the
// same lists, which are never changed.
var (
	// Dimensions are the columns to group and filter by.
	Dimensions = newDimensions()
	// Spend is the sum of money in nano-units.
	Spend = &Measure{Alias: "m_spend", Column: "spend_nanos"}
	// Metrics are what answers show.
	Metrics = newMetrics()
)

// DimensionNamed returns a dimension, or nil.
func DimensionNamed(name string) *Dimension {
	return find(Dimensions, func(d *Dimension) bool { return d.Name == name })
}

// MetricNamed returns a metric, or nil.
func MetricNamed(name string) *Metric {
	return find(Metrics, func(m *Metric) bool { return m.Name == name })
}

// GranularityNamed returns a granularity, or nil.
func GranularityNamed(name string) *Granularity {
	return find(Granularities, func(g *Granularity) bool { return g.Name == name })
}

func find[T any](list []T, is func(*T) bool) *T {
	for i := range list {
		if is(&list[i]) {
			return &list[i]
		}
	}
	return nil
}

// DimensionNames lists the names of Dimensions.
func DimensionNames() []string { return names(Dimensions, func(d *Dimension) string { return d.Name }) }

// MetricNames lists the names of Metrics.
func MetricNames() []string { return names(Metrics, func(m *Metric) string { return m.Name }) }

func granularityNames() []string {
	return names(Granularities, func(g *Granularity) string { return g.Name })
}

func names[T any](list []T, name func(*T) string) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = name(&list[i])
	}
	return out
}

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

func newDimensions() []Dimension {
	var list []Dimension
	for _, d := range clickhouse.Dimensions {
		list = append(list, Dimension{Dimension: d, Description: dimensionDescriptions[d.Name]})
	}
	return append(list, Dimension{
		Dimension: clickhouse.Dimension{Name: "invalid_reason"}, sql: reasonsSQL(), column: "invalid_flags",
		Description: "Why events are invalid traffic: the flags they share, separated by commas as in crawler,data_centre; empty for valid ones. An event is in one row.",
	})
}

// counters collects the metrics that are counts.
type counters []Metric

func newMetrics() []Metric {
	var c counters
	net := map[proto.EventType]*Measure{}
	for _, t := range proto.EventTypes() {
		net[t] = c.addType(t)
	}
	c.add("duplicates", "duplicate", 0, "Repeats of events of every type.")

	impressions := net[proto.EventType_EVENT_TYPE_IMPRESSION]
	viewable := net[proto.EventType_EVENT_TYPE_VIEWABLE]
	clicks := net[proto.EventType_EVENT_TYPE_CLICK]
	conversions := net[proto.EventType_EVENT_TYPE_CONVERSION]
	return append(
		c,
		Metric{Name: "spend", Description: "What the net events cost.", Kind: KindMoney, Of: Spend},
		Metric{Name: "ctr", Description: "clicks / impressions.", Kind: KindRate, Of: clicks, Per: impressions, Factor: 1},
		Metric{Name: "viewability", Description: "viewable / impressions.", Kind: KindRate, Of: viewable, Per: impressions, Factor: 1},
		Metric{Name: "conversion_rate", Description: "conversions / clicks.", Kind: KindRate, Of: conversions, Per: clicks, Factor: 1},
		Metric{Name: "cpm", Description: "spend / impressions × 1000.", Kind: KindPrice, Of: Spend, Per: impressions, Factor: 1000},
		Metric{Name: "cpc", Description: "spend / clicks.", Kind: KindPrice, Of: Spend, Per: clicks, Factor: 1},
		Metric{Name: "cpa", Description: "spend / conversions.", Kind: KindPrice, Of: Spend, Per: conversions, Factor: 1},
		Metric{Name: "reach", Description: "Different users, an estimate (±1 %); by campaign, country and device only, and never added up.", Kind: KindReach},
		Metric{Name: "frequency", Description: "impressions / reach, where reach is possible.", Kind: KindFrequency, Of: impressions},
	)
}

// reasonsSQL names the invalid flags of a cell as proto.Flag does; a flag that a
// newer version has set is "other". Rows have one set of flags each, so the sums by
// reason add up.
func reasonsSQL() string {
	names := append(proto.FlagNames(), "other")
	return fmt.Sprintf("arrayStringConcat(arrayMap(flag -> ['%s'][least(flag + 1, %d)], bitPositionsToArray(invalid_flags)), ',')",
		strings.Join(names, "', '"), len(names))
}

// addType adds the counters of one event type and returns the net one.
func (c *counters) addType(t proto.EventType) *Measure {
	name := plural(t)
	net := c.add(name, "net", t, "Valid events, each counted once.")
	c.add(name+"_gross", "gross", t, "Everything received, repeats too.")
	c.add(name+"_duplicate", "duplicate", t, "Repeats of events that were counted.")
	c.add(name+"_invalid", "invalid", t, "Events flagged as invalid traffic.")
	if t == proto.EventType_EVENT_TYPE_CLICK {
		c.add(name+"_orphan", "orphan", t, "Clicks whose impression never came.")
	}
	return net
}

func (c *counters) add(name, column string, t proto.EventType, description string) *Measure {
	m := &Measure{Alias: "m_" + name, Column: column, Type: t}
	*c = append(*c, Metric{Name: name, Description: description, Kind: KindCount, Of: m})
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
