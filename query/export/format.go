package export

import (
	"fmt"
	"io"
	"time"
)

// Formats are the media types of answers; the first is the default.
var Formats = []string{JSON, CSV, ArrowStream, Parquet}

// The media types.
const (
	JSON        = "application/json"
	CSV         = "text/csv"
	ArrowStream = "application/vnd.apache.arrow.stream"
	Parquet     = "application/vnd.apache.parquet"
)

// Extension is the usual end of a file's name in the format.
func Extension(format string) string {
	switch format {
	case CSV:
		return ".csv"
	case ArrowStream:
		return ".arrows"
	case Parquet:
		return ".parquet"
	default:
		return ".json"
	}
}

// ContentType is what the Content-Type header says of a format.
func ContentType(format string) string {
	if format == CSV {
		return "text/csv; charset=utf-8; header=present"
	}
	return format
}

// Shape is what is known before the first row.
type Shape struct {
	// Columns are the columns of every batch.
	Columns []Column
	// Zone is where timestamps are shown, in text formats.
	Zone *time.Location
	// Meta goes in front of an Arrow stream; the other formats take that of Close.
	Meta Meta
}

// Writer writes one answer in one format. It belongs to one goroutine.
type Writer interface {
	// Batch writes rows. It keeps nothing of them.
	Batch(b *Batch) error
	// Close writes what follows the rows; totals has one row. The underlying
	// writer stays open.
	Close(totals *Batch, meta *Meta) error
}

// New returns a Writer for one of Formats.
func New(format string, w io.Writer, shape *Shape) (Writer, error) {
	switch format {
	case JSON:
		return newJSON(w, shape), nil
	case CSV:
		return newCSV(w, shape), nil
	case ArrowStream:
		return &even{next: newArrow(w, shape)}, nil
	case Parquet:
		file, err := newParquet(w, shape)
		if err != nil {
			return nil, err
		}
		return &even{next: file}, nil
	default:
		return nil, fmt.Errorf("format %q: only %v are there", format, Formats)
	}
}
