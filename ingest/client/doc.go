// Package client sends events from servers in Go to adtally.
//
// The path of one event: Send encodes it and puts it into a bounded queue; Run
// takes batches from the queue and posts them to /v1/events until the server has
// answered. What is sent again is the same bytes with the same ids, so it counts
// once however often it arrives.
//
// An event is safe when the server has answered, not when Send has returned:
// events that wait here are lost with the process. Run drains them when its
// context ends.
package client
