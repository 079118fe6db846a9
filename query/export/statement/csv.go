package statement

import (
	"io"
	"strconv"
	"time"

	"github.com/adtally/adtally/query/export"
)

const (
	flushAt       = 64 << 10
	secondsPerDay = 24 * 60 * 60
)

// csvWriter writes RFC 4180 with the rules of reports: exact decimals, and texts
// that no spreadsheet runs.
type csvWriter struct {
	w       io.Writer
	columns []Column
	buf     []byte
	// dict holds the texts of a group as they are written; day the last day.
	dict [][]string
	last []int64
	text []string
}

func newCSV(w io.Writer, columns []Column) *csvWriter {
	c := &csvWriter{
		w: w, columns: columns, buf: make([]byte, 0, flushAt+4096),
		dict: make([][]string, len(columns)), last: make([]int64, len(columns)), text: make([]string, len(columns)),
	}
	for i, column := range columns {
		if i > 0 {
			c.buf = append(c.buf, ',')
		}
		c.buf = append(c.buf, column.Name...)
	}
	c.buf = append(c.buf, "\r\n"...)
	return c
}

// Write implements Writer.
func (c *csvWriter) Write(g *Group) error {
	for i, column := range c.columns {
		c.dict[i] = c.dict[i][:0]
		if column.Kind == Text {
			for _, text := range g.Vectors[i].Dict {
				c.dict[i] = append(c.dict[i], string(export.AppendCSVText(nil, text)))
			}
		}
	}
	for row := range g.Rows {
		for i := range c.columns {
			if i > 0 {
				c.buf = append(c.buf, ',')
			}
			c.cell(i, &g.Vectors[i], row)
		}
		c.buf = append(c.buf, "\r\n"...)
		if len(c.buf) >= flushAt {
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *csvWriter) cell(i int, v *Vector, row int) {
	switch c.columns[i].Kind {
	case ID:
		c.buf = strconv.AppendUint(c.buf, v.IDs[row], 10)
	case Text:
		c.buf = append(c.buf, c.dict[i][v.Codes[row]]...)
	case Money:
		c.buf = export.AppendDecimal(c.buf, v.Wide[row], MoneyPlaces)
	case Day:
		if day := v.Ints[row]; c.text[i] == "" || day != c.last[i] {
			c.last[i], c.text[i] = day, time.Unix(day*secondsPerDay, 0).UTC().Format(time.DateOnly)
		}
		c.buf = append(c.buf, c.text[i]...)
	case Moment:
		c.buf = time.UnixMicro(v.Ints[row]).UTC().AppendFormat(c.buf, time.RFC3339Nano)
	default:
		c.buf = strconv.AppendInt(c.buf, v.Ints[row], 10)
	}
}

func (c *csvWriter) flush() error {
	_, err := c.w.Write(c.buf)
	c.buf = c.buf[:0]
	return err
}

// Close implements Writer.
func (c *csvWriter) Close() error { return c.flush() }
