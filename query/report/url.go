package report

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/adtally/adtally/query/problems"
)

// FromURL reads the form of a Request that fits a shell:
//
//	?start=2026-11-01&end=2026-11-08&dimensions=campaign,country&metrics=clicks,spend
//	&filter=country:in:US,CA&order_by=spend:desc&limit=100
//
// A filter is dimension:op:values. Only in and not_in split the values at
// commas, so eq and ne take a value that holds one.
func FromURL(rawQuery string) (Request, *problems.Problem) {
	var req Request
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return req, problems.Field("", "invalid_query", "The query string cannot be read.")
	}
	single := map[string]*string{
		"advertiser": &req.Advertiser, "start": &req.Start, "end": &req.End, "timezone": &req.Timezone,
		"granularity": &req.Granularity, "cursor": &req.Cursor, "as_of": &req.AsOf, "require": &req.Require,
		"limit": new(string),
	}
	lists := map[string]func([]string) *problems.Problem{
		"dimensions": func(texts []string) *problems.Problem { req.Dimensions = splitLists(texts); return nil },
		"metrics":    func(texts []string) *problems.Problem { req.Metrics = splitLists(texts); return nil },
		"filter":     func(texts []string) *problems.Problem { return parseFilters(texts, &req) },
		"order_by":   func(texts []string) *problems.Problem { return parseOrders(texts, &req) },
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if dst, ok := single[name]; ok {
			if len(values[name]) > 1 {
				return req, problems.Field(name, "duplicate_field", "The parameter is there twice.")
			}
			*dst = values.Get(name)
			continue
		}
		read, ok := lists[name]
		if !ok {
			return req, problems.Field(problems.Quote(name), "unknown_field", "There is no parameter "+problems.Quote(name)+".").
				Allowing(append(slices.Sorted(maps.Keys(single)), slices.Sorted(maps.Keys(lists))...))
		}
		if problem := read(values[name]); problem != nil {
			return req, problem
		}
	}
	if text := *single["limit"]; values.Has("limit") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return req, problems.Type("limit", "an integer")
		}
		req.Limit = &n
	}
	return req, nil
}

// splitLists takes a=1,2 and a=1&a=2 alike.
func splitLists(texts []string) []string {
	var items []string
	for _, text := range texts {
		if text != "" {
			items = append(items, strings.Split(text, ",")...)
		}
	}
	return items
}

func parseFilters(texts []string, req *Request) *problems.Problem {
	for i, text := range texts {
		dimension, rest, ok := strings.Cut(text, ":")
		op, values, okOp := strings.Cut(rest, ":")
		if !ok || !okOp {
			return problems.Field("filter["+strconv.Itoa(i)+"]", "invalid_filter",
				"A filter is dimension:op:values, such as country:in:US,CA.")
		}
		f := Filter{Dimension: dimension, Op: op, Values: []string{values}}
		if op == OpIn || op == OpNotIn {
			f.Values = strings.Split(values, ",")
		}
		req.Filters = append(req.Filters, f)
	}
	return nil
}

func parseOrders(texts []string, req *Request) *problems.Problem {
	for _, text := range splitLists(texts) {
		field, direction, _ := strings.Cut(text, ":")
		req.OrderBy = append(req.OrderBy, Order{Field: field, Direction: direction})
	}
	return nil
}
