package query

import (
	"net/http"

	"github.com/adtally/adtally/query/export"
	"github.com/adtally/adtally/query/report"
)

type schemaColumn struct {
	Name        string      `json:"name"`
	Type        export.Type `json:"type"`
	Description string      `json:"description"`
	OneCurrency bool        `json:"one_currency,omitempty"`
	// GoesWith lists the only dimensions and filters that a metric goes with.
	GoesWith []string `json:"goes_with,omitempty"`
}

type schemaGranularity struct {
	Name    string      `json:"name"`
	Type    export.Type `json:"type,omitempty"`
	Longest string      `json:"longest_range"`
}

// schema is what a client may ask. It is made from the lists that validation
// uses.
type schema struct {
	Dimensions    []schemaColumn      `json:"dimensions"`
	Metrics       []schemaColumn      `json:"metrics"`
	Granularities []schemaGranularity `json:"granularities"`
	Ops           []string            `json:"ops"`
	Formats       []string            `json:"formats"`
	Limits        map[string]int      `json:"limits"`
	Notes         []string            `json:"notes"`
}

var schemaNotes = []string{
	"Every dimension goes with every metric, but for metrics with goes_with: those go with these dimensions and filters only, and with bounds on quarters of an hour.",
	"reach and frequency are estimates of different users. They are merged, never added up: the total is less than the sum of the rows.",
	"Metrics with one_currency are never added up over currencies: where there are several, add the dimension currency or filter by one.",
	"start is inclusive, end exclusive. Dates are days in timezone; timestamps have an offset and are on a whole minute.",
	"Weeks begin on Mondays. A bucket is named by its start in timezone.",
	"Rates and prices are rounded half away from zero at 6 places; spend is exact. Without a denominator they are null.",
	"A row is there if any event of any type was received for it.",
}

func (s *Server) getSchema(w http.ResponseWriter, _ *http.Request) {
	out := schema{Ops: report.Ops, Formats: formats, Notes: schemaNotes, Limits: map[string]int{
		"limit":         int(report.MaxLimit),
		"job_limit":     maxJobRows,
		"default_limit": report.DefaultLimit,
		"filters":       report.MaxFilters,
		"filter_values": report.MaxFilterValues,
		"value_bytes":   report.MaxValueLen,
		"body_bytes":    maxBodyBytes,
	}}
	for i := range report.Dimensions {
		d := &report.Dimensions[i]
		out.Dimensions = append(out.Dimensions, schemaColumn{Name: d.Name, Type: d.ColumnType(), Description: d.Description})
	}
	for i := range report.Metrics {
		m := &report.Metrics[i]
		column := schemaColumn{Name: m.Name, Type: m.ColumnType(), Description: m.Description, OneCurrency: m.Spends()}
		if m.Unique() {
			column.GoesWith = report.ReachDimensions
		}
		out.Metrics = append(out.Metrics, column)
	}
	for i := range report.Granularities {
		g := &report.Granularities[i]
		out.Granularities = append(out.Granularities, schemaGranularity{Name: g.Name, Type: g.Type, Longest: g.Longest()})
	}
	writeJSONValue(w, out)
}
