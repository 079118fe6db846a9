package aggregate

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/internal/kafka"
	"github.com/adtally/adtally/internal/ledger"
)

// watch looks at the topic and at the marks now and then, until ctx is done.
func (a *Aggregator) watch(ctx context.Context) {
	every := time.NewTicker(a.cfg.CheckInterval)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		if err := a.checkTopic(ctx); err != nil {
			a.log.Warn().Err(err).Msg("topic cannot be looked at")
		}
		if err := a.checkBooks(ctx); err != nil {
			a.log.Warn().Err(err).Msg("marks cannot be looked at")
		}
	}
}

// checkTopic stops the program when the topic is not what it was: repeats would
// land on other partitions, or offsets begin anew.
func (a *Aggregator) checkTopic(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	topics, err := kadm.NewClient(a.client).ListTopics(ctx, a.topic.Name)
	if err != nil {
		return fmt.Errorf("describe topic: %w", err)
	}
	t := topics[a.topic.Name]
	if t.Err != nil || len(t.Partitions) == 0 {
		return fmt.Errorf("describe topic: %w", t.Err)
	}
	now := a.topic
	now.ID, now.Partitions = [16]byte(t.ID), int32(len(t.Partitions))
	if err := sameTopic(a.topic, now); err != nil {
		a.fail(&refusal{err.Error()})
	}
	return nil
}

// checkBooks looks whether the marks of the partitions follow each other, and
// publishes where their records went.
func (a *Aggregator) checkBooks(ctx context.Context) error {
	parts := a.owned()
	if len(parts) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	found, err := a.store.Audit(ctx, a.topic)
	if err != nil {
		return err
	}
	bounds, err := kafka.LogBounds(ctx, a.client, a.topic.Name)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if book, ok := found[p.id]; ok {
			a.count.conserve(&book, bounds[p.id].End-int64(book.Position))
			a.judge(p, book.Faults)
		}
	}
	a.count.audited.Store(time.Now().Unix())
	return nil
}

// judge acts on what an audit says of a partition. An overlap is counted twice
// and only a person can say which block is wrong. A gap is offsets that the
// ledger has lost since we wrote them: they are counted again.
func (a *Aggregator) judge(p *partition, faults []ledger.Fault) {
	for _, f := range faults {
		a.count.fault(f.Kind).Inc()
		a.log.Error().Int32("partition", p.id).Str("kind", f.Kind).Uint64("from", f.From).Uint64("to", f.To).
			Msg("alarm: the books do not add up: " + f.Text)
		switch f.Kind {
		case ledger.Overlap, ledger.Totals:
			a.flush.over.Store(true)
			a.fail(refuse("partition %d: %s; run adtally audit and take the books out of service until the block is found that is wrong", p.id, f.Text))
			return
		case ledger.Gap:
			select {
			case a.again <- p:
			default: // the next look will see it
			}
			return
		}
	}
}

// retake gives a partition up and takes it again from what the ledger has. The
// poll loop calls it while rebalances are held off.
func (a *Aggregator) retake(ctx context.Context, p *partition) {
	if a.part(p.id) != p {
		return // somebody else's by now, or taken again already
	}
	itself := map[string][]int32{a.topic.Name: {p.id}}
	if _, _, err := a.starts(ctx, []int32{p.id}); err != nil {
		a.log.Warn().Err(err).Int32("partition", p.id).Msg("partition cannot be taken again yet")
		return // the next look at the books comes back to it
	}
	a.letGo(itself) // from here on the positions stand
	starts, positions, err := a.starts(ctx, []int32{p.id})
	if err != nil {
		a.fail(fmt.Errorf("take partition %d again: %w", p.id, err))
		return
	}
	a.own(starts, positions)
	a.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{a.topic.Name: {p.id: {Epoch: -1, Offset: starts[p.id]}}})
}
