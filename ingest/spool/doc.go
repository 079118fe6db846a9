// Package spool keeps events on the local disk while Kafka does not answer.
//
// The path of one event: Append → group → commit frame → fdatasync → nil;
// later: drain → Drain.Produce acks → cursor → the segment is deleted.
//
// Append returns nil only when the events are on disk. A drained event may be
// in Kafka already, and a crash between Kafka's ack and the cursor drains
// again: duplicates are normal here, and removed downstream. What the spool
// promises is at least once.
//
// # Format
//
// A segment is a file of a fixed, preallocated size. It begins with a header of
// 64 bytes: magic, format version, sequence number, salt, and where the segment
// before it ended. Groups follow: one data frame per event and one commit
// frame. One group is one write and one fsync, so at most the last group of the
// last segment can be torn by a crash, and a whole group behind a broken place
// proves that the place is damage. Every frame has a head of 24 bytes with its
// own CRC32C, so no length is believed unchecked; the CRC32C of the commit frame
// is over the whole group. Both CRCs begin with the salt, which is random for
// each start of the process: bytes that a client sends in an event cannot look
// like a frame.
//
// # What is not obvious
//
// The header of a segment says where its predecessor ended, so that damage at
// the end of an older segment is not taken for the unused rest of it, and the
// remains of a write that failed are not taken for damage.
//
// After an error of a write or an fsync the file is never written again: a
// second fsync may succeed although the pages are gone. What was acknowledged
// from it stays readable; what was not goes to a new segment.
//
// A damaged segment is drained as far as whole groups can be found in it,
// before and behind the damage. Then it is kept as *.damaged for a human.
package spool
