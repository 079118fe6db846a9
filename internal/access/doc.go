// Package access says who may ask for what: API keys with their scopes and
// advertisers, and the accounts of advertisers.
//
// The path of one request: bearer text → Directory.Lookup → Grant → Allows,
// Tenant → Account. The Directory answers from memory and follows the tables
// api_keys and accounts; Store is the only writer of those tables.
//
// Two things are not obvious:
//
//   - A Tenant can only come from Grant.Tenant, so code that needs one cannot be
//     reached with an advertiser that a request merely names.
//   - Rows of a ReplacingMergeTree are replaced by their version. A version is
//     the clock's nanoseconds or one more than the version it replaces, whichever
//     is greater, so that a revocation from a machine whose clock is behind still
//     wins.
package access
