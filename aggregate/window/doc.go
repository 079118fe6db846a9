// Package window is the arithmetic of adtally: what one event adds to the
// books. It has no clock, goroutine, I/O or logger; time comes with each record
// as the broker's append time (LAT), so every verdict is a function of the log
// within Config.Lookback, and a replay decides the same.
//
// # Rules
//
// They are tried in this order. Each has a scenario in testdata.
//
// Future: an event more than five minutes ahead of its LAT is set to it and
// flagged. Lateness needs no rule: an event counts in the minute in which it
// happened.
//
// Duplicate: an earlier record of the log has the same type and event id and
// lies within the horizon before the record. A valid record is a duplicate of
// earlier valid ones only, an invalid one of any, so that a prefetch that comes
// first never eats the real view. Valid is what a record says by itself: no
// flag of ingest, not from the future. Whether the earlier record was itself a
// duplicate does not matter: "first seen within a TTL" could not be rebuilt from
// a bounded replay. The horizon is counted in whole steps of broker time, so an
// id is remembered for the horizon and up to a hundredth of it longer.
//
// Synthetic duplicate: a duplicate with another payload than the record that it
// repeats. It counts as a duplicate like any other; people are told.
//
// Repeat click: a click on the same impression came less than the double-click
// window before; validity shadows as above. It counts as a duplicate.
//
// Invalid: any flag is set.
//
// Click cap: as many other valid clicks on the impression as may be already lie
// within the horizon. The click is flagged, and invalid.
//
// Orphan: a click that names an impression waits until a record of that
// impression, of any validity, lies within the horizon before it or comes within
// the join window after it. Then it is net; once the LAT of any record passes
// the join window it is an orphan. The record that settles it decides in which
// batch it counts. A click that names no impression cannot be judged and is net.
// Conversions come days later and never wait.
//
// Net: everything else. Gross = net + duplicate + invalid + orphan.
//
// Spend: a net event costs its price where its pricing model bills its type.
//
// Window: one minute of event time.
//
// Other: of the dimensions below the campaign an advertiser may have so many
// different ones within a bucket of broker time (an hour, or a shorter
// horizon). Events with further ones are booked, and billed, under Other.
package window

// CodeVersion is recorded with every batch. It grows by one whenever a change
// makes the same log give other rows.
const CodeVersion = 2
