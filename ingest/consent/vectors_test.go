package consent

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	gpp "github.com/prebid/go-gpp"
	"github.com/prebid/go-gpp/sections/uspca"
	"github.com/prebid/go-gpp/sections/uspco"
	"github.com/prebid/go-gpp/sections/uspct"
	"github.com/prebid/go-gpp/sections/uspnat"
	"github.com/prebid/go-gpp/sections/usput"
	"github.com/prebid/go-gpp/sections/uspva"
)

// The strings of the tests of prebid/go-gdpr. What they grant was read off by
// hand from the bits of purposes 1, 7 and 8 and of the vendor.
func TestTCFVectors(t *testing.T) {
	f := func(text string, cfg Config, want verdict) {
		t.Helper()
		if got := newDecider(t, cfg).parseTCF(text); got != want {
			t.Errorf("%.60s with %+v: got %d, want %d", text, cfg, got, want)
		}
	}
	anyBasis, consentOnly := Config{}, Config{ConsentOnly: true}
	f(all, anyBasis, allows)
	f(all, consentOnly, allows)
	f(all, Config{VendorID: 32}, allows)
	f(all, Config{VendorID: 32, ConsentOnly: true}, allows)
	f(all, Config{VendorID: 907}, forbids)
	f(all, Config{VendorID: 65535}, forbids)
	f(oneSevenNotLI, anyBasis, allows)
	f(oneSevenNotLI, Config{VendorID: 32}, allows)
	f(oneSevenNotLI, Config{VendorID: 1}, forbids)
	f(eightByLI, anyBasis, allows) // purpose 8 by legitimate interest only
	f(eightByLI, consentOnly, forbids)
	f(eightByLI, Config{VendorID: 1}, forbids) // the vendor has consent, not the interest
	for _, text := range []string{
		noPurposes, onlyInterest, onlyOne, oneTreatment,
		"COvcSpYOvcSpYC9AAAENAPCAAAAAAAAAAAAACvwDQABAAIAAYABIAC4AJQAagA9ACEAPgAjIBJoCvAK-AAAAAA",
		"COxPe2TOxPe2TALABAENAPCgAAAAAAAAAAAAAFAAAAoAAA4IACACAIABgACAFA4ADACAAIygAGADwAQBIAIAIB0AEAEBSACACAA",
		"COyiHgFOyiHgFN4ABABGAPCAAAAAAAAAAAAAAFAAAAoAAAA", "COyiILmOyiILmADACHENAPCAAAAAAAAAAAAAE5QBgALgAqgD8AQACSwEygJyAAAAAA",
		"CPtGDMAPtGDMALMAAAENA_C_AAAAAAAAACiQAAAAAAAA", "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA",
		onlyOne + ".IF5EX2S5OI2tho2YdF7BEYYwfJxyigMgShgQIsS8NwIeFbBoGPmAAHBG4JAQAGBAkkACBAQIsHGBcCQABgIgRiRCMQEGMjzNKBJBAggkbI0FACCVmnkHS3ZCY70-6u__bA",
	} {
		f(text, anyBasis, forbids)
		f(text, Config{VendorID: 32}, forbids)
	}
}

// The strings of the tests of prebid/go-gpp, read as if all sections applied.
func TestGPPVectors(t *testing.T) {
	d := newDecider(t, Config{})
	f := func(text string, want Reason) {
		t.Helper()
		if got := d.Decide(signals("", "", text)); got.Reason != want {
			t.Errorf("%s: reason is %s, want %s", text, got.Reason, want)
		}
	}
	f("DBABM~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA", TCF)
	f("DBABMA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA", TCF)
	f("DBACNY~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA~1YNN", TCF)
	f("DBABBgA~xlgWEYCZAA", Granted)      // California, sale 2, sharing 0
	f("DBABRgA~bSFgmiU", GPP)             // Virginia, targeted advertising 1
	f("DBABRg~bSFgmiU", GPP)              //
	f("DBABh4A~BlgWEYCY.QA~BSFgmiU", GPP) //
	f("DBABJg~bSFgmJQ.YA", GPP)           // Colorado, GPC
	f("DBABVg~bSFgmSZQ.YA", GPP)          // Connecticut, GPC
	f("DBABLA~DSJgmkoZJSA.YA", GPP)       // national, GPC
	f("DBABLA~DSJgmkoZJSA.QA", Granted)   // the same without it
	f("DBABLA~DSJgmkoZJSA", Granted)      //
	f("DBADLO8~BSJgmkoZJSA.YA~BSFgmiU~BWJYJllA~BSFgmSZQ.YA", GPP)
	f("DBABrGA~DSJgmkoZJSA.YA~BlgWEYCY.QA~BSFgmiU~bSFgmJQ.YA~BWJYJllA~bSFgmSZQ.YA", GPP)
	f("DBACLMA~BAAAAAAAAAA.QA~BaAAAAA", Granted)
	f("DBACTjw~1YYN~BSZZYgkA~BaRlkCSA.QA", GPP)
	// Its TCF section is of a draft: the range of vendors has no upper bound.
	f("DBACMYA~CPpcCoAPpcCoAPoABABGCyCUACAAACAAAAAAAAVQAQAVABZABABYAAAAA.QADgIAAA.IABE~CPpcCoAPpcCoAPoABABGCyCQAEAAAEAAAAEFABAEEAN8AEAN4A.YAAAAAAAAAA", TCFMalformed)
}

