package statement

import (
	"fmt"
	"io"
)

// Format is the form of a file.
type Format string

// The formats; the first is the default.
const (
	Parquet Format = "parquet"
	Arrow   Format = "arrow"
	CSV     Format = "csv"
)

// Formats lists them.
var Formats = []Format{Parquet, Arrow, CSV}

// Extension is the end of a file's name, without the dot.
func (f Format) Extension() string { return string(f) }

// Pair is a name and a value that a file carries beside its rows.
type Pair struct{ Name, Value string }

// Writer writes the rows of one file. It belongs to one goroutine.
type Writer interface {
	// Write takes rows. It may read the group until the next call returns, so
	// callers fill another one meanwhile.
	Write(g *Group) error
	// Close writes what follows the rows. The underlying writer stays open.
	Close() error
}

// NewWriter returns a Writer of a format. CSV has no place for pairs.
func NewWriter(format Format, w io.Writer, columns []Column, pairs []Pair) (Writer, error) {
	switch format {
	case Parquet:
		return newParquet(w, columns, pairs)
	case Arrow:
		return newArrow(w, columns, pairs), nil
	case CSV:
		return newCSV(w, columns), nil
	default:
		return nil, fmt.Errorf("format %q: only %v are there", format, Formats)
	}
}
