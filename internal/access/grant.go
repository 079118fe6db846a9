package access

import (
	"fmt"
	"slices"
	"strings"
)

// Scope is a set of things that a key may do.
type Scope uint8

// The scopes. None of them implies another.
const (
	// ScopeIngest allows sending events.
	ScopeIngest Scope = 1 << iota
	// ScopeReport allows reading reports.
	ScopeReport
	// ScopeFinance allows closing days and reading exports.
	ScopeFinance
	// ScopeAdmin allows changing keys and accounts.
	ScopeAdmin
)

// AllScopes is every scope.
const AllScopes = ScopeIngest | ScopeReport | ScopeFinance | ScopeAdmin

var scopeNames = []struct {
	scope Scope
	name  string
}{
	{ScopeIngest, "ingest"},
	{ScopeReport, "report"},
	{ScopeFinance, "finance"},
	{ScopeAdmin, "admin"},
}

// Names lists the scopes of the set in a fixed order.
func (s Scope) Names() []string {
	names := make([]string, 0, len(scopeNames))
	for _, known := range scopeNames {
		if s&known.scope != 0 {
			names = append(names, known.name)
		}
	}
	return names
}

// String lists the scopes of the set, separated by commas.
func (s Scope) String() string { return strings.Join(s.Names(), ",") }

// ParseScopes returns the set of the named scopes.
func ParseScopes(names []string) (Scope, error) {
	var set Scope
	for _, name := range names {
		scope := scopeNamed(name)
		if scope == 0 {
			return 0, fmt.Errorf("scope %q: only %s are known", name, strings.Join(AllScopes.Names(), ", "))
		}
		set |= scope
	}
	return set, nil
}

func scopeNamed(name string) Scope {
	for _, known := range scopeNames {
		if known.name == name {
			return known.scope
		}
	}
	return 0
}

// Grant is what a key allows. Changing a key does not change grants that were
// given out; they share Advertisers, which nobody changes.
type Grant struct {
	// KeyID names the key; it is not secret.
	KeyID string
	// Name is the name that people gave the key.
	Name string
	// Scopes is what the key may do.
	Scopes Scope
	// All says that the key covers every advertiser, also future ones.
	All bool
	// Advertisers are the advertisers that the key covers otherwise, ascending.
	Advertisers []uint64
}

// Allows reports whether the key has every scope of the set.
func (g Grant) Allows(scopes Scope) bool { return g.Scopes&scopes == scopes }

// Covers reports whether the key may act for the advertiser. Nobody may act for
// advertiser 0: the ledger's mark rows carry it.
func (g Grant) Covers(advertiser uint64) bool {
	if advertiser == 0 {
		return false
	}
	if g.All {
		return true
	}
	_, found := slices.BinarySearch(g.Advertisers, advertiser)
	return found
}

// Only returns the advertiser of a key that covers exactly one.
func (g Grant) Only() (advertiser uint64, ok bool) {
	if g.All || len(g.Advertisers) != 1 {
		return 0, false
	}
	return g.Advertisers[0], true
}

// Tenant returns the proof that the key covers the advertiser.
func (g Grant) Tenant(advertiser uint64) (Tenant, bool) {
	if !g.Covers(advertiser) {
		return Tenant{}, false
	}
	return Tenant{advertiser: advertiser}, true
}

// Tenant is an advertiser that a key was seen to cover. Only Grant.Tenant makes
// one; the zero Tenant is advertiser 0, whose data nobody reads.
type Tenant struct{ advertiser uint64 }

// Advertiser returns the advertiser's id.
func (t Tenant) Advertiser() uint64 { return t.advertiser }
