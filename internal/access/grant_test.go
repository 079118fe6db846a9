package access

import (
	"strings"
	"testing"
)

func TestGrant(t *testing.T) {
	g := Grant{Scopes: ScopeReport | ScopeFinance, Advertisers: []uint64{3, 7, 9}}
	if !g.Allows(ScopeReport) || !g.Allows(ScopeReport|ScopeFinance) || g.Allows(ScopeIngest) || g.Allows(ScopeReport|ScopeAdmin) {
		t.Error("a key allows its scopes and no other")
	}
	for advertiser, want := range map[uint64]bool{0: false, 3: true, 4: false, 7: true, 9: true, 10: false} {
		if g.Covers(advertiser) != want {
			t.Errorf("covers %d: %v", advertiser, !want)
		}
		tenant, ok := g.Tenant(advertiser)
		if ok != want || want && tenant.Advertiser() != advertiser || !want && tenant != (Tenant{}) {
			t.Errorf("tenant %d: %v %v", advertiser, tenant, ok)
		}
	}
	all := Grant{All: true}
	if !all.Covers(1<<64-1) || all.Covers(0) {
		t.Error("a key over all covers every advertiser but 0")
	}
	f := func(g Grant, want uint64, wantOK bool) {
		t.Helper()
		if got, ok := g.Only(); got != want || ok != wantOK {
			t.Errorf("only: %d %v", got, ok)
		}
	}
	f(Grant{Advertisers: []uint64{5}}, 5, true)
	f(Grant{All: true, Advertisers: []uint64{5}}, 0, false)
	f(g, 0, false)
	f(Grant{}, 0, false)
}

func TestParseScopes(t *testing.T) {
	set, err := ParseScopes([]string{"report", "ingest", "report"})
	if err != nil || set != ScopeIngest|ScopeReport || set.String() != "ingest,report" {
		t.Errorf("got %v %v", set, err)
	}
	if AllScopes.String() != "ingest,report,finance,admin" {
		t.Errorf("all scopes: %s", AllScopes)
	}
	for _, name := range []string{"", "Report", "report,ingest", "root"} {
		if _, err := ParseScopes([]string{name}); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

func TestKeyText(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		text := newKeyText()
		id, ok := parseKeyText(text)
		if !ok || len(id) != keyIDLen || seen[id] || !strings.HasPrefix(text, "adtally_"+id+"_") || len(text) != 64 {
			t.Fatalf("key %q, id %q %v", text, id, ok)
		}
		seen[id] = true
	}
	good := newKeyText()
	for _, text := range []string{
		"", "adtally_", good[1:], good + "A", good + "\x00", good + " ", " " + good, strings.ToUpper(good),
		strings.Replace(good, "adtally_", "adtally-", 1), good[:20] + "." + good[21:], good[:63] + "=",
		good[:8] + "ABCDEFGHIJKL" + good[20:], good[:63] + "B", // bits beyond the secret's last byte
	} {
		if text == good {
			continue
		}
		if _, ok := parseKeyText(text); ok {
			t.Errorf("%q is taken", text)
		}
	}
}

func FuzzParseKeyText(f *testing.F) {
	f.Add(newKeyText())
	f.Add("adtally__")
	f.Fuzz(func(t *testing.T, text string) {
		id, ok := parseKeyText(text)
		if ok && (len(text) != keyLen || strings.Trim(id, keyIDAlphabet) != "") {
			t.Errorf("%q has the id %q", text, id)
		}
	})
}

func TestAccountValidation(t *testing.T) {
	f := func(a Account, good bool) {
		t.Helper()
		if err := a.withDefaults().validate(); (err == nil) != good {
			t.Errorf("%+v: %v", a, err)
		}
	}
	f(Account{Advertiser: 1}, true)
	f(Account{Advertiser: 1, Name: "Büro", Currency: "EUR", Timezone: "Asia/Kathmandu"}, true)
	f(Account{}, false)
	f(Account{Advertiser: 1, Currency: "eur"}, false)
	f(Account{Advertiser: 1, Currency: "EURO"}, false)
	f(Account{Advertiser: 1, Currency: "E1R"}, false)
	f(Account{Advertiser: 1, Name: "a\nb"}, false)
	f(Account{Advertiser: 1, Name: "\xff"}, false)
	f(Account{Advertiser: 1, Name: strings.Repeat("a", 201)}, false)
	for _, zone := range []string{"Local", "localtime", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "right/UTC", "posix/UTC", "EST+5", "UTC\x00"} {
		f(Account{Advertiser: 1, Timezone: zone}, false)
	}
	if got := defaultAccount(42); got != (Account{Advertiser: 42, Name: "42", Timezone: "UTC"}) {
		t.Errorf("default account: %+v", got)
	}
}
