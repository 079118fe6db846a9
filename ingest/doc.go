// Package ingest takes beacons over HTTP and writes them to the Kafka topic.
//
// The path of one beacon: serve → route → token.VerifyInto → fill the event →
// encode into the batch → Sink.Append → Kafka acks every record → 200 or 302.
//
// A 2xx (or the 302 of a click) promises that every accepted event is in the
// topic with acks=all. A request that is not acknowledged in AckTimeout is
// answered 503, while its records stay with the producer: it may still be
// counted, once. A click redirects in any case; what could not be promised is
// counted as lost.
//
// Memory: one pooled scratch per request holds the event, its encoding and the
// Kafka records. The handler and the sink each hold it; whoever lets go last
// returns it. Nothing of a fasthttp.RequestCtx outlives its handler.
package ingest
