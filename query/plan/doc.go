// Package plan decides what is read for a report.
//
// The path of one plan: Report and View (a version of the books) → sources (days,
// quarters of an hour, the ledger's minutes; each event is in one of them) → Statement
// (SQL made of constants, and parameters). It reads nothing itself.
package plan
