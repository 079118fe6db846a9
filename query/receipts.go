package query

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/query/closing"
	"github.com/adtally/adtally/query/problems"
	"github.com/adtally/adtally/query/report"
)

// Receipts tells the fate of events.
type Receipts interface {
	// Find returns what became of an advertiser's event of a client's id, for each
	// copy of it that arrived between two times, both included.
	Find(ctx context.Context, tenant access.Tenant, id string, since, until time.Time) ([]Receipt, error)
}

// Receipt is the fate of one copy of an event.
type Receipt struct {
	// Fate is counted, duplicate, filtered, orphan or pending.
	Fate        string    `json:"fate"`
	EventType   string    `json:"event_type"`
	Time        time.Time `json:"time"`
	Arrived     time.Time `json:"arrived"`
	Partition   int32     `json:"partition"`
	Offset      int64     `json:"offset"`
	DuplicateOf *int64    `json:"duplicate_of_offset,omitempty"`
	// Flags say why it is invalid, Lists which lists said so.
	Flags   string        `json:"invalid_flags,omitempty"`
	Lists   []ReceiptVote `json:"lists,omitempty"`
	Consent string        `json:"consent"`
	// Cell is the minute and the dimensions under which it is counted.
	Cell map[string]string `json:"cell"`
	// Spend is exact, in units of the currency.
	Spend string `json:"spend"`
	// Batch counted it; Batch and Books are nil while none did.
	Batch *ReceiptBatch  `json:"batch"`
	Books *closing.Place `json:"books,omitempty"`
}

// ReceiptVote is what one version of a list says of an event.
type ReceiptVote struct {
	Flag    string `json:"flag"`
	List    string `json:"list"`
	Version string `json:"version"`
}

// ReceiptBatch names a batch, and the offsets from which up to before which it
// counted.
type ReceiptBatch struct {
	ID   string `json:"id"`
	From uint64 `json:"from_offset"`
	To   uint64 `json:"to_offset"`
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
	tenant, since, until, problem := receiptAsked(r, grant, time.Now())
	if problem == nil && s.receipts == nil {
		problem = problems.New(http.StatusNotImplemented, "receipts_off", "This server gives no receipts: it knows neither the brokers nor the key of ids (--id-key).")
	}
	if problem != nil {
		problem.Write(w, requestIDOf(w))
		return
	}
	ctx, cancel := withTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	leave, refusal, err := s.limiter.Enter(ctx, tenant.Advertiser())
	if err != nil {
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	if refusal != nil {
		s.metrics.refused.Inc()
		refused(refusal).Write(w, requestIDOf(w))
		return
	}
	defer leave()
	list, err := s.receipts.Find(ctx, tenant, r.PathValue("id"), since, until)
	if err != nil {
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	if len(list) == 0 {
		problems.New(http.StatusNotFound, "event_not_found", "No event with this id arrived from "+since.UTC().Format(time.RFC3339)+
			" to "+until.UTC().Format(time.RFC3339)+"; name another since or until if it did.").Write(w, requestIDOf(w))
		return
	}
	writeJSONStatus(w, http.StatusOK, map[string]any{"receipts": list})
}

// receiptAsked reads which event is asked for, and when it arrived.
func receiptAsked(r *http.Request, grant access.Grant, now time.Time) (tenant access.Tenant, since, until time.Time, problem *problems.Problem) {
	values, problem := queryOf(r, "advertiser", "since", "until")
	if problem != nil {
		return tenant, since, until, problem
	}
	if tenant, problem = report.TenantOf(values.Get("advertiser"), grant); problem != nil {
		return tenant, since, until, problem
	}
	if id := r.PathValue("id"); id == "" || len(id) > maxEventID {
		return tenant, since, until, problems.Field("id", "invalid_id", "An event id has 1 to 256 bytes.")
	}
	until, problem = timeOf(values, "until", now, "until is when the event arrived at the latest, as 2026-11-20T11:00:00Z.")
	if problem != nil {
		return tenant, since, until, problem
	}
	since, problem = timeOf(values, "since", until.AddDate(0, 0, -receiptDays), "since is when the event arrived at the earliest, as 2026-11-20T10:00:00Z.")
	if problem != nil {
		return tenant, since, until, problem
	}
	switch {
	case since.After(until):
		problem = problems.Field("until", "empty_range", "since must not be after until, nor after now.")
	case since.Before(now.AddDate(0, 0, -maxReceiptDays)):
		problem = problems.Field("since", "invalid_time", "Receipts go back 31 days; without since, to a day before until.")
	}
	return tenant, since, until, problem
}

// timeOf reads a parameter that is an instant; without it, other counts.
func timeOf(values url.Values, name string, other time.Time, detail string) (time.Time, *problems.Problem) {
	text := values.Get(name)
	if text == "" {
		return other, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, problems.Field(name, "invalid_time", detail)
	}
	return t, nil
}
