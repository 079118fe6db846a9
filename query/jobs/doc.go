// Package jobs runs large reports behind the request that asked for them, and
// keeps their results as files.
//
// The path of one job: Submit → its record on disk → a worker → the result beside
// it, with its hash → Get, until it expires.
//
// What is not obvious:
//
//   - A job is acknowledged when its record is on disk. A restart runs again what
//     was not finished; a result appears under its name only when it is whole.
//   - With an idempotency key the job's id follows from tenant and key, so asking
//     twice cannot make two jobs, whatever ended in between.
//   - Jobs are found by tenant and id together; the job of another tenant is not
//     there.
package jobs
