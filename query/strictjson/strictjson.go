// Package strictjson reads the JSON bodies of requests token by token. encoding/json
// alone takes "START" for "start" and the second of two equal fields; here both are
// problems, as a request that two readers may understand differently should not
// decide about money.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/adtally/adtally/query/problems"
)

// Decoder reads one body.
type Decoder struct{ json *json.Decoder }

// Fields says how each field of an object is read to where it belongs. A reader is
// given the path of its value, which problems name.
type Fields map[string]func(path string) *problems.Problem

// Decode reads the one object that a body is.
func Decode(body []byte, fields func(*Decoder) Fields) *problems.Problem {
	if !utf8.Valid(body) {
		return problems.Field("", "invalid_json", "The body is not UTF-8.")
	}
	d := &Decoder{json: json.NewDecoder(bytes.NewReader(body))}
	d.json.UseNumber()
	if problem := d.Object("", fields(d)); problem != nil {
		return problem
	}
	if _, err := d.json.Token(); !errors.Is(err, io.EOF) {
		return problems.Field("", "invalid_json", "Something follows the object.")
	}
	return nil
}

// TextOf reads a text to dst.
func (d *Decoder) TextOf(dst *string) func(string) *problems.Problem {
	return func(path string) *problems.Problem { return d.Text(path, dst) }
}

// Object reads an object that has each of the fields at most once and no other.
func (d *Decoder) Object(path string, fields Fields) *problems.Problem {
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
			return problems.Field(join(path, problems.Quote(name)), "unknown_field", "There is no field "+problems.Quote(name)+".").Allowing(slices.Sorted(maps.Keys(fields)))
		case seen[name]:
			return problems.Field(join(path, name), "duplicate_field", "The field is there twice.")
		}
		seen[name] = true
		if problem := read(join(path, name)); problem != nil {
			return problem
		}
	}
	return d.end(path)
}

// Array reads an array of which each element reads one.
func (d *Decoder) Array(path string, each func(path string) *problems.Problem) *problems.Problem {
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

func (d *Decoder) open(path string, delim json.Delim, kind string) *problems.Problem {
	token, err := d.json.Token()
	if err != nil {
		return syntaxProblem(path, err)
	}
	if token != delim {
		return problems.Type(path, kind)
	}
	return nil
}

func (d *Decoder) end(path string) *problems.Problem {
	if _, err := d.json.Token(); err != nil {
		return syntaxProblem(path, err)
	}
	return nil
}

// Text reads a string.
func (d *Decoder) Text(path string, dst *string) *problems.Problem {
	token, err := d.json.Token()
	if err != nil {
		return syntaxProblem(path, err)
	}
	text, ok := token.(string)
	if !ok {
		return problems.Type(path, "a string")
	}
	*dst = text
	return nil
}

// TextOrNumber reads a string, or a number as it is written.
func (d *Decoder) TextOrNumber(path string, dst *string) *problems.Problem {
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
		return problems.Type(path, "a string or a number")
	}
	return nil
}

// Integer reads an integer of 64 bits.
func (d *Decoder) Integer(path string, dst **int64) *problems.Problem {
	token, err := d.json.Token()
	if err != nil {
		return syntaxProblem(path, err)
	}
	number, ok := token.(json.Number)
	if !ok {
		return problems.Type(path, "an integer")
	}
	n, err := number.Int64()
	if err != nil {
		return problems.Type(path, "an integer")
	}
	*dst = &n
	return nil
}

// Number reads a number.
func (d *Decoder) Number(path string, dst **float64) *problems.Problem {
	token, err := d.json.Token()
	if err != nil {
		return syntaxProblem(path, err)
	}
	number, ok := token.(json.Number)
	if !ok {
		return problems.Type(path, "a number")
	}
	n, err := number.Float64()
	if err != nil {
		return problems.Type(path, "a number")
	}
	*dst = &n
	return nil
}

func syntaxProblem(path string, err error) *problems.Problem {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return problems.Field(path, "invalid_json", "The JSON ends too early.")
	}
	return problems.Field(path, "invalid_json", "The body is not JSON: "+err.Error()+".")
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
