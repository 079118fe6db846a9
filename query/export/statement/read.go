package statement

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"slices"
	"strconv"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/pqarrow"
)

// Cells gives the cells of one row of a file.
type Cells interface {
	// ID, Count, Text and Money return the cell of a column that was asked for.
	ID(column int) uint64
	Count(column int) int64
	Text(column int) string
	Money(column int) *big.Int
}

// Read reads columns of a file, a row after the other. Cells are valid until
// each returns.
func Read(format Format, path string, columns []Column, each func(row Cells) error) error {
	f, err := os.Open(path) //nolint:gosec // the file that the user named
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	switch format {
	case Parquet:
		return readParquet(f, columns, each)
	case Arrow:
		return readArrow(f, columns, each)
	case CSV:
		return readCSV(f, columns, each)
	default:
		return fmt.Errorf("format %q: only %v are there", format, Formats)
	}
}

func readParquet(f *os.File, columns []Column, each func(Cells) error) error {
	reader, err := file.NewParquetReader(f)
	if err != nil {
		return err
	}
	arrows, err := pqarrow.NewFileReader(reader, pqarrow.ArrowReadProperties{BatchSize: 1 << 16}, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	schema := reader.MetaData().Schema
	places := make([]int, len(columns))
	for i, c := range columns {
		if places[i] = schema.ColumnIndexByName(c.Name); places[i] < 0 {
			return fmt.Errorf("there is no column %s", c.Name)
		}
	}
	records, err := arrows.GetRecordReader(context.Background(), places, nil)
	if err != nil {
		return err
	}
	defer records.Release()
	for records.Next() {
		if err := eachRow(records.Record(), columns, each); err != nil {
			return err
		}
	}
	if err := records.Err(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func readArrow(f *os.File, columns []Column, each func(Cells) error) error {
	records, err := ipc.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return err
	}
	defer records.Release()
	for records.Next() {
		if err := eachRow(records.Record(), columns, each); err != nil {
			return err
		}
	}
	if err := records.Err(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// recordCells are the cells of a record batch.
type recordCells struct {
	columns []arrow.Array
	row     int
}

func eachRow(record arrow.Record, columns []Column, each func(Cells) error) error {
	cells := recordCells{columns: make([]arrow.Array, len(columns))}
	for i, c := range columns {
		at := record.Schema().FieldIndices(c.Name)
		if len(at) != 1 {
			return fmt.Errorf("there is no column %s", c.Name)
		}
		cells.columns[i] = record.Column(at[0])
		if !fits(cells.columns[i], c.Kind) {
			return fmt.Errorf("column %s is of type %s", c.Name, cells.columns[i].DataType())
		}
	}
	for cells.row = range int(record.NumRows()) {
		if err := each(&cells); err != nil {
			return err
		}
	}
	return nil
}

func fits(column arrow.Array, kind Kind) bool {
	ok := false
	switch kind {
	case ID:
		_, ok = column.(*array.Uint64)
	case Count:
		_, ok = column.(*array.Int64)
	case Money:
		_, ok = column.(*array.Decimal128)
	case Text:
		if dict, is := column.(*array.Dictionary); is {
			column = dict.Dictionary()
		}
		_, ok = column.(*array.String)
	default:
	}
	return ok
}

// ID implements Cells. Read has checked the types.
func (r *recordCells) ID(column int) uint64 { return r.columns[column].(*array.Uint64).Value(r.row) }

// Count implements Cells.
func (r *recordCells) Count(column int) int64 { return r.columns[column].(*array.Int64).Value(r.row) }

// Text implements Cells.
func (r *recordCells) Text(column int) string {
	if dict, ok := r.columns[column].(*array.Dictionary); ok {
		return dict.Dictionary().(*array.String).Value(dict.GetValueIndex(r.row))
	}
	return r.columns[column].(*array.String).Value(r.row)
}

// Money implements Cells.
func (r *recordCells) Money(column int) *big.Int {
	return r.columns[column].(*array.Decimal128).Value(r.row).BigInt()
}

// csvCells are the cells of a line.
type csvCells struct {
	places []int
	line   []string
	err    error
}

func readCSV(f *os.File, columns []Column, each func(Cells) error) error {
	lines := csv.NewReader(bufio.NewReaderSize(f, 1<<20))
	lines.ReuseRecord = true
	head, err := lines.Read()
	if err != nil {
		return err
	}
	cells := csvCells{}
	for _, c := range columns {
		at := slices.Index(head, c.Name)
		if at < 0 {
			return fmt.Errorf("there is no column %s", c.Name)
		}
		cells.places = append(cells.places, at)
	}
	for {
		cells.line, err = lines.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = errors.Join(each(&cells), cells.err)
		}
		if err != nil {
			return err
		}
	}
}

func (c *csvCells) fail(column int) {
	c.err = errors.Join(c.err, fmt.Errorf("%q is no number", c.line[c.places[column]]))
}

// ID implements Cells.
func (c *csvCells) ID(column int) uint64 {
	n, err := strconv.ParseUint(c.line[c.places[column]], 10, 64)
	if err != nil {
		c.fail(column)
	}
	return n
}

// Count implements Cells.
func (c *csvCells) Count(column int) int64 {
	n, err := strconv.ParseInt(c.line[c.places[column]], 10, 64)
	if err != nil {
		c.fail(column)
	}
	return n
}

// Text implements Cells.
func (c *csvCells) Text(column int) string { return c.line[c.places[column]] }

// Money implements Cells.
func (c *csvCells) Money(column int) *big.Int {
	n, ok := ParseMoney(c.line[c.places[column]])
	if !ok {
		c.fail(column)
		return new(big.Int)
	}
	return n
}

// ParseMoney reads a decimal with at most nine places into nano-units.
func ParseMoney(text string) (*big.Int, bool) {
	digits, point := make([]byte, 0, len(text)+MoneyPlaces), -1
	for i := range len(text) {
		switch c := text[i]; {
		case c == '-' && i == 0, c >= '0' && c <= '9':
			digits = append(digits, c)
		case c == '.' && point < 0 && i > 0 && i < len(text)-1:
			point = len(digits)
		default:
			return nil, false
		}
	}
	places := 0
	if point >= 0 {
		places = len(digits) - point
	}
	if places > MoneyPlaces || len(digits) == 0 || len(digits) > 60 || string(digits) == "-" {
		return nil, false
	}
	for range MoneyPlaces - places {
		digits = append(digits, '0')
	}
	return new(big.Int).SetString(string(digits), 10)
}
