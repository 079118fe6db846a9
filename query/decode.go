package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"
)

// decoder reads the JSON form of a Request token by token. encoding/json alone
// takes "START" for "start" and the second of two equal fields; here both are
// errors, as a request that two readers may understand differently should not
// decide about money.
type decoder struct{ json *json.Decoder }

// readers says how each field of an object is read.
type readers map[string]func(path string) *Problem

// decodeBody reads the one object that a body is.
func decodeBody(body []byte, fields func(*decoder) readers) *Problem {
	if !utf8.Valid(body) {
		return badField("", "invalid_json", "The body is not UTF-8.")
	}
	d := &decoder{json: json.NewDecoder(bytes.NewReader(body))}
	d.json.UseNumber()
	if problem := d.object("", fields(d)); problem != nil {
		return problem
	}
	if _, err := d.json.Token(); !errors.Is(err, io.EOF) {
		return badField("", "invalid_json", "Something follows the object.")
	}
	return nil
}

// decodeRequest reads a Request from a body.
func decodeRequest(body []byte) (Request, *Problem) {
	var req Request
	problem := decodeBody(body, func(d *decoder) readers { return d.request(&req) })
	return req, problem
}

func (d *decoder) request(req *Request) readers {
	texts := func(dst *[]string) func(string) *Problem {
		return func(path string) *Problem {
			return d.array(path, func(path string) *Problem {
				*dst = append(*dst, "")
				return d.text(path, &(*dst)[len(*dst)-1])
			})
		}
	}
	text := d.textOf
	return readers{
		"advertiser":  func(path string) *Problem { return d.textOrNumber(path, &req.Advertiser) },
		"start":       text(&req.Start),
		"end":         text(&req.End),
		"timezone":    text(&req.Timezone),
		"granularity": text(&req.Granularity),
		"dimensions":  texts(&req.Dimensions),
		"metrics":     texts(&req.Metrics),
		"filters":     func(path string) *Problem { return d.filters(path, &req.Filters) },
		"order_by":    func(path string) *Problem { return d.orders(path, &req.OrderBy) },
		"limit":       func(path string) *Problem { return d.integer(path, &req.Limit) },
		"cursor":      text(&req.Cursor),
		"as_of":       text(&req.AsOf),
		"require":     text(&req.Require),
	}
}

// textOf reads a text to dst.
func (d *decoder) textOf(dst *string) func(string) *Problem {
	return func(path string) *Problem { return d.text(path, dst) }
}

func (d *decoder) filters(path string, dst *[]Filter) *Problem {
	return d.array(path, func(path string) *Problem {
		var f Filter
		problem := d.object(path, readers{
			"dimension": func(path string) *Problem { return d.text(path, &f.Dimension) },
			"op":        func(path string) *Problem { return d.text(path, &f.Op) },
			"values": func(path string) *Problem {
				return d.array(path, func(path string) *Problem {
					f.Values = append(f.Values, "")
					return d.textOrNumber(path, &f.Values[len(f.Values)-1])
				})
			},
		})
		*dst = append(*dst, f)
		return problem
	})
}

func (d *decoder) orders(path string, dst *[]Order) *Problem {
	return d.array(path, func(path string) *Problem {
		var o Order
		problem := d.object(path, readers{
			"field":     func(path string) *Problem { return d.text(path, &o.Field) },
			"direction": func(path string) *Problem { return d.text(path, &o.Direction) },
		})
		*dst = append(*dst, o)
		return problem
	})
}

// object reads an object that has each of the fields at most once and no other.
func (d *decoder) object(path string, fields readers) *Problem {
	if problem := d.open(path, '{', "an object"); problem != nil {
		return problem
	}
	seen := make(map[string]bool, len(fields))
	for d.json.More() {
		token, err := d.json.Token()
		if err != nil {
			return syntaxProblem(path, err)
		}
		name, _ := token.(string) // a field name, or Token had failed
		read, known := fields[name]
		switch {
		case !known:
			return badField(join(path, quote(name)), "unknown_field", "There is no field "+quote(name)+".").allowing(sortedKeys(fields))
		case seen[name]:
			return badField(join(path, name), "duplicate_field", "The field is there twice.")
		}
		seen[name] = true
		if problem := read(join(path, name)); problem != nil {
			return problem
		}
	}
	return d.end(path)
}

// array reads an array of which each element reads one.
func (d *decoder) array(path string, each func(path string) *Problem) *Problem {
	if problem := d.open(path, '[', "an array"); problem != nil {
		return problem
	}
	for i := 0; d.json.More(); i++ {
		if problem := each(path + "[" + strconv.Itoa(i) + "]"); problem != nil {
			return problem
		}
	}
	return d.end(path)
}

func (d *decoder) open(path string, delim json.Delim, kind string) *Problem {
	token, err := d.json.Token()
	if err != nil {
		return syntaxProblem(path, err)
	}
	if token != delim {
		return wantsType(path, kind)
	}
	return nil
}

func (d *decoder) end(path string) *Problem {
	if _, err := d.json.Token(); err != nil {
		return syntaxProblem(path, err)
	}
	return nil
}

func (d *decoder) text(path string, dst *string) *Problem {
	token, err := d.json.Token()
	if err != nil {
		return syntaxProblem(path, err)
	}
	text, ok := token.(string)
	if !ok {
		return wantsType(path, "a string")
	}
	*dst = text
	return nil
}

func (d *decoder) textOrNumber(path string, dst *string) *Problem {
	token, err := d.json.Token()
	if err != nil {
		return syntaxProblem(path, err)
	}
	switch value := token.(type) {
	case string:
		*dst = value
	case json.Number:
		*dst = value.String()
	default:
		return wantsType(path, "a string or a number")
	}
	return nil
}

func (d *decoder) integer(path string, dst **int64) *Problem {
	token, err := d.json.Token()
	if err != nil {
		return syntaxProblem(path, err)
	}
	number, ok := token.(json.Number)
	if !ok {
		return wantsType(path, "an integer")
	}
	n, err := number.Int64()
	if err != nil {
		return wantsType(path, "an integer")
	}
	*dst = &n
	return nil
}

func (d *decoder) number(path string, dst **float64) *Problem {
	token, err := d.json.Token()
	if err != nil {
		return syntaxProblem(path, err)
	}
	number, ok := token.(json.Number)
	if !ok {
		return wantsType(path, "a number")
	}
	n, err := number.Float64()
	if err != nil {
		return wantsType(path, "a number")
	}
	*dst = &n
	return nil
}

func syntaxProblem(path string, err error) *Problem {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return badField(path, "invalid_json", "The JSON ends too early.")
	}
	return badField(path, "invalid_json", "The body is not JSON: "+err.Error()+".")
}

func wantsType(path, kind string) *Problem {
	if path == "" {
		return badField("", "invalid_type", "The body must be "+kind+".")
	}
	return badField(path, "invalid_type", "Here "+kind+" is wanted.")
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
