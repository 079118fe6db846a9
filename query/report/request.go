package report

// Request is a report as it was asked for, before anything is checked.
type Request struct {
	// Advertiser is the advertiser's id as text; empty for a key over one.
	Advertiser string
	// Start and End bound the report: dates in Timezone, or timestamps.
	Start, End string
	// Timezone is an IANA name; empty for that of the account.
	Timezone string
	// Granularity names the time buckets; empty for total.
	Granularity string
	// Dimensions and Metrics are the columns.
	Dimensions, Metrics []string
	// Filters must all hold.
	Filters []Filter
	// OrderBy sorts; what it leaves open is sorted by time and dimensions.
	OrderBy []Order
	// Limit bounds the rows; nil for the default.
	Limit *int64
	// Cursor, AsOf and Require say which version of the books to read.
	Cursor, AsOf, Require string

	// MostRows is what Limit may be at most, if that is more than usual. No client
	// says it.
	MostRows int64
}

// Filter keeps rows whose dimension is, or is not, among the values.
type Filter struct {
	// Dimension names what is compared, Op how: in, not_in, eq, ne.
	Dimension, Op string
	// Values are texts; ids as decimal numbers.
	Values []string
}

// Order is one key to sort by.
type Order struct {
	// Field is a column of the report, Direction asc or desc.
	Field, Direction string
}
