package aggregate

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/internal/ledger"
)

// auditOf audits a topic and returns its partition 0.
func auditOf(t *testing.T, conn clickhouse.Conn, topic Topic, e ledger.Extent) ledger.Partition {
	t.Helper()
	recorded, err := ledger.LastTopic(t.Context(), conn, topic.Name)
	if err != nil || recorded.ID != topic.ID {
		t.Fatalf("recorded topic: %+v %v", recorded, err)
	}
	partitions, err := ledger.Audit(t.Context(), conn, recorded, e)
	if err != nil || len(partitions) == 0 || partitions[0].ID != 0 {
		t.Fatalf("audit: %+v %v", partitions, err)
	}
	return partitions[0]
}

func auditSeesWhereRecordsWent(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	l := NewLedger(conn, "test")
	topic := opened(t, l, "audited")
	insert(t, l, topic, testSpan(0, 0, 10))
	mixed := testSpan(0, 10, 20)
	mixed.End = 25
	tick := []byte{8, 0xff, 1}
	foldInto(mixed, tick, []byte("not an event"), tick, nil, tick)
	insert(t, l, topic, mixed)
	day := latDay(mixed.FirstLAT)
	want := ledger.Controls{Records: 25, Ticks: 3, Poison: 2, Net: 20, SpendNanos: 100}
	for _, marksOnly := range []bool{false, true} {
		p := auditOf(t, conn, topic, ledger.Extent{MarksOnly: marksOnly})
		if p.Controls != want || p.Position != 25 || p.Marks != 2 || len(p.Faults) != 0 {
			t.Errorf("audit, marks only %v: %+v, want %+v and no fault", marksOnly, p, want)
		}
		if p := auditOf(t, conn, topic, ledger.Extent{MarksOnly: marksOnly, Since: day}); len(p.Faults) != 0 || p.Records != 25 {
			t.Errorf("audit since the first day: %+v", p)
		}
	}
	next := testSpan(0, 25, 35)
	next.FirstLAT += 24 * time.Hour.Milliseconds()
	next.LastLAT = next.FirstLAT + 1
	later := testSpan(0, 35, 36)
	later.FirstLAT, later.LastLAT = next.FirstLAT+5, next.FirstLAT+6
	insert(t, l, topic, next)
	insert(t, l, topic, later)
	p := auditOf(t, conn, topic, ledger.Extent{Since: day.AddDate(0, 0, 1)})
	if len(p.Faults) != 0 || p.First != 25 || p.Records != 1 || p.Net != 1 {
		t.Errorf("audit since the second day: %+v, want what follows its first mark", p)
	}
}

func auditNamesFaults(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	l := NewLedger(conn, "test")
	f := func(name, kind string, from, to uint64, marksToo bool, damage func(Topic)) {
		t.Helper()
		topic := opened(t, l, "audit "+name)
		damage(topic)
		for _, e := range []ledger.Extent{{}, {MarksOnly: true}} {
			p := auditOf(t, conn, topic, e)
			switch {
			case e.MarksOnly && !marksToo:
				if len(p.Faults) != 0 {
					t.Errorf("%s, marks only: %+v, want no fault", name, p.Faults)
				}
			case len(p.Faults) != 1 || p.Faults[0].Kind != kind || p.Faults[0].From != from || p.Faults[0].To != to:
				t.Errorf("%s: %+v, want %s at %d to %d", name, p.Faults, kind, from, to)
			}
		}
	}
	f("gap", ledger.Gap, 5, 7, true, func(topic Topic) {
		insert(t, l, topic, testSpan(0, 0, 5))
		insert(t, l, topic, testSpan(0, 7, 9))
	})
	f("overlap", ledger.Overlap, 4, 5, true, func(topic Topic) {
		insert(t, l, topic, testSpan(0, 0, 5))
		insert(t, l, topic, testSpan(0, 4, 9))
	})
	f("start", ledger.Start, 0, 3, true, func(topic Topic) { insert(t, l, topic, testSpan(0, 3, 9)) })
	f("missing", ledger.Missing, 0, 9, true, func(topic Topic) {
		s := testSpan(0, 0, 9)
		foldInto(s, nil) // poison: one more than there are records
		insert(t, l, topic, s)
	})
	f("totals", ledger.Totals, 0, 9, false, func(topic Topic) {
		b := insert(t, l, topic, testSpan(0, 0, 9))
		err := conn.Exec(context.WithoutCancel(t.Context()), `INSERT INTO ledger (advertiser, gross, net, topic_id, kafka_partition, b_start, b_end, batch_id, lineage, lat_day)
SELECT 1, 1, 1, topic_id, kafka_partition, b_start, b_end, batch_id, lineage, lat_day FROM ledger WHERE batch_id = ? AND advertiser = 0`, b.ID)
		if err != nil {
			t.Fatal(err)
		}
	})
}

// Marks of version 0 know less; what they do not know is not held against them.
func auditReadsOldMarks(t *testing.T, conn clickhouse.Conn) {
	t.Helper()
	topic := opened(t, NewLedger(conn, "test"), "old marks")
	err := conn.Exec(t.Context(), `INSERT INTO ledger (advertiser, gross, net, duplicate, topic_id, b_start, b_end, batch_id, lineage, lat_day, mark_rows, mark_gross, mark_net) VALUES
(0, 0, 0, 0, $1, 0, 7, $2, 1, '2026-01-01', 1, 5, 3), (1, 5, 3, 2, $1, 0, 7, $2, 1, '2026-01-01', 0, 0, 0)`, topic.ID, uuid.New())
	if err != nil {
		t.Fatal(err)
	}
	p := auditOf(t, conn, topic, ledger.Extent{})
	if want := (ledger.Controls{Records: 7, Ticks: 2, Net: 3, Duplicate: 2}); p.Controls != want || len(p.Faults) != 0 {
		t.Errorf("audit: %+v, want %+v and no fault", p, want)
	}
}
