// Package window is the arithmetic of adtally: what one event adds to the
// books. It has no clock, goroutine, I/O or logger; time comes with each record
// as the broker's append time (LAT), so every verdict is a function of the log
// and a replay decides the same.
//
// # Rules
//
// Duplicate: a record is a duplicate if an earlier record of the log has the
// same type and event id and a LAT later than the record's own LAT less the
// horizon. A valid record is a duplicate of earlier valid ones only, an invalid
// one of any, so that a prefetch that comes first never eats the real view.
// Whether the earlier record was itself a duplicate does not matter: "first
// seen within a TTL" could not be rebuilt from a bounded replay.
//
// Invalid: an event with any invalid-traffic flag that is not a duplicate.
//
// Net: everything else. Gross is the sum of the three.
//
// Spend: a net event costs its price where its pricing model bills its type.
//
// Window: one minute of event time.
package window

// CodeVersion is recorded with every batch. It grows by one whenever a change
// makes the same log give other rows.
const CodeVersion = 1
