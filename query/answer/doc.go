// Package answer runs the statements of a plan and turns their columns into those
// of the answer.
//
// The path of one answer: Plan → statement → blocks of ClickHouse's columns → batches
// (rates divided, reach looked up, finality by row) → whoever takes them; behind the
// last row the totals, and the Meta that says how final all of it is.
package answer
