// Package compact makes cuts: it adds up what the ledger holds beyond the last
// cut, and commits the sum as the next version of the books.
//
// The path of one cut: newest cut → marks beyond it, checked to join → one delta
// in rollup_quarter and rollup_day → sums checked against marks and ledger → the
// cut's row, which is the commit.
//
// What is not obvious:
//
//   - Everything before the commit writes under an id of the attempt that nobody
//     reads. So a crash at any step leaves nothing but a table partition that is
//     dropped a day later, and two compactors at once do no more than double work.
//   - An attempt adds up its piece of the ledger together with the youngest deltas
//     that are no larger than what it has so far, as a binary counter carries. So
//     there are few deltas, each row is rewritten a logarithmic number of times,
//     and a cut is one commit, with nothing to merge beside it.
//   - A cut counts whole batches up to the first gap in a partition. Overlaps and
//     sums that differ stop everything until a person has looked.
package compact
