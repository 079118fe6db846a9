// Package query answers reports over the tables that aggregate writes.
//
// The path of one report: bearer key → Grant → query/report (Request, then Report:
// validated, with its tenant) → limits → query/plan (the version of the books, the
// tables, SQL and parameters) → query/answer (blocks of columns, totals) →
// query/export (JSON, CSV, Arrow, Parquet). Here is the HTTP around it.
//
// What is not obvious:
//
//   - A statement needs a Plan, a Plan a Report, a Report an access.Tenant, and only
//     a Grant makes one: SQL without the tenant's predicate cannot be built.
//     Identifiers in SQL come from Go constants, values travel as server-side
//     parameters; no text of a request is ever part of a statement.
//   - Time zones are Go's alone. The offsets that hold within the range of a
//     report go to ClickHouse as parameters, and the answer's labels are made
//     from the same rules, so the two cannot disagree about a day.
//   - A cell is in the answer if any event of any type was received for it, so
//     the rows do not depend on which metrics were asked.
//   - Rows and totals come from one statement, and complete_through is read
//     before it: it never promises more than the rows hold.
//   - Money adds up in 128-bit integers of nano-units; rates are quotients of
//     integers, rounded half away from zero at six places. No float is involved.
package query
