// Package statement writes the rows of a close as files: Parquet, an Arrow
// stream or CSV.
//
// The path of one row: a block of ClickHouse → Group, a fixed number of rows →
// Writer → file. A Writer holds two groups, however many rows come.
//
// What is not obvious:
//
//   - The same rows are the same bytes. A group ends after a fixed number of
//     rows, wherever ClickHouse's blocks end; a dictionary is in the order in
//     which its values come; a file names no time and no machine.
//   - ClickHouse's low-cardinality codes are used again: of a text only the codes
//     are touched, and each block's dictionary is looked up once per group.
//   - Pages of Parquet are encoded here, columns side by side on all cores; the
//     footer is arrow's. Its own column writers hash every value again, make a
//     compressor per page, and list encodings in the order of a map.
package statement
