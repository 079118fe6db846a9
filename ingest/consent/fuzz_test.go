package consent

import (
	"testing"

	"github.com/adtally/adtally/proto"
)

// Whatever comes, a decision is taken: the same every time, and never one that
// a further signal which forbids would not turn around.
func FuzzDecide(f *testing.F) {
	for _, in := range []Signals{
		{},
		{SecGPC: true},
		signals("1", all), signals("0", noPurposes), signals("", onlyInterest),
		signals("1", "", "DBABMA~"+onlyOne, "2"),
		signals("", "", "DBACNY~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA~1YNN", "2,6"),
		signals("", "", "DBADLO8~BSJgmkoZJSA.YA~BSFgmiU~BWJYJllA~BSFgmSZQ.YA"),
		signals("", "", "DBABrGA~DSJgmkoZJSA.YA~BlgWEYCY.QA~BSFgmiU~bSFgmJQ.YA~BWJYJllA~bSFgmSZQ.YA", "-1"),
		signals("", "", "DBABSYA~BQSg.AAA", "27"),
		signals("", "", "DBAAAAAAAAAAAAAAAAAAAAAAAAAAAw~x"),
		signals("", "", "", "", "1YNN"), signals("${GDPR}", "[GDPR_CONSENT]", "%%GPP%%", "x", "1---"),
	} {
		f.Add(in.GDPR, in.GDPRConsent, in.GPP, in.GPPSID, in.USPrivacy, in.SecGPC, uint16(0))
		f.Add(in.GDPR, in.GDPRConsent, in.GPP, in.GPPSID, in.USPrivacy, in.SecGPC, uint16(32))
	}
	deciders := map[uint16]*Decider{}
	f.Fuzz(func(t *testing.T, gdpr, tcf, gpp, sid, usp []byte, gpc bool, vendor uint16) {
		vendor %= 64
		d := deciders[vendor]
		if d == nil {
			d = newDecider(t, Config{VendorID: vendor})
			deciders[vendor] = d
		}
		in := Signals{GDPR: gdpr, GDPRConsent: tcf, GPP: gpp, GPPSID: sid, USPrivacy: usp, SecGPC: gpc}
		first := d.Decide(in)
		if again := d.Decide(in); again != first {
			t.Fatalf("%+v, then %+v", first, again)
		}
		if first.Identifiers == (first.Consent == proto.Consent_CONSENT_NO_IDENTIFIERS) {
			t.Fatalf("%+v", first)
		}
		if gpc && first.Identifiers {
			t.Fatalf("identifiers in spite of Sec-GPC: %+v", first)
		}
		in.USPrivacy = []byte("1YYN")
		if got := d.Decide(in); got.Identifiers {
			t.Fatalf("identifiers in spite of a US Privacy opt-out: %+v", got)
		}
		in.USPrivacy, in.GDPR, in.GDPRConsent = nil, []byte("1"), []byte(noPurposes)
		if got := d.Decide(in); got.Identifiers {
			t.Fatalf("identifiers in spite of a TCF string without purposes: %+v", got)
		}
	})
}
