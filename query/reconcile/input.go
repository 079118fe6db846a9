package reconcile

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adtally/adtally/query/export/statement"
)

// Theirs is one line of the other side: a day, perhaps a campaign, and figures.
type Theirs struct {
	Line     int
	Day      time.Time
	Campaign string
	Currency string
	// Figures are by metric; spend is in nano-units.
	Figures map[string]*big.Int
}

type metric struct {
	name string
	typ  uint8
}

// metrics are the columns of figures, and the event type that each counts.
var metrics = []metric{{"impressions", 1}, {"viewable", 2}, {"clicks", 3}, {"conversions", 4}, {"spend", 0}}

const (
	columnDay, columnCampaign, columnCurrency = "day", "campaign", "currency"
	columnSpend                               = "spend"
)

// Columns lists what a file may have.
func Columns() []string {
	list := []string{columnDay, columnCampaign, columnCurrency}
	for _, m := range metrics {
		list = append(list, m.name)
	}
	return list
}

// Parse reads a CSV with a header. An error names the line, the column and what is
// allowed.
func Parse(text []byte) ([]Theirs, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("line 1: a header is wanted with day and some of %s", strings.Join(Columns()[1:], ", "))
	}
	figures := 0
	for i, name := range head {
		name = strings.ToLower(strings.TrimSpace(name))
		if name == "date" {
			name = columnDay
		}
		if !slices.Contains(Columns(), name) {
			return nil, fmt.Errorf("line 1: column %q is not known; allowed are %s", head[i], strings.Join(Columns(), ", "))
		}
		if slices.Contains(head[:i], name) {
			return nil, fmt.Errorf("line 1: column %q is there twice", name)
		}
		head[i] = name
		if slices.ContainsFunc(metrics, func(m metric) bool { return m.name == name }) {
			figures++
		}
	}
	switch {
	case !slices.Contains(head, columnDay):
		return nil, errors.New("line 1: the column day is missing")
	case figures == 0:
		return nil, errors.New("line 1: no column has figures; allowed are impressions, viewable, clicks, conversions, spend")
	}
	var list []Theirs
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err // it names the line
		}
		line, _ := r.FieldPos(0)
		t := Theirs{Line: line, Figures: map[string]*big.Int{}}
		for i, cell := range cells {
			if err := t.set(head[i], strings.TrimSpace(cell)); err != nil {
				return nil, fmt.Errorf("line %d: %s %q: %w", line, head[i], cell, err)
			}
		}
		list = append(list, t)
	}
	if len(list) == 0 {
		return nil, errors.New("the file has no lines behind its header")
	}
	return list, nil
}

func (t *Theirs) set(column, cell string) (err error) {
	switch column {
	case columnDay:
		if t.Day, err = time.Parse(time.DateOnly, cell); err != nil {
			return errors.New("a date as 2026-11-20 is wanted")
		}
	case columnCampaign:
		if _, err := strconv.ParseUint(cell, 10, 64); err != nil {
			return errors.New("a campaign's id is wanted")
		}
		t.Campaign = cell
	case columnCurrency:
		if cell != "" && (len(cell) != 3 || strings.ToUpper(cell) != cell) {
			return errors.New("three upper-case letters are wanted, such as USD")
		}
		t.Currency = cell
	case columnSpend:
		n, ok := statement.ParseMoney(cell)
		if !ok {
			return errors.New("a plain decimal with at most 9 places is wanted, such as 1234.5")
		}
		t.Figures[column] = n
	default:
		n, ok := new(big.Int).SetString(cell, 10)
		if !ok || n.Sign() < 0 {
			return errors.New("a whole number is wanted, without separators")
		}
		t.Figures[column] = n
	}
	return nil
}
