package network

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/gaissmai/bart"
)

// Prefixes is a set of networks. It never changes after it was made, so any
// number of goroutines may use one. A nil set is empty.
type Prefixes struct{ table *bart.Lite }

// ParsePrefixes reads networks, as 192.0.2.0/24, and single addresses.
func ParsePrefixes(texts []string) (*Prefixes, error) {
	p := &Prefixes{table: new(bart.Lite)}
	for _, text := range texts {
		if err := p.add(text); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *Prefixes) add(text string) error {
	prefix, err := parsePrefix(text)
	if err != nil {
		return fmt.Errorf("parse network %.64q: %w", text, err)
	}
	p.table.Insert(prefix)
	return nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" || addr.Is4In6() {
			return netip.Prefix{}, errors.New("it is no address")
		}
		return addr.Prefix(addr.BitLen())
	}
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil || prefix.Addr().Is4In6():
		return netip.Prefix{}, errors.New("it is no network")
	case prefix.Bits() == 0:
		return netip.Prefix{}, errors.New("it holds every address")
	case prefix != prefix.Masked():
		return netip.Prefix{}, fmt.Errorf("its address has bits beyond the network; write %s", prefix.Masked())
	}
	return prefix, nil
}

// Contains reports whether addr is in one of the networks.
func (p *Prefixes) Contains(addr netip.Addr) bool {
	return p != nil && p.table.Contains(addr.Unmap())
}

// Len returns the number of networks.
func (p *Prefixes) Len() int {
	if p == nil {
		return 0
	}
	return p.table.Size()
}

// Ranges is a list of networks with a name and a version, such as those of data
// centres. It never changes after it was made.
type Ranges struct {
	Prefixes
	name, version string
}

// LoadRanges reads a list of networks: one a line, and # begins a comment. The
// version of the list is that of a comment line "# version: …", or else the
// beginning of the file's SHA-256. A line that is no network is an error: a list
// that is read in part would call data centres clean.
func LoadRanges(path string) (*Ranges, error) {
	text, err := os.ReadFile(path) // #nosec G304 -- the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read ranges: %w", err)
	}
	r, err := parseRanges(text)
	if err != nil {
		return nil, fmt.Errorf("read ranges %s: %w", path, err)
	}
	r.name = filepath.Base(path)
	if r.version == "" {
		sum := sha256.Sum256(text)
		r.version = hex.EncodeToString(sum[:6])
	}
	return r, nil
}

func parseRanges(text []byte) (*Ranges, error) {
	r := &Ranges{Prefixes: Prefixes{table: new(bart.Lite)}}
	lines := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	n := 0
	for lines.Scan() {
		n++
		line, comment, _ := strings.Cut(lines.Text(), "#")
		if line = strings.TrimSpace(line); line != "" {
			if err := r.add(line); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			continue
		}
		if version, ok := strings.CutPrefix(strings.TrimSpace(comment), "version:"); ok && r.version == "" {
			r.version = strings.TrimSpace(version)
		}
		if len(r.version) > maxVersion {
			return nil, fmt.Errorf("line %d: the version has more than %d bytes", n, maxVersion)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n+1, err)
	}
	return r, nil
}

// maxVersion bounds what is written into each event that a list votes on.
const maxVersion = 64

// Name returns the name of the list.
func (r *Ranges) Name() string { return r.name }

// Version returns the version of the list.
func (r *Ranges) Version() string { return r.version }
