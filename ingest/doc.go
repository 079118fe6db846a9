// Package ingest takes beacons over HTTP and has them brought to the Kafka topic.
//
// The path of one beacon: serve → route → token.VerifyInto → fill the event →
// consent, flags, device and place from the request → encode into the batch →
// the tenant's limit → Sink.Append (package produce) → 200 or 302.
//
// A 2xx (or the 302 of a click) promises that every accepted event is in the
// topic with acks=all. A request that is not acknowledged in AckTimeout is
// answered 503, while its records stay with the producer: it may still be
// counted, once. A click redirects in any case; what could not be promised is
// counted as lost.
//
// What is flagged counts all the same: a flag takes an event out of net figures,
// not out of the topic. What cannot be counted goes, with its reason, to Rejects:
// all that came with an API key, a bounded rate of the rest, and nothing that
// names a person. POST /doctor reads beacons and batches
// by the same code and says what it finds.
//
// No address, agent or user id leaves the handler: an event holds the names and
// flags that were derived from them, and of a user a keyed hash if the signals of
// consent allow one.
//
// Memory: one pooled scratch per request holds the event and its batch. The
// handler and the sink each hold the batch; whoever lets go last returns both.
// Nothing of a fasthttp.RequestCtx outlives its handler.
package ingest
