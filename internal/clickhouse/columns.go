package clickhouse

// Dimension is a column of the ledger that reports group and filter by.
type Dimension struct {
	// Name is the name in reports and the column of the ledger.
	Name string
	// ID says that the values are 64-bit ids; otherwise they are text.
	ID bool
}

// Dimensions is the one list of dimensions: reports, filters and exports follow
// it. A new one also needs a migration and a field in window.Key.
var Dimensions = []Dimension{
	{Name: "advertiser", ID: true},
	{Name: "campaign", ID: true},
	{Name: "ad_group", ID: true},
	{Name: "creative", ID: true},
	{Name: "placement", ID: true},
	{Name: "publisher", ID: true},
	{Name: "country"},
	{Name: "region"},
	{Name: "device"},
	{Name: "os"},
	{Name: "browser"},
	{Name: "variant"},
	{Name: "currency"},
}