// TCF sections of the reference encoder (@iabgpp/cmpapi 3.2.0), with consent for
// the purposes and vendors named.
func TestTCFSections(t *testing.T) {
	f := func(text string, vendor uint16, want Reason) {
		t.Helper()
		d := newDecider(t, Config{VendorID: vendor})
		if got := d.Decide(signals("1", "", text, "2")); got.Reason != want {
			t.Errorf("%s for vendor %d: reason is %s, want %s", text, vendor, got.Reason, want)
		}
	}
	const (
		one        = "DBABMA~CQuIxQAQuIxQAAfAAAENAwFgAIAAAAAAAAAAAAAAAAAA.IAAA.YAAAAAAAAAAA"             // 1, no vendors
		three      = "DBABMA~CQuIxQAQuIxQAAfAAAENAwFgAIMAAAAAAAAAAAAAAAAA.IAAA.YAAAAAAAAAAA"             // 1, 7, 8, no vendors
		threeTo32  = "DBABMA~CQuIxQAQuIxQAAfAAAENAwFgAIMAAAAAAAAAAQQAQAQAAAAA.IAAA.YAAAAAAAAAAA"         // to vendor 32
		threeTo755 = "DBABMA~CQuIxQAQuIxQAAfAAAENAwFgAIMAAAAAAAAAHCQAwAQALzAcIAAAAAAA.IAAA.YAAAAAAAAAAA" // to vendors 32, 755, 900
		interest   = "DBABMA~CQuIxQAQuIxQAAAAAAENAwFgAIAAAAMAAAAAAQQAQAQABBABABAAAAAA.IAAA.YAAAAAAAAAAA" // 1; 7 and 8 by legitimate interest of vendor 32
		tenTo32    = "DBABMA~CQuIxQAQuIxQAAfAAAENAwFgAP_AAAAAAAAAAQQAQAQAAAAA.IAAA.YAAAAAAAAAAA"         // 1 to 10 to vendor 32
		tenTo755   = "DBABMA~CQuIxQAQuIxQAAfAAAENAwFgAP_AAAAAAAAAHCQAwAQALzAcIAAAAAAA.IAAA.YAAAAAAAAAAA" // to vendors 32, 755, 900
	)
	f(one, 0, TCF)
	f(three, 0, Granted)
	f(three, 32, TCF)
	f(threeTo32, 32, Granted)
	f(threeTo32, 755, TCF)
	f(threeTo32, 33, TCF)
	f(threeTo755, 755, Granted)
	f(threeTo755, 900, Granted)
	f(threeTo755, 899, TCF)
	f(interest, 0, Granted)
	f(interest, 32, Granted)
	f(interest, 31, TCF)
	f(tenTo32, 32, Granted)
	f(tenTo755, 755, Granted)
}

// Publisher restrictions can take a basis away, but never give one.
func TestPublisherRestrictions(t *testing.T) {
	f := func(text string, want verdict) {
		t.Helper()
		if got := newDecider(t, Config{VendorID: 32}).parseTCF(text); got != want {
			t.Errorf("%s: got %d, want %d", text, got, want)
		}
	}
	f(restricted(7, notAllowed, 33), allows)
	f(restricted(7, notAllowed, 32), forbids)
	f(restricted(7, requiresConsent, 32), forbids)
	f(restricted(7, requiresInterest, 32), allows)
	f(restricted(8, requiresConsent, 32), forbids)
	f(restricted(8, requiresConsent, 31), allows)
	f(restricted(2, notAllowed, 32), allows)
	f(restricted(1, notAllowed, 32), forbids)
	f(restricted(1, requiresConsent, 32), allows)
}

