package access

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Account is what is known of an advertiser.
type Account struct {
	// Advertiser is the id.
	Advertiser uint64
	// Name is for people.
	Name string
	// Currency is the ISO 4217 code that the advertiser is billed in, or empty.
	Currency string
	// Timezone is the IANA zone whose days the advertiser reports in.
	Timezone string
}

// defaultAccount stands for an advertiser without an account: nobody needs one
// to be counted.
func defaultAccount(advertiser uint64) Account {
	return Account{Advertiser: advertiser, Name: strconv.FormatUint(advertiser, 10), Timezone: "UTC"}
}

// withDefaults fills what the account leaves open.
func (a Account) withDefaults() Account {
	def := defaultAccount(a.Advertiser)
	if a.Name == "" {
		a.Name = def.Name
	}
	if a.Timezone == "" {
		a.Timezone = def.Timezone
	}
	return a
}

func (a Account) validate() error {
	if a.Advertiser == 0 {
		return errors.New("advertiser 0 cannot have an account")
	}
	if err := validateName(a.Name); err != nil {
		return err
	}
	if a.Currency != "" && !isCurrency(a.Currency) {
		return fmt.Errorf("currency %q: three upper-case letters are wanted, such as USD", a.Currency)
	}
	if _, err := LoadZone(a.Timezone); err != nil {
		return err
	}
	return nil
}

// LoadZone returns an IANA time zone. It refuses what a zone directory holds
// beside those: the machine's own zone, and copies that count leap seconds, in
// which no minute is whole.
func LoadZone(name string) (*time.Location, error) {
	unknown := fmt.Errorf("time zone %.64q is not known: an IANA name is wanted, such as America/New_York", name)
	switch {
	case name == "", name == "Local", name == "localtime", name == "posixrules",
		strings.HasPrefix(name, "right/"), strings.HasPrefix(name, "posix/"):
		return nil, unknown
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, unknown
	}
	return zone, nil
}

func isCurrency(code string) bool {
	return len(code) == 3 && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

const maxNameLen = 200

// validateName takes what a table or a log line can show on one line.
func validateName(name string) error {
	if len(name) > maxNameLen {
		return fmt.Errorf("name of %d bytes: at most %d are allowed", len(name), maxNameLen)
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return errors.New("name: only printable UTF-8 is allowed")
	}
	return nil
}
