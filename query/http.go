package query

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/query/problems"
)

// response is an http.ResponseWriter that remembers how it was used.
type response struct {
	http.ResponseWriter
	requestID string
	status    int
}

// WriteHeader remembers the status.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts as a WriteHeader of 200.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// contained is the outermost handler: it names the request, and turns a panic
// into a 500 that tells no more than that name.
func (s *Server) contained(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := &response{ResponseWriter: rw, requestID: newRequestID()}
		h := w.Header()
		h.Set("X-Request-Id", w.requestID)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Vary", "Accept, Authorization, Cookie")
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(cause)
			}
			s.metrics.panics.Inc()
			s.log.Error().Str("request_id", w.requestID).Str("panic", fmt.Sprint(cause)).
				Bytes("stack", debug.Stack()).Msg("request panicked")
			if w.status != 0 {
				panic(http.ErrAbortHandler) // half an answer must not look whole
			}
			internalProblem().Write(w, w.requestID)
		}()
		next.ServeHTTP(w, r)
	})
}

func internalProblem() *problems.Problem {
	return problems.New(http.StatusInternalServerError, "internal", "Something is wrong on our side; the request id finds it.")
}

// routed answers what the mux has no route for in the form of all errors.
func (s *Server) routed(mux *http.ServeMux) http.Handler {
	other := s.measured(s.metrics.route("other"), func(w http.ResponseWriter, r *http.Request) {
		handler, _ := mux.Handler(r)
		var probe probe
		handler.ServeHTTP(&probe, r)
		p := problems.New(http.StatusNotFound, "not_found", "There is nothing at this path.")
		if probe.status == http.StatusMethodNotAllowed {
			allow := probe.Header().Get("Allow")
			w.Header().Set("Allow", allow)
			p = problems.New(http.StatusMethodNotAllowed, "method_not_allowed", "This path does not take the method.").
				Allowing(strings.Split(allow, ", "))
		}
		p.Write(w, requestIDOf(w))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" {
			other.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// probe takes what the mux would answer without sending it.
type probe struct {
	header http.Header
	status int
}

// Header implements http.ResponseWriter.
func (p *probe) Header() http.Header {
	if p.header == nil {
		p.header = http.Header{}
	}
	return p.header
}

// Write implements http.ResponseWriter.
func (p *probe) Write(text []byte) (int, error) { return len(text), nil }

// WriteHeader implements http.ResponseWriter.
func (p *probe) WriteHeader(status int) { p.status = status }

// measured counts and logs the requests of one route. The query string is not
// logged: a key may stand in it by mistake.
func (s *Server) measured(m *routeMetrics, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		began := time.Now()
		w, ok := rw.(*response)
		if !ok {
			panic("BUG: measured runs inside of contained")
		}
		defer func() {
			took := time.Since(began)
			m.observe(w.status, took)
			s.log.Debug().Str("request_id", w.requestID).Str("route", m.name).Str("method", r.Method).
				Int("status", w.status).Dur("took_ms", took).Msg("request")
		}()
		next(w, r)
	})
}

// withKey lets a request pass whose key has the scope. The key is taken from the
// Authorization header, or from the session of the dashboard; never from the URL,
// which ends up in logs and histories.
func (s *Server) withKey(scope access.Scope, next func(http.ResponseWriter, *http.Request, access.Grant)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		grant, problem := s.authenticate(r)
		if problem == nil && !grant.Allows(scope) {
			problem = problems.New(http.StatusForbidden, "missing_scope", "The key does not have the scope "+scope.String()+".")
		}
		if problem == nil {
			problem = refused(s.limiter.Ask(grant.KeyID))
		}
		if problem != nil {
			if problem.Status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="adtally"`)
			}
			problem.Write(w, requestIDOf(w))
			return
		}
		next(w, r, grant)
	}
}

func (s *Server) authenticate(r *http.Request) (access.Grant, *problems.Problem) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		if bearer, ok := s.sessions.bearer(r); ok {
			return s.grantOf(r, bearer)
		}
		return access.Grant{}, problems.New(http.StatusUnauthorized, "missing_key",
			"An API key is needed: Authorization: Bearer <key>.")
	}
	scheme, bearer, _ := strings.Cut(headers[0], " ")
	if len(headers) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return access.Grant{}, problems.New(http.StatusUnauthorized, "invalid_authorization",
			"One header is wanted: Authorization: Bearer <key>.")
	}
	return s.grantOf(r, bearer)
}

// withTimeout is context.WithTimeout without a deadline that can be read:
// clickhouse-go sends a deadline as a setting, which a read-only user may not
// change.
func withTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(timeout, func() { cancel(context.DeadlineExceeded) })
	return ctx, func() {
		timer.Stop()
		cancel(context.Canceled)
	}
}

func newRequestID() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the process instead
	return hex.EncodeToString(random[:])
}

func requestIDOf(w http.ResponseWriter) string {
	if w, ok := w.(*response); ok {
		return w.requestID
	}
	return ""
}

func writeJSONValue(w http.ResponseWriter, value any) { writeJSONStatus(w, http.StatusOK, value) }

func writeJSONStatus(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		panic("BUG: the value is always JSON: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}
