package books

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/clickhouse"
)

// Slice names the batches after one Vector and up to another.
type Slice struct {
	From, To Vector
	// The days of broker time that the batches lie in and when the first of their
	// blocks began, as their marks say; zero when nobody asked the marks.
	firstDay, lastDay, firstLAT time.Time
}

// within widens the bounds.
func (s *Slice) within(firstDay, lastDay, firstLAT time.Time) {
	least := func(dst *time.Time, t time.Time) {
		if dst.IsZero() || t.Before(*dst) {
			*dst = t.UTC()
		}
	}
	most := func(dst *time.Time, t time.Time) {
		if dst.IsZero() || t.After(*dst) {
			*dst = t.UTC()
		}
	}
	least(&s.firstDay, firstDay)
	most(&s.lastDay, lastDay)
	least(&s.firstLAT, firstLAT)
}

// Where returns the predicate on rows of the ledger that holds for those of the
// slice, and adds its parameters under names that begin with prefix. It has no
// word of the mark rows; they have advertiser 0.
func (s *Slice) Where(prefix string, params clickhouse.Parameters) string {
	var logs []string
	for i, l := range s.To.logs() {
		n := s.To.partitions(l)
		from, to := s.From.dense(l, n, 0), s.To.dense(l, n, 0)
		if slices.Equal(from, to) {
			continue
		}
		name := func(what string) string { return prefix + what + strconv.Itoa(i) }
		params[name("topic")] = l.topic.String()
		params[name("lineage")] = strconv.FormatUint(uint64(l.lineage), 10)
		params[name("to")] = arrayParam(to)
		clause := fmt.Sprintf("topic_id = {%s:UUID} AND lineage = {%s:UInt32} AND b_end <= {%s:Array(UInt64)}[kafka_partition + 1]",
			name("topic"), name("lineage"), name("to"))
		if slices.ContainsFunc(from, func(n uint64) bool { return n > 0 }) {
			params[name("from")] = arrayParam(from)
			clause += fmt.Sprintf(" AND b_end > {%s:Array(UInt64)}[kafka_partition + 1]", name("from"))
		}
		logs = append(logs, "("+clause+")")
	}
	if len(logs) == 0 {
		return "false"
	}
	terms := []string{strings.Join(logs, " OR ")}
	if len(logs) > 1 {
		terms[0] = "(" + terms[0] + ")"
	}
	if !s.firstDay.IsZero() {
		params[prefix+"day0"], params[prefix+"day1"] = s.firstDay.Format(time.DateOnly), s.lastDay.Format(time.DateOnly)
		params[prefix+"lat"] = s.firstLAT.Format(time.DateTime)
		terms = append(terms,
			fmt.Sprintf("lat_day >= {%[1]sday0:Date} AND lat_day <= {%[1]sday1:Date}", prefix),
			fmt.Sprintf("block_lat >= {%slat:DateTime('UTC')}", prefix))
	}
	return strings.Join(terms, " AND ")
}
