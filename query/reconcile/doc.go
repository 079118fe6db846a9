// Package reconcile explains how another side's totals differ from ours.
//
// The path of one line: their day, campaign and figure → our figure of the same
// day by their clock → what each known cause can account for → what is left.
//
// Causes are taken in the order in which they are certain. The time zone is
// computed: our figure by their days less that by ours. What their side says that
// it counts (repeats, invalid traffic) is computed, too. Only what is left is
// attributed by size: more at their side to invalid traffic and repeats that they
// may not filter, less to events that came after their report. A cause never gets
// more than we hold of it, so nothing is explained away.
package reconcile
