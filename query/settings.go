package query

import (
	"context"
	"strconv"
	"time"
)

// Whether our user may send settings.
const (
	settableYes = 1
	settableNo  = 2
)

// settings are the limits of one report as ClickHouse knows them. A user whose
// profile is readonly=1 may send none, and has its limits in the profile.
func (s *Server) settings(ctx context.Context, timeout time.Duration) map[string]string {
	if s.settable.Load() == 0 {
		s.learnSettable(ctx)
	}
	if s.settable.Load() != settableYes {
		return nil
	}
	seconds := max(1, int(timeout.Seconds()))
	return map[string]string{
		"max_execution_time":   strconv.Itoa(seconds),
		"max_memory_usage":     strconv.FormatUint(s.cfg.MaxMemory, 10),
		"max_result_rows":      strconv.Itoa(maxJobRows + 1),
		"result_overflow_mode": "throw",
	}
}

// learnSettable asks once. An error says nothing, and is left to the report
// itself.
func (s *Server) learnSettable(ctx context.Context) {
	rows, err := s.conn.Query(ctx, "SELECT toUInt8(getSetting('readonly'))")
	if err != nil {
		return
	}
	var readonly uint8
	if rows.Next() && rows.Scan(&readonly) == nil {
		verdict := int32(settableYes)
		if readonly == 1 {
			verdict = settableNo
		}
		s.settable.Store(verdict)
	}
	_ = rows.Close() // nothing is left to read
}
