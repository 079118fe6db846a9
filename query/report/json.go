package report

import (
	"github.com/adtally/adtally/query/problems"
	"github.com/adtally/adtally/query/strictjson"
)

// Decode reads a Request from a JSON body.
func Decode(body []byte) (Request, *problems.Problem) {
	var req Request
	problem := strictjson.Decode(body, func(d *strictjson.Decoder) strictjson.Fields { return requestFields(d, &req) })
	return req, problem
}

func requestFields(d *strictjson.Decoder, req *Request) strictjson.Fields {
	texts := func(dst *[]string) func(string) *problems.Problem {
		return func(path string) *problems.Problem {
			return d.Array(path, func(path string) *problems.Problem {
				*dst = append(*dst, "")
				return d.Text(path, &(*dst)[len(*dst)-1])
			})
		}
	}
	text := d.TextOf
	return strictjson.Fields{
		"advertiser":  func(path string) *problems.Problem { return d.TextOrNumber(path, &req.Advertiser) },
		"start":       text(&req.Start),
		"end":         text(&req.End),
		"timezone":    text(&req.Timezone),
		"granularity": text(&req.Granularity),
		"dimensions":  texts(&req.Dimensions),
		"metrics":     texts(&req.Metrics),
		"filters":     func(path string) *problems.Problem { return readFilters(d, path, &req.Filters) },
		"order_by":    func(path string) *problems.Problem { return readOrders(d, path, &req.OrderBy) },
		"limit":       func(path string) *problems.Problem { return d.Integer(path, &req.Limit) },
		"cursor":      text(&req.Cursor),
		"as_of":       text(&req.AsOf),
		"require":     text(&req.Require),
	}
}

func readFilters(d *strictjson.Decoder, path string, dst *[]Filter) *problems.Problem {
	return d.Array(path, func(path string) *problems.Problem {
		var f Filter
		problem := d.Object(path, strictjson.Fields{
			"dimension": func(path string) *problems.Problem { return d.Text(path, &f.Dimension) },
			"op":        func(path string) *problems.Problem { return d.Text(path, &f.Op) },
			"values": func(path string) *problems.Problem {
				return d.Array(path, func(path string) *problems.Problem {
					f.Values = append(f.Values, "")
					return d.TextOrNumber(path, &f.Values[len(f.Values)-1])
				})
			},
		})
		*dst = append(*dst, f)
		return problem
	})
}

func readOrders(d *strictjson.Decoder, path string, dst *[]Order) *problems.Problem {
	return d.Array(path, func(path string) *problems.Problem {
		var o Order
		problem := d.Object(path, strictjson.Fields{
			"field":     func(path string) *problems.Problem { return d.Text(path, &o.Field) },
			"direction": func(path string) *problems.Problem { return d.Text(path, &o.Direction) },
		})
		*dst = append(*dst, o)
		return problem
	})
}
