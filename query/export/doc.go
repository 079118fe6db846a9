// Package export writes answers: JSON, CSV, an Arrow stream or Parquet, column by
// column from the vectors that the answer is read into.
//
// The path of one answer: New → Batch, for each block of rows → Close, with the
// totals. A Writer holds no rows, so an answer may be larger than memory.
//
// What is not obvious:
//
//   - A text is looked up in its batch's dictionary and was escaped once there; a
//     date or a timestamp is formatted once per run of equal values. The cost of a
//     cell is a copy.
//   - Arrow and Parquet: ids are uint64, counts int64, money and rates decimal128
//     with 9 and 6 places, timestamps microseconds of UTC, dates date32, texts
//     utf8 in dictionaries. pandas, polars and DuckDB read these as they are.
//   - Arrow is behind this door only.
package export