// restricted returns a string that grants vendor 32 purpose 1 by consent and
// purposes 7 and 8 by legitimate interest, with one publisher restriction.
func restricted(purpose, kind uint8, vendor uint16) string {
	const (
		granted = "CQuIxQAQuIxQAAAAAAENAwFgAIAAAAMAAAAAAQQAQAQABBABABAAAAAA"
		start   = 305 // where the number of restrictions is, in bits
		digits  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	)
	b := bitReader{text: granted, ok: true}
	var bits strings.Builder
	for range start {
		bits.WriteByte("01"[b.read(1)])
	}
	fmt.Fprintf(&bits, "%012b%06b%02b%012b0%016b00000", 1, purpose, kind, 1, vendor)
	text := make([]byte, 0, 64)
	for rest := bits.String(); len(rest) >= 6; rest = rest[6:] {
		n, _ := strconv.ParseUint(rest[:6], 2, 8)
		text = append(text, digits[n])
	}
	return string(text)
}

// Strings of the reference encoder (@iabgpp/cmpapi 3.2.0): per section one
// without an opt-out, one with each, and one with GPC where the law has it.
func TestUSSections(t *testing.T) {
	d := newDecider(t, Config{})
	f := func(name string, free string, optOuts ...string) {
		t.Helper()
		if got := d.Decide(signals("", "", free)); got.Reason != Granted {
			t.Errorf("%s %s: reason is %s", name, free, got.Reason)
		}
		for _, text := range optOuts {
			if got := d.Decide(signals("", "", text)); got.Reason != GPP {
				t.Errorf("%s %s: reason is %s", name, text, got.Reason)
			}
		}
	}
	f("usnat", "DBABLA~CEAqAAAAAABA.QA", "DBABLA~CEAaAAAAAABA.QA", "DBABLA~CEAmAAAAAABA.QA", "DBABLA~CEApAAAAAABA.QA", "DBABLA~CEAqAAAAAABA.YA")
	f("usca", "DBABBg~BQoAAABA.QA", "DBABBg~BQYAAABA.QA", "DBABBg~BQkAAABA.QA", "DBABBg~BQoAAABA.YA")
	f("usva", "DBABRg~BEoAABA", "DBABRg~BEYAABA", "DBABRg~BEkAABA")
	f("usco", "DBABJg~BEoAAEA.QA", "DBABJg~BEYAAEA.QA", "DBABJg~BEkAAEA.QA", "DBABJg~BEoAAEA.YA")
	f("usut", "DBABFg~BEKAAAQA", "DBABFg~BEGAAAQA", "DBABFg~BEJAAAQA")
	f("usct", "DBABVg~BEoAAAEA.QA", "DBABVg~BEYAAAEA.QA", "DBABVg~BEkAAAEA.QA", "DBABVg~BEoAAAEA.YA")
	f("usfl", "DBABAw~BEoAAABA", "DBABAw~BEYAAABA", "DBABAw~BEkAAABA")
	f("usmt", "DBABQw~BEoAAABA.QA", "DBABQw~BEYAAABA.QA", "DBABQw~BEkAAABA.QA", "DBABQw~BEoAAABA.YA")
	f("usor", "DBABIw~BEoAAAABAA.QA", "DBABIw~BEYAAAABAA.QA", "DBABIw~BEkAAAABAA.QA", "DBABIw~BEoAAAABAA.YA")
	f("ustx", "DBABEw~BEoAAAQA.QA", "DBABEw~BEYAAAQA.QA", "DBABEw~BEkAAAQA.QA", "DBABEw~BEoAAAQA.YA")
	f("usde", "DBABUw~BEoAAAABAA.QA", "DBABUw~BEYAAAABAA.QA", "DBABUw~BEkAAAABAA.QA", "DBABUw~BEoAAAABAA.YA")
	f("usia", "DBABCw~BEKAAAQA.QA", "DBABCw~BEGAAAQA.QA", "DBABCw~BEJAAAQA.QA", "DBABCw~BEKAAAQA.YA")
	f("usne", "DBABSw~BEoAAAQA.QA", "DBABSw~BEYAAAQA.QA", "DBABSw~BEkAAAQA.QA", "DBABSw~BEoAAAQA.YA")
	f("usnh", "DBABKw~BEoAAABA.QA", "DBABKw~BEYAAABA.QA", "DBABKw~BEkAAABA.QA", "DBABKw~BEoAAABA.YA")
	f("usnj", "DBABAYA~BEoAAAAAQA.QA", "DBABAYA~BEYAAAAAQA.QA", "DBABAYA~BEkAAAAAQA.QA", "DBABAYA~BEoAAAAAQA.YA")
	f("ustn", "DBABQYA~BEoAAAQA.QA", "DBABQYA~BEYAAAQA.QA", "DBABQYA~BEkAAAQA.QA", "DBABQYA~BEoAAAQA.YA")
	f("usmn", "DBABIYA~BEoAAAQA.QA", "DBABIYA~BEYAAAQA.QA", "DBABIYA~BEkAAAQA.QA", "DBABIYA~BEoAAAQA.YA")
	f("usmd", "DBABEYA~BQSg.QA", "DBABEYA~BQRg.QA", "DBABEYA~BQSQ.QA", "DBABEYA~BQSg.YA")
	f("usin", "DBABUYA~BQSg.AAA", "DBABUYA~BQRg.AAA", "DBABUYA~BQSQ.AAA")
	f("usky", "DBABCYA~BQSg.AAA", "DBABCYA~BQRg.AAA", "DBABCYA~BQSQ.AAA")
	f("usri", "DBABSYA~BQSg.AAA", "DBABSYA~BQRg.AAA", "DBABSYA~BQSQ.AAA")
}

