// Package produce brings decided events to where they are durable, and says when
// they are: what happens to a beacon between its encoding and its answer.
//
// The path of one batch: Batch.Add → Durable.Append → Kafka.Append → a round of
// all requests → franz-go → the broker's acks → Acked. At the deadline, or when
// the partition is behind: → spool.Append → fsync → Spooled, and later
// Durable.Produce, which drains the spool into the topic.
//
// It is the only door to Kafka of ingest, and knows nothing of HTTP. The encoding
// of events and their partitions are of package proto.
//
// Memory: a batch holds its events and its Kafka records. The request and the sink
// each hold it; whoever lets go last frees it.
package produce
