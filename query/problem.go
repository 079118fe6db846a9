package query

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

func newProblem(status int, code, detail string) *Problem {
	return &Problem{
		Type:   "urn:adtally:problem:" + code,
		Title:  http.StatusText(status),
		Status: status,
		Code:   code,
		Detail: detail,
	}
}

// badField is a 400 about one field.
func badField(field, code, detail string) *Problem {
	p := newProblem(http.StatusBadRequest, code, detail)
	p.Field = field
	return p
}

// allowing adds what would have been taken.
func (p *Problem) allowing(allowed []string) *Problem {
	p.Allowed = allowed
	return p
}

// retry adds a Retry-After.
func (p *Problem) retry(seconds int) *Problem {
	p.retryAfter = seconds
	return p
}

func (p *Problem) json() []byte {
	body, err := json.Marshal(p)
	if err != nil {
		panic("BUG: a problem is always JSON: " + err.Error())
	}
	return body
}

// write answers with the problem.
func (p *Problem) write(w http.ResponseWriter, requestID string) {
	p.RequestID = requestID
	body := p.json()
	h := w.Header()
	h.Del("ETag")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) //nolint:gosec // the client may be gone; JSON, whose type is not guessed
}

// quote shows a bounded piece of what the client sent.
func quote(text string) string {
	const most = 64
	if len(text) > most {
		return strconv.Quote(text[:most]) + "…"
	}
	return strconv.Quote(text)
}
