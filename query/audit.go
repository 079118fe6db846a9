package query

import (
	"net/http"
	"time"

	"github.com/adtally/adtally/internal/access"
	accounts "github.com/adtally/adtally/internal/ledger"
)

// audit is where the records of the log went, as the ledger knows it: accepted =
// counted + duplicate + filtered + rejected + pending. What is in flight only the
// brokers know; adtally audit asks them.
type audit struct {
	Topic      string           `json:"topic"`
	OK         bool             `json:"ok"`
	Partitions []auditPartition `json:"partitions"`
}

type auditPartition struct {
	Partition int32            `json:"partition"`
	Position  uint64           `json:"position"`
	LAT       time.Time        `json:"lat"`
	Accepted  int64            `json:"accepted"`
	Counted   int64            `json:"counted"`
	Duplicate int64            `json:"duplicate"`
	Filtered  int64            `json:"filtered"`
	Rejected  int64            `json:"rejected"`
	Pending   int64            `json:"pending"`
	Faults    []accounts.Fault `json:"faults"`
}

// getAudit reads the marks of the newest topic and believes their totals;
// adtally audit compares them with the rows.
func (s *Server) getAudit(w http.ResponseWriter, r *http.Request, _ access.Grant) {
	ctx, cancel := withTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	view, err := s.versions.now(ctx)
	if err != nil {
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	out := audit{Topic: view.Topic.Name, OK: true, Partitions: []auditPartition{}}
	if view.Topic.Lineage == 0 { // nothing is counted yet
		writeJSONValue(w, out)
		return
	}
	topic := accounts.Topic{Name: view.Topic.Name, ID: view.Topic.ID, Partitions: view.Topic.Partitions, Lineage: view.Topic.Lineage}
	partitions, err := accounts.Audit(ctx, s.conn, topic, accounts.Extent{MarksOnly: true})
	if err != nil {
		s.fail(w, r, timedOut(ctx, err))
		return
	}
	for _, p := range partitions {
		faults := p.Faults
		if faults == nil {
			faults = []accounts.Fault{}
		}
		out.OK = out.OK && len(faults) == 0
		out.Partitions = append(out.Partitions, auditPartition{
			Partition: p.ID, Position: p.Position, LAT: p.LAT, Accepted: p.Records - p.Ticks, Counted: p.Net, Duplicate: p.Duplicate,
			Filtered: p.Invalid + p.Orphan, Rejected: p.Poison, Pending: p.Pending, Faults: faults,
		})
	}
	writeJSONValue(w, out)
}
