// Package proto is the contract between the stages: the event as it lies in
// the topic, the token as it is signed, and the rules both sides must share
// about them: names, invalid-traffic flags, money, ids and the partition.
//
// It imports nothing of ours. The .proto files are in adtally/v1; generated
// code is committed and checked by make check.
package proto
