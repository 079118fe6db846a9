package closing

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/books"
	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/corrections"
	"github.com/adtally/adtally/proto"
	"github.com/adtally/adtally/query/export/statement"
)

// keyColumns are the dimensions of rows behind zone, day and advertiser, as the
// ledger has them.
func keyColumns() []statement.Column {
	columns := []statement.Column{{Name: "advertiser", Kind: statement.ID}, {Name: "event_type", Kind: statement.Text}}
	for _, d := range clickhouse.Dimensions {
		switch {
		case d.Name == "advertiser":
		case d.ID:
			columns = append(columns, statement.Column{Name: d.Name, Kind: statement.ID})
		default:
			columns = append(columns, statement.Column{Name: d.Name, Kind: statement.Text})
		}
	}
	return append(columns, statement.Column{Name: "invalid_flags", Kind: statement.Count})
}

var measureNames = []string{"gross", "net", "duplicate", "invalid", "orphan"}

// StatementColumns are the columns of statements.
func StatementColumns() []statement.Column {
	columns := append([]statement.Column{{Name: "timezone", Kind: statement.Text}, {Name: "day", Kind: statement.Day}}, keyColumns()...)
	for _, name := range measureNames {
		columns = append(columns, statement.Column{Name: name, Kind: statement.Count})
	}
	return append(columns, statement.Column{Name: "spend", Kind: statement.Money})
}

// AdjustmentColumns are the columns of adjustments: those of statements, and why.
func AdjustmentColumns() []statement.Column {
	return append(StatementColumns(), statement.Column{Name: "reason", Kind: statement.Text}, statement.Column{Name: "author", Kind: statement.Text}, statement.Column{Name: "reference", Kind: statement.Text}, statement.Column{Name: "recorded", Kind: statement.Moment})
}

// Rows are the ledger rows of one file of one close.
type Rows struct {
	Timezone string
	Zone     *time.Location
	Day      int64
	Members  Members
	// Slice is what of the ledger belongs to it.
	Slice books.Slice
	// Adjustments takes earlier days instead of the day.
	Adjustments bool
	// Advertiser takes one advertiser only, if it is not 0.
	Advertiser uint64
}

// Query is a statement and its parameters.
type Query struct {
	SQL    string
	Params clickhouse.Parameters
}

// Select returns the query for the rows, in the order of the file's columns.
func (r *Rows) Select() Query {
	q := &rowsQuery{params: clickhouse.Parameters{"zone": r.Timezone, "day": strconv.FormatInt(r.Day, 10)}}
	keys := []string{}
	columns := []string{"toLowCardinality({zone:String}) AS timezone"}
	if r.Adjustments {
		keys = append(keys, "day")
		columns = append(columns, "day")
	} else {
		columns = append(columns, "{day:Int64} AS day")
	}
	for _, c := range keyColumns() {
		keys = append(keys, "l."+c.Name)
		expr := "l." + c.Name
		switch c.Name {
		case "event_type":
			expr = eventNames("l.event_type")
		case "invalid_flags":
			expr = "toInt64(l.invalid_flags)"
		}
		columns = append(columns, expr+" AS "+c.Name+"_")
	}
	for _, name := range measureNames {
		columns = append(columns, "sum(l."+name+") AS "+name+"_")
	}
	columns = append(columns, "sum(toInt128(l.spend_nanos)) AS spend")
	from := "ledger AS l"
	if r.Adjustments {
		keys = append(keys, "reason", "author", "reference")
		columns = append(columns, "reason", "author", "reference", "max(recorded_) AS recorded")
		from = "(\n" + q.adjustments(r) + ") AS l"
	}
	where := ""
	if !r.Adjustments {
		where = "\nWHERE " + q.where(r, Instants(r.Day, r.Zone))
	}
	sql := "SELECT\n    " + strings.Join(columns, ",\n    ") + "\nFROM " + from + where +
		"\nGROUP BY " + strings.Join(keys, ", ") + "\nORDER BY " + strings.Join(keys, ", ")
	return Query{sql, q.params}
}

// TotalsQuery returns the query for the control totals: advertiser, currency, rows,
// measures and spend as text.
func (r *Rows) TotalsQuery() Query {
	q := r.Select()
	rows, _, _ := strings.Cut(q.SQL, "\nORDER BY ")
	sums := make([]string, len(measureNames))
	for i, name := range measureNames {
		sums[i] = "sum(" + name + "_)"
	}
	q.SQL = "SELECT advertiser_, currency_, count(), " + strings.Join(sums, ", ") + ", toString(sum(spend))\nFROM (\n" + rows +
		"\n)\nGROUP BY advertiser_, currency_\nORDER BY advertiser_, currency_"
	return q
}

type rowsQuery struct{ params clickhouse.Parameters }

