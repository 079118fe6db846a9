// Package problems is how refusals and failures look to clients: problem+json
// (RFC 9457) with a code that programs can rely on.
package problems

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// Problem is an error as the client sees it (RFC 9457), with a stable code.
type Problem struct {
	// Type is a URN made of the code.
	Type string `json:"type"`
	// Title is the text of the HTTP status.
	Title string `json:"title"`
	// Status is the HTTP status.
	Status int `json:"status"`
	// Code names the error for programs. It does not change.
	Code string `json:"code"`
	// Detail explains this occurrence to people.
	Detail string `json:"detail"`
	// Field is the field of the request that is at fault.
	Field string `json:"field,omitempty"`
	// Allowed lists what would have been taken.
	Allowed []string `json:"allowed,omitempty"`
	// RequestID is in the log of the server, too.
	RequestID string `json:"request_id,omitempty"`

	retryAfter int // seconds
}

// Error returns the code and the explanation.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// New returns a Problem of an HTTP status. The code names it for programs, the detail
// explains it to people.
func New(status int, code, detail string) *Problem {
	return &Problem{
		Type:   "urn:adtally:problem:" + code,
		Title:  http.StatusText(status),
		Status: status,
		Code:   code,
		Detail: detail,
	}
}

// Field is a 400 about one field of the request.
func Field(field, code, detail string) *Problem {
	p := New(http.StatusBadRequest, code, detail)
	p.Field = field
	return p
}

// Allowing adds what would have been taken.
func (p *Problem) Allowing(allowed []string) *Problem {
	p.Allowed = allowed
	return p
}

// Retry adds a Retry-After in seconds.
func (p *Problem) Retry(seconds int) *Problem {
	p.retryAfter = seconds
	return p
}

// JSON is the body of the answer.
func (p *Problem) JSON() []byte {
	body, err := json.Marshal(p)
	if err != nil {
		panic("BUG: a problem is always JSON: " + err.Error())
	}
	return body
}

// Write answers with the problem, which gets the id of the request.
func (p *Problem) Write(w http.ResponseWriter, requestID string) {
	p.RequestID = requestID
	body := p.JSON()
	h := w.Header()
	h.Del("ETag")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // the client may be gone
}

// Quote shows a bounded piece of what the client sent.
func Quote(text string) string {
	const most = 64
	if len(text) > most {
		return strconv.Quote(text[:most]) + "…"
	}
	return strconv.Quote(text)
}

// Unknown is a 400 about a name that is none of those allowed.
func Unknown(field, code, name string, allowed []string) *Problem {
	return Field(field, code, Quote(name)+" is not known here.").Allowing(allowed)
}

// Type is a 400 about a value of another type than kind says; the path is empty
// for the whole body.
func Type(path, kind string) *Problem {
	if path == "" {
		return Field("", "invalid_type", "The body must be "+kind+".")
	}
	return Field(path, "invalid_type", "Here "+kind+" is wanted.")
}

// Renamed says which field of another request is at fault.
func (p *Problem) Renamed(from, to string) *Problem {
	if p.Field == from {
		p.Field = to
	}
	return p
}
