// Package report turns what a client asks into a Report that is good.
//
// The path of one request: JSON or URL → Request (texts) → New, under the key's
// Grant → Report, or the Problem that says which field is at fault.
//
// The catalogue of dimensions, metrics and granularities is written once, here:
// validation, statements, answers and the schema endpoint read the same lists.
package report
