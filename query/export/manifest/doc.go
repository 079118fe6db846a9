// Package manifest exports closed days as files that prove themselves, and checks
// such files against the ledger.
//
// The path of one export: closes of the day → rows of the ledger up to their cuts
// → DIR/day=D/statement.*, adjustments.* → manifest.json.
//
// What is not obvious:
//
//   - Files are made under another name, fsynced and renamed, and the manifest is
//     the last. Without a manifest there is no export; whatever an interrupted one
//     left is replaced by the next.
//   - What is written is added up on its way and held against the close. So a file
//     is never renamed whose rows are not those that the close counted.
//   - Where a manifest is there already, the new files must be what it says, byte
//     by byte; then they take the place of the old ones, and a damaged file is
//     whole again. Otherwise the export refuses.
//   - Names of files are fixed. Nothing that a client chose becomes part of a path.
package manifest
