// Package ledger reads what the ledger says about itself: which topic it counts,
// the marks of its batches, and whether they add up. Whoever needs proof that
// the books are whole asks here: aggregate while it counts, adtally audit, and
// whoever closes or exports.
//
// # Non-obvious
//
// One statement reads one state of the table, so an audit may run while blocks
// are written; two statements would see different ends.
package ledger
