// Package aggregate counts the topic into the ledger.
// The path of one event: poll → partition queue → window.State.Fold → span →
// one block with the other partitions' spans and marks → ledger.
//
// # Non-obvious
//
// The position is in the rows. Each partition in a block writes a mark row with
// the offsets that the block covers, so counts and position are one atomic
// write. Kafka's committed offset is written for lag graphs and never read.
//
// A tried block is frozen. While its outcome is unknown it is neither grown nor
// rebuilt: the query is killed by its id and the marks are read. Marks with our
// batch id mean that it landed; marks with another id mean that somebody else
// owns the partition, and we stop; no marks mean that the same bytes go again.
//
// A lost partition is dropped, never flushed. Dropping waits for the attempt in
// flight, so that no insert of ours starts after the new owner may have read
// its position.
//
// Verdicts need the log of the last horizon. A new owner reads it again from
// before the position and only remembers, then counts from the position on.
package aggregate
