package agent

import (
	"crypto/sha256"
	_ "embed" // the list
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// listVersion is the release that data/crawler-user-agents.json comes from.
const listVersion = "1.67.0"

//go:embed data/crawler-user-agents.json
var embeddedList []byte

// exceptions are patterns of the embedded list that are not applied, because
// people send them too.
var exceptions = []string{
	"MetaIAB Facebook", // IAB is the in-app browser of the Facebook app
}

// List is a list of crawlers. It never changes after it was made, so any number
// of goroutines may use one.
type List struct {
	name, version string
	matcher       *matcher
	size          int
}

// EmbeddedList returns the list that comes with this package.
func EmbeddedList() (*List, error) {
	patterns, err := readPatterns(embeddedList)
	if err != nil {
		return nil, fmt.Errorf("read embedded crawler list: %w", err)
	}
	patterns = slices.DeleteFunc(patterns, func(p string) bool { return slices.Contains(exceptions, p) })
	return newList("crawler-user-agents", listVersion, patterns)
}

// LoadList reads a crawler list from a JSON file: an array of objects that have
// a regular expression as "pattern", as crawler-user-agents.json has. The list
// is named after the file; its version is the beginning of the file's SHA-256.
func LoadList(path string) (*List, error) {
	text, err := os.ReadFile(path) // #nosec G304 -- the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read crawler list: %w", err)
	}
	patterns, err := readPatterns(text)
	if err != nil {
		return nil, fmt.Errorf("read crawler list %s: %w", path, err)
	}
	sum := sha256.Sum256(text)
	list, err := newList(filepath.Base(path), hex.EncodeToString(sum[:6]), patterns)
	if err != nil {
		return nil, fmt.Errorf("read crawler list %s: %w", path, err)
	}
	return list, nil
}

func readPatterns(text []byte) ([]string, error) {
	var entries []struct {
		Pattern string `json:"pattern"`
	}
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, errors.New("it has no entries")
	}
	patterns := make([]string, len(entries))
	for i, e := range entries {
		if e.Pattern == "" {
			return nil, fmt.Errorf("entry %d has no pattern", i+1)
		}
		patterns[i] = e.Pattern
	}
	return patterns, nil
}

func newList(name, version string, patterns []string) (*List, error) {
	m, err := newMatcher(patterns)
	if err != nil {
		return nil, err
	}
	return &List{name: name, version: version, matcher: m, size: len(patterns)}, nil
}

// Name returns the name of the list.
func (l *List) Name() string { return l.name }

// Version returns the version of the list.
func (l *List) Version() string { return l.version }

// Len returns the number of patterns.
func (l *List) Len() int { return l.size }

// Match reports whether the list names an agent. It does not keep ua.
func (l *List) Match(ua []byte) bool { return l.matcher.match(ua) }