// adjustments is the subquery that knows of each row its day and its reason.
func (q *rowsQuery) adjustments(r *Rows) string {
	q.params["corrections"] = corrections.Topic.String()
	return `SELECT ledger.*, ` + q.localDay(r) + ` AS day,
    if(topic_id = {corrections:UUID}, kind_, toLowCardinality('late')) AS reason,
    toLowCardinality(author_) AS author, toLowCardinality(reference_) AS reference,
    if(topic_id = {corrections:UUID}, toUnixTimestamp64Micro(created_), toInt64(toUnixTimestamp(block_lat)) * 1000000) AS recorded_
FROM ledger
LEFT ANY JOIN (SELECT batch_id, kind AS kind_, author AS author_, reference AS reference_, created AS created_ FROM corrections) AS why USING (batch_id)
WHERE ` + q.where(r, Before(r.Day, r.Zone)) + "\n"
}

// where takes the slice, the members and the instants.
func (q *rowsQuery) where(r *Rows, when []Interval) string {
	terms := []string{"advertiser > 0", q.members(&r.Members)}
	if r.Advertiser != 0 {
		q.params["advertiser"] = strconv.FormatUint(r.Advertiser, 10)
		terms[0] = "advertiser = {advertiser:UInt64}"
	}
	var times []string
	for i, at := range when {
		from, to := fmt.Sprintf("t%d", i), fmt.Sprintf("u%d", i)
		q.params[from], q.params[to] = at.From.UTC().Format(time.DateTime), at.To.UTC().Format(time.DateTime)
		times = append(times, fmt.Sprintf("minute >= {%s:DateTime('UTC')} AND minute < {%s:DateTime('UTC')}", from, to))
	}
	switch len(times) {
	case 0:
		terms = append(terms, "false")
	case 1:
		terms = append(terms, times[0])
	default:
		terms = append(terms, "("+strings.Join(times, " OR ")+")")
	}
	return strings.Join(append(terms, r.Slice.Where("s", q.params)), "\n  AND ")
}

func (q *rowsQuery) members(m *Members) string {
	var either []string
	if m.Rest {
		either = append(either, "true")
		if len(m.Listed) > 0 {
			q.params["listed"] = idArray(m.Listed)
			either[0] = "advertiser NOT IN {listed:Array(UInt64)}"
		}
	}
	if len(m.Whole) > 0 {
		q.params["whole"] = idArray(m.Whole)
		either = append(either, "advertiser IN {whole:Array(UInt64)}")
	}
	if len(m.Partly) > 0 {
		var ids []uint64
		var since, until []uint64
		for _, stay := range m.Partly {
			to := uint64(1) << 62
			if !stay.To.IsZero() {
				to = uint64(stay.To.Unix())
			}
			from := uint64(0)
			if !stay.From.IsZero() {
				from = uint64(stay.From.Unix())
			}
			ids, since, until = append(ids, stay.Advertiser), append(since, from), append(until, to)
		}
		q.params["stay"], q.params["since"], q.params["until"] = idArray(ids), idArray(since), idArray(until)
		either = append(either, "(advertiser IN {stay:Array(UInt64)} AND arrayExists((a, f, t) -> a = advertiser AND toUnixTimestamp(minute) >= f AND toUnixTimestamp(minute) < t,\n       {stay:Array(UInt64)}, {since:Array(UInt64)}, {until:Array(UInt64)}))")
	}
	if len(either) == 0 {
		return "false"
	}
	return "(" + strings.Join(either, " OR ") + ")"
}

// localDay is the number of the day that the zone's calendar shows.
func (q *rowsQuery) localDay(r *Rows) string {
	froms, offsets := offsetsUntil(r.Day, r.Zone)
	if len(offsets) == 1 {
		q.params["offset"] = strconv.FormatInt(offsets[0], 10)
		return "intDiv(toInt64(toUnixTimestamp(minute)) + {offset:Int64}, 86400)"
	}
	q.params["froms"], q.params["offsets"] = intArray(froms), intArray(offsets)
	return "intDiv(toInt64(toUnixTimestamp(minute)) + {offsets:Array(Int64)}[arrayCount(x -> x <= toUnixTimestamp(minute), {froms:Array(Int64)})], 86400)"
}

// eventNames names the types as the API does.
func eventNames(column string) string {
	var numbers, names []string
	for _, t := range proto.EventTypes() {
		numbers, names = append(numbers, strconv.Itoa(int(t))), append(names, "'"+t.Name()+"'")
	}
	return fmt.Sprintf("toLowCardinality(transform(%[1]s, [%[2]s], [%[3]s], concat('type_', toString(%[1]s))))",
		column, strings.Join(numbers, ", "), strings.Join(names, ", "))
}

func idArray(list []uint64) string {
	return array(list, func(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, n, 10) })
}

func intArray(list []int64) string {
	return array(list, func(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) })
}

func array[T any](list []T, appendTo func([]byte, T) []byte) string {
	dst := []byte{'['}
	for i, n := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendTo(dst, n)
	}
	return string(append(dst, ']'))
}
