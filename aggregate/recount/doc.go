// Package recount reads the log again and lets the core decide again: Replay
// holds stretches of it against the ledger, Receipts tells the fate of single
// events. It writes nothing, and counting does not know it.
package recount