// Sections that the library has types for are read as it reads them.
func TestSameAsLibrary(t *testing.T) {
	d := newDecider(t, Config{})
	rng := rand.New(rand.NewPCG(1, 2))
	headers := map[int]string{7: "DBABLA", 8: "DBABBg", 9: "DBABRg", 10: "DBABJg", 11: "DBABFg", 12: "DBABVg"}
	for range 20_000 {
		id := 7 + rng.IntN(6)
		text := randomSection(rng)
		full := headers[id] + "~" + text
		parsed, errs := gpp.Parse(full)
		got := d.parseGPP(full)
		if want := libraryVerdict(&parsed, errs); got.verdict(1<<id) != want {
			t.Fatalf("%s: got %d, want %d", full, got.verdict(1<<id), want)
		}
	}
}

func randomSection(rng *rand.Rand) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	text := make([]byte, rng.IntN(14))
	for i := range text {
		text[i] = digits[rng.IntN(64)]
	}
	return string(text) + []string{"", ".QA", ".YA", ".AA"}[rng.IntN(4)]
}

func libraryVerdict(c *gpp.GppContainer, errs []error) verdict {
	if len(errs) > 0 {
		return malformed
	}
	var fields []byte
	gpc := false
	switch s := c.Sections[0].(type) {
	case uspnat.USPNAT:
		fields, gpc = []byte{s.CoreSegment.SaleOptOut, s.CoreSegment.SharingOptOut, s.CoreSegment.TargetedAdvertisingOptOut}, s.GPCSegment.Gpc
	case uspca.USPCA:
		fields, gpc = []byte{s.CoreSegment.SaleOptOut, s.CoreSegment.SharingOptOut}, s.GPCSegment.Gpc
	case uspva.USPVA:
		fields = []byte{s.CoreSegment.SaleOptOut, s.CoreSegment.TargetedAdvertisingOptOut}
	case uspco.USPCO:
		fields, gpc = []byte{s.CoreSegment.SaleOptOut, s.CoreSegment.TargetedAdvertisingOptOut}, s.GPCSegment.Gpc
	case usput.USPUT:
		fields = []byte{s.CoreSegment.SaleOptOut, s.CoreSegment.TargetedAdvertisingOptOut}
	case uspct.USPCT:
		fields, gpc = []byte{s.CoreSegment.SaleOptOut, s.CoreSegment.TargetedAdvertisingOptOut}, s.GPCSegment.Gpc
	}
	v := allows
	for _, o := range fields {
		if o == 1 {
			return forbids
		}
		if o == 3 {
			v = malformed
		}
	}
	if gpc {
		return forbids
	}
	return v
}
