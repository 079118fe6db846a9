package query

import (
	"context"
	"net/http"
	"time"

	"github.com/adtally/adtally/internal/access"
)

// Receipts tells the fate of events.
type Receipts interface {
	// Find returns what became of an advertiser's event of a client's id, for each
	// copy of it since a time, as a value for JSON.
	Find(ctx context.Context, tenant access.Tenant, id string, since time.Time) ([]any, error)
}

// UseReceipts lets the server answer receipts. It is called before Run.
func (s *Server) UseReceipts(r Receipts) { s.receipts = r }

const (
	receiptDays    = 1
	maxReceiptDays = 31
	maxEventID     = 256
)

// getReceipt tells the fate of one event.
func (s *Server) getReceipt(w http.ResponseWriter, r *http.Request, grant access.Grant) {
	values, problem := queryOf(r, "advertiser", "since")
	var tenant access.Tenant
	if problem == nil {
		tenant, problem = tenantOf(Request{Advertiser: values.Get("advertiser")}, grant)
	}
	now := time.Now()
	since := now.AddDate(0, 0, -receiptDays)
	if text := values.Get("since"); problem == nil && text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, text); err != nil || since.Before(now.AddDate(0, 0, -maxReceiptDays)) || since.After(now) {
			problem = badField("since", "invalid_time", "since is when the event arrived at the earliest, of the last 31 days, as 2026-11-20T10:00:00Z.")
		}
	}
	id := r.PathValue("id")
	if problem == nil && (id == "" || len(id) > maxEventID) {
		problem = badField("id", "invalid_id", "An event id has 1 to 256 bytes.")
	}
	if problem == nil && s.receipts == nil {
		problem = newProblem(http.StatusNotImplemented, "receipts_off", "This server gives no receipts: it knows neither the brokers nor the key of ids (--id-key).")
	}
	if problem != nil {
		problem.write(w, requestIDOf(w))
		return
	}
	ctx, cancel := withTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	list, err := s.receipts.Find(ctx, tenant, id, since)
	if err != nil {
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	if len(list) == 0 {
		newProblem(http.StatusNotFound, "event_not_found",
			"No event with this id arrived since "+since.UTC().Format(time.RFC3339)+"; name an earlier since if it did.").write(w, requestIDOf(w))
		return
	}
	writeJSONStatus(w, http.StatusOK, map[string]any{"receipts": list})
}
