// Package demo sends traffic that looks like that of a small ad market, so that
// a first start has something to show. It knows adtally from outside only: what
// it sends goes through the HTTP endpoints, as any client's.
//
// The path of one ad: traffic.next → traffic.visit → visit.plan → queue → a
// beacon, a client batch or a server event → sender.
//
// Everything up to visit.plan is a pure function of a random source and a time.
// That is what makes the history repeatable: each hour of it has a random source
// of its own, so sending it again sends the same ids with the same times, which
// adtally recognises as repeats.
package demo
