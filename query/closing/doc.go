// Package closing closes days: it decides which cut a day ends with, and keeps
// the chain of closes.
//
// The path of one day: a cut passes its end → Closer → totals → one row in closes
// → exports.
//
// # Rules
//
// A day is a date on the calendar of a time zone. It can close from the first cut
// on that is complete through its end and the lateness allowance, and not before
// the day ahead of it in that zone. It closes with the newest cut there is then; K,
// the cut of a day, never goes back.
//
// A row of the ledger with day d and cut c is in the statement of d if c ≤ K(d).
// Otherwise it is an adjustment in the first later close with c ≤ K. So each row
// is in exactly one close, and the closes add up to the ledger.
//
// The books of a zone begin with the first day that has data, or with an earlier
// one that somebody closes by name. A day without traffic closes like any other.
//
// An advertiser belongs to one zone from one instant on: UTC, until its account
// says otherwise. A change takes effect at the end of the last closed day of
// either zone, whichever is later; what happened before stays with the old zone,
// also when it comes later. The day of the change is short in one zone or both,
// and no instant is in two. An advertiser of which nothing was counted in either
// zone's closes changes wholly. Changes are part of the close that first knows of
// them, so they cannot disagree with what was closed.
//
// All closes are one chain, in the order in which they were made. Two closers at
// once make one row, because the token of the insert is the place in the chain;
// the other one reads it and goes on from there.
package closing
