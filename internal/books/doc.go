// Package books reads the versions of the books: cuts, the deltas that add up to
// them, and what the ledger holds beyond them. The compactor writes cuts;
// reports, closes and exports read them through here, so that all mean the same
// rows by the same name.
//
// What is not obvious:
//
//   - A Vector says of every partition up to which offset it counts. A ledger row
//     carries the offsets of its batch, and batches join without gaps; so two
//     Vectors name exactly the batches between them (Slice), however late they
//     are read and whatever arrived since.
//   - A Cut is a Vector with a number. Its cover is a list of deltas, each the sum
//     of the ledger between two cuts, that together add up to everything up to
//     the cut. The cover of the newest cut also serves older cuts: their answer
//     is the deltas that end by then, and the rest from the ledger.
//   - A View is a cut and the tiles that followed it when somebody looked. Its
//     name counts those tiles, and tiles are never changed: the name means the
//     same rows for as long as the ledger is kept.
//   - A cut's row is its commit. There is no compare-and-swap: two rows for one
//     cut are told apart by who was first, and the row of the next cut names the
//     one it followed, which pins the past.
package books
