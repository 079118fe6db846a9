package manifest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/adtally/adtally/query/closing"
	"github.com/adtally/adtally/query/export/statement"
)

// Name is the name of the manifest's file.
const Name = "manifest.json"

// Manifest says what an export holds. It depends on nothing but the closes and on
// what was asked.
type Manifest struct {
	SchemaVersion uint32           `json:"schema_version"`
	Day           string           `json:"day"`
	Format        statement.Format `json:"format"`
	// Timezone is the one that was asked for, empty for all that had closed the day.
	Timezone string `json:"timezone,omitempty"`
	// Advertiser is the one that was asked for, 0 for all.
	Advertiser uint64 `json:"advertiser,string,omitempty"`
	// Closes are what the files hold, one of each time zone.
	Closes []Close `json:"closes"`
	Files  []File  `json:"files"`
}

// Close names a close, and what makes it one.
type Close struct {
	Sequence        uint64             `json:"sequence"`
	Timezone        string             `json:"timezone"`
	Day             string             `json:"day"`
	Starts          time.Time          `json:"starts"`
	Ends            time.Time          `json:"ends"`
	Cut             uint64             `json:"cut"`
	PreviousCut     uint64             `json:"previous_cut"`
	CompleteThrough time.Time          `json:"complete_through"`
	Vector          []closing.Position `json:"vector"`
	Audit           Audit              `json:"audit"`
	CodeVersion     uint32             `json:"code_version"`
	Previous        string             `json:"previous_hash"`
	Hash            string             `json:"hash"`
}

// Audit is what the tile audit saw between the cuts.
type Audit struct {
	Tiles    uint64 `json:"tiles"`
	Gaps     uint64 `json:"gaps"`
	Overlaps uint64 `json:"overlaps"`
}

// File is one file of the export.
type File struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Rows   uint64 `json:"rows"`
	// Totals are the sums by advertiser and currency.
	Totals []Total `json:"totals"`
}

// Total is the sum of the rows of one advertiser and currency.
type Total struct {
	Advertiser uint64 `json:"advertiser,string"`
	Currency   string `json:"currency"`
	Rows       uint64 `json:"rows"`
	Gross      int64  `json:"gross"`
	Net        int64  `json:"net"`
	Duplicate  int64  `json:"duplicate"`
	Invalid    int64  `json:"invalid"`
	Orphan     int64  `json:"orphan"`
	// Spend is exact, in units of the currency.
	Spend string `json:"spend"`
}

// ref is what the manifest says of a close.
func ref(c *closing.Close) Close {
	return Close{
		Sequence: c.Sequence, Timezone: c.Timezone, Day: c.Day, Starts: c.Starts, Ends: c.Ends,
		Cut: c.Cut, PreviousCut: c.PreviousCut, CompleteThrough: c.CompleteThrough, Vector: c.Vector,
		Audit: Audit{Tiles: c.Tiles}, CodeVersion: c.CodeVersion, Previous: c.Previous, Hash: c.Hash,
	}
}

// Encode writes the manifest as its file has it.
func (m *Manifest) Encode() []byte {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		panic("BUG: a manifest is always JSON: " + err.Error())
	}
	return append(text, '\n')
}

// Read reads the manifest of a folder.
func Read(dir string) (*Manifest, error) {
	text, err := os.ReadFile(filepath.Join(dir, Name)) //nolint:gosec // the folder that the user named
	if err != nil {
		return nil, err
	}
	m := &Manifest{}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, Name), err)
	}
	return m, nil
}

// file returns the entry of a file, or nil.
func (m *Manifest) file(name string) *File {
	for i := range m.Files {
		if m.Files[i].Name == name {
			return &m.Files[i]
		}
	}
	return nil
}

// sums add up rows by advertiser and currency.
type sums map[key]*sum

type key struct {
	advertiser uint64
	currency   string
}

type sum struct {
	rows     uint64
	measures [measures]int64
	spend    big.Int
	// held is what is not in spend yet.
	held statement.Int128
}

// measures is how many counts a row has.
const measures = 5

func (s sums) at(advertiser uint64, currency string) *sum {
	k := key{advertiser, currency}
	if s[k] == nil {
		s[k] = &sum{}
	}
	return s[k]
}

// addPart adds what a close says; advertiser 0 means all.
func (s sums) addPart(p *closing.Part, advertiser uint64) error {
	for _, t := range p.Totals {
		if advertiser != 0 && t.Advertiser != advertiser {
			continue
		}
		at := s.at(t.Advertiser, t.Currency)
		at.rows += t.Rows
		for i, n := range []int64{t.Gross, t.Net, t.Duplicate, t.Invalid, t.Orphan} {
			at.measures[i] += n
		}
		var spend big.Int
		if _, ok := spend.SetString(t.SpendNanos, 10); !ok {
			return fmt.Errorf("spend %q of advertiser %d is no number", t.SpendNanos, t.Advertiser)
		}
		at.spend.Add(&at.spend, &spend)
	}
	return nil
}

// list returns the sums in order.
func (s sums) list() (totals []Total, rows uint64) {
	totals = []Total{}
	for k, at := range s {
		at.settle()
		m := at.measures
		totals = append(totals, Total{
			Advertiser: k.advertiser, Currency: k.currency, Rows: at.rows,
			Gross: m[0], Net: m[1], Duplicate: m[2], Invalid: m[3], Orphan: m[4], Spend: closing.Decimal(at.spend.String()),
		})
		rows += at.rows
	}
	slices.SortFunc(totals, func(a, b Total) int {
		return cmp.Or(cmp.Compare(a.Advertiser, b.Advertiser), cmp.Compare(a.Currency, b.Currency))
	})
	return totals, rows
}

// differ names the first difference between two lists of totals.
func differ(got, want []Total, gotName, wantName string) error {
	for i := 0; i < len(got) || i < len(want); i++ {
		switch {
		case i >= len(got) || i < len(want) && less(&want[i], &got[i]):
			return fmt.Errorf("%s has no rows of advertiser %d in %q; %s has %d", gotName, want[i].Advertiser, want[i].Currency, wantName, want[i].Rows)
		case i >= len(want) || less(&got[i], &want[i]):
			return fmt.Errorf("%s has %d rows of advertiser %d in %q; %s has none", gotName, got[i].Rows, got[i].Advertiser, got[i].Currency, wantName)
		case got[i].Rows != want[i].Rows:
			return fmt.Errorf("%s has %d rows of advertiser %d in %q; %s has %d", gotName, got[i].Rows, got[i].Advertiser, got[i].Currency, wantName, want[i].Rows)
		case got[i] != want[i]:
			return fmt.Errorf("the rows of advertiser %d in %q add up to %s in %s and to %s in %s", got[i].Advertiser, got[i].Currency,
				got[i].figures(), gotName, want[i].figures(), wantName)
		}
	}
	return nil
}

func less(a, b *Total) bool {
	return cmp.Or(cmp.Compare(a.Advertiser, b.Advertiser), cmp.Compare(a.Currency, b.Currency)) < 0
}

func (t *Total) figures() string {
	return fmt.Sprintf("gross %d, net %d, duplicate %d, invalid %d, orphan %d, spend %s", t.Gross, t.Net, t.Duplicate, t.Invalid, t.Orphan, t.Spend)
}

func jsonOf(c Close) string {
	text, err := json.Marshal(c)
	if err != nil {
		panic("BUG: a close is always JSON: " + err.Error())
	}
	return string(text)
}
