package corrections

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adtally/adtally/internal/clickhouse"
	"github.com/adtally/adtally/proto"
)

// Verdict is one line of a file: what the events of some cells turned out to be,
// or an amount to add to one cell.
type Verdict struct {
	Line       int
	Advertiser uint64
	// From and To bound the event time.
	From, To time.Time
	// Type is the event type, 0 for all.
	Type uint8
	// Where are the dimensions that cells must have.
	Where map[string]string
	// Events is how many net events turn invalid, the earliest first; 0 means all.
	Events int64
	// Net and SpendNanos are added to one cell; Adjust says that they are meant.
	Adjust          bool
	Net, SpendNanos int64
}

// The fields of a line beside the dimensions.
const (
	fieldStart, fieldEnd, fieldDay, fieldTime = "start", "end", "day", "time"
	fieldType, fieldEvents                    = "event_type", "events"
	fieldNet, fieldSpend                      = "net", "spend"
)

// Fields lists what a line may have.
func Fields() []string {
	list := []string{fieldDay, fieldStart, fieldEnd, fieldTime, fieldType, fieldEvents, fieldNet, fieldSpend}
	for _, d := range clickhouse.Dimensions {
		list = append(list, d.Name)
	}
	return list
}

// ParseVerdicts reads a file: JSON objects, one a line, or CSV with a header. An
// error names the line and the field.
func ParseVerdicts(text []byte) ([]Verdict, error) {
	lines, err := readLines(text)
	if err != nil {
		return nil, err
	}
	var list []Verdict
	for _, line := range lines {
		v, err := parseVerdict(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line.number, err)
		}
		list = append(list, v)
	}
	if len(list) == 0 {
		return nil, errors.New("the file has no lines")
	}
	return list, nil
}

type line struct {
	number int
	fields map[string]string
}

func readLines(text []byte) (list []line, err error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '{' {
		return readJSON(text)
	}
	r := csv.NewReader(bytes.NewReader(text))
	head, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for i, name := range head {
		if head[i] = strings.TrimSpace(name); !slices.Contains(Fields(), head[i]) {
			return nil, fmt.Errorf("line 1: column %q is not known; allowed are %s", name, strings.Join(Fields(), ", "))
		}
	}
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err // it names the line
		}
		number, _ := r.FieldPos(0)
		l := line{number, map[string]string{}}
		for i, cell := range cells {
			if cell = strings.TrimSpace(cell); cell != "" {
				l.fields[head[i]] = cell
			}
		}
		list = append(list, l)
	}
}

func readJSON(text []byte) (list []line, err error) {
	scan := bufio.NewScanner(bytes.NewReader(text))
	scan.Buffer(nil, 1<<20)
	for number := 1; scan.Scan(); number++ {
		if len(bytes.TrimSpace(scan.Bytes())) == 0 {
			continue
		}
		var values map[string]json.RawMessage
		if err := json.Unmarshal(scan.Bytes(), &values); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		l := line{number, map[string]string{}}
		for name, raw := range values {
			var value any
			dec := json.NewDecoder(bytes.NewReader(raw))
			dec.UseNumber()
			if err := dec.Decode(&value); err != nil {
				return nil, fmt.Errorf("line %d: %s: %w", number, name, err)
			}
			switch value := value.(type) {
			case string:
				l.fields[name] = value
			case json.Number:
				l.fields[name] = value.String()
			default:
				return nil, fmt.Errorf("line %d: %s: a text or a number is wanted", number, name)
			}
		}
		list = append(list, l)
	}
	return list, scan.Err()
}

func parseVerdict(l line) (Verdict, error) {
	v := Verdict{Line: l.number, Where: map[string]string{}}
	for name, text := range l.fields {
		if !slices.Contains(Fields(), name) {
			return v, fmt.Errorf("field %q is not known; allowed are %s", name, strings.Join(Fields(), ", "))
		}
		if err := v.set(name, text); err != nil {
			return v, fmt.Errorf("%s %q: %w", name, text, err)
		}
	}
	switch {
	case v.Advertiser == 0:
		return v, errors.New("advertiser is missing")
	case v.From.IsZero() || v.To.IsZero() || !v.From.Before(v.To):
		return v, errors.New("a day is missing, or start and end with start before end, or for an amount its time")
	case v.Adjust && (v.To.Sub(v.From) != time.Minute || v.Type == 0 || v.Where["campaign"] == ""):
		return v, errors.New("an amount (net, spend) needs time, event_type and campaign")
	case v.Adjust && v.Events != 0:
		return v, errors.New("events and net cannot both be there")
	case v.Adjust && v.SpendNanos != 0 && v.Where["currency"] == "":
		return v, errors.New("spend needs a currency")
	}
	return v, nil
}

func (v *Verdict) set(name, text string) (err error) {
	switch name {
	case fieldDay:
		if v.From, err = time.Parse(time.DateOnly, text); err != nil {
			return errors.New("a date in UTC as 2026-11-20 is wanted")
		}
		v.To = v.From.AddDate(0, 0, 1)
	case fieldStart:
		v.From, err = parseMinute(text)
	case fieldEnd:
		v.To, err = parseMinute(text)
	case fieldTime:
		v.From, err = parseMinute(text)
		v.To = v.From.Add(time.Minute)
	case fieldType:
		v.Type, err = parseType(text)
	case fieldEvents:
		if v.Events, err = strconv.ParseInt(text, 10, 64); err != nil || v.Events < 1 {
			return errors.New("a whole number from 1 is wanted; without it all events are meant")
		}
	case fieldNet:
		v.Adjust = true
		if v.Net, err = strconv.ParseInt(text, 10, 64); err != nil {
			return errors.New("a whole number is wanted")
		}
	case fieldSpend:
		v.Adjust = true
		v.SpendNanos, err = parseSpend(text)
	case "advertiser":
		if v.Advertiser, err = strconv.ParseUint(text, 10, 64); err != nil || v.Advertiser == 0 {
			return errors.New("an id from 1 is wanted")
		}
	default:
		v.Where[name] = text
		if i := slices.IndexFunc(clickhouse.Dimensions, func(d clickhouse.Dimension) bool { return d.Name == name }); clickhouse.Dimensions[i].ID {
			if _, err := strconv.ParseUint(text, 10, 64); err != nil {
				return errors.New("an id is wanted")
			}
		}
	}
	return err
}

func parseMinute(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Second() != 0 || t.Nanosecond() != 0 {
		return time.Time{}, errors.New("a timestamp with its offset, on a whole minute, is wanted: 2026-11-20T10:00:00Z")
	}
	return t.UTC(), nil
}

func parseType(text string) (uint8, error) {
	names := []string{}
	for _, t := range proto.EventTypes() {
		if t.Name() == text {
			return uint8(t), nil
		}
		names = append(names, t.Name())
	}
	return 0, fmt.Errorf("allowed are %s", strings.Join(names, ", "))
}

// parseSpend reads a decimal with at most nine places.
func parseSpend(text string) (int64, error) {
	wrong := errors.New("a decimal with at most 9 places is wanted, such as -1.25")
	if strings.Trim(text, "-0123456789.") != "" {
		return 0, wrong
	}
	n, ok := new(big.Rat).SetString(text)
	if !ok {
		return 0, wrong
	}
	n.Mul(n, big.NewRat(1_000_000_000, 1))
	if !n.IsInt() || !n.Num().IsInt64() {
		return 0, wrong
	}
	return n.Num().Int64(), nil
}
