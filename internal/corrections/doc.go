// Package corrections writes what changes the books afterwards: a partner's
// verdicts, or amounts that a person states.
//
// The path of one correction: lines of a file → cells of the ledger → delta rows
// → one batch of a log of their own → the next cut.
//
// Corrections are a topic generation of the ledger like that of events: batches
// that join, each with its mark. So cuts, rollups, reports and closes count them
// like anything else, and a correction of a closed day is an adjustment. What was
// counted is never changed; a correction takes away and adds. The table corrections
// says of each batch why it is there, and is written first.
package corrections
