package consent

import (
	"strings"
	"testing"

	"github.com/adtally/adtally/proto"
)

func TestDecide(t *testing.T) {
	d := newDecider(t, Config{})
	f := func(in Signals, want Reason) {
		t.Helper()
		for range 2 { // parsed, then remembered
			got := d.Decide(in)
			if got.Reason != want {
				t.Errorf("%s: reason is %s, want %s", show(in), got.Reason, want)
			}
			allowed := want == Granted || want == NoSignal
			if got.Identifiers != allowed || (got.Consent == proto.Consent_CONSENT_NO_IDENTIFIERS) == allowed {
				t.Errorf("%s: %+v", show(in), got)
			}
			if (got.Consent == proto.Consent_CONSENT_UNSPECIFIED) != (want == NoSignal) {
				t.Errorf("%s: %+v", show(in), got)
			}
		}
	}
	// Nothing was said.
	f(signals(), NoSignal)
	f(signals("", "", "DBAA"), NoSignal)
	f(signals("", "", "", "0"), NoSignal)

	// Sec-GPC.
	f(Signals{SecGPC: true}, GPC)
	f(Signals{SecGPC: true, GDPR: []byte("1"), GDPRConsent: []byte(all)}, GPC)

	// TCF.
	f(signals("1", all), Granted)
	f(signals("", all), Granted)
	f(signals("1", noPurposes), TCF)
	f(signals("", noPurposes), TCF)
	f(signals("1"), TCFMalformed)
	f(signals("0"), Granted)
	f(signals("0", noPurposes), Granted)
	f(signals("0", "garbage"), Granted)
	f(signals("2", all), TCFMalformed)
	f(signals("true", all), TCFMalformed)
	f(signals("${GDPR}", all), TCFMalformed)
	f(signals("", "${GDPR_CONSENT_755}"), TCFMalformed)

	// US Privacy.
	f(signals("", "", "", "", "1YNN"), Granted)
	f(signals("", "", "", "", "1---"), Granted)
	f(signals("", "", "", "", "1ynn"), Granted)
	f(signals("", "", "", "", "1YYN"), USPrivacy)
	f(signals("", "", "", "", "1-Y-"), USPrivacy)
	f(signals("", "", "", "", "1yyn"), USPrivacy)
	for _, bad := range []string{"1", "1YN", "1YNNN", "2YNN", "1YXN", "YNN1", "[US_PRIVACY]", "\x00\x00\x00\x00"} {
		f(signals("", "", "", "", bad), USPrivacyMalformed)
	}

	// The strictest wins.
	f(signals("1", all, "", "", "1YYN"), USPrivacy)
	f(signals("1", all, "DBABLA~CEAaAAAAAABA.QA", "7", "1YNN"), GPP)
	f(signals("1", noPurposes, "", "", "1YNN"), TCF)
	f(signals("0", "", "", "", "1YYN"), USPrivacy)
	f(signals("1", all, "DBABLA~CEAqAAAAAABA.QA", "7", "1YNN"), Granted)
}

func TestDecideGPP(t *testing.T) {
	d := newDecider(t, Config{})
	f := func(in Signals, want Reason) {
		t.Helper()
		for range 2 {
			if got := d.Decide(in); got.Reason != want {
				t.Errorf("%s: reason is %s, want %s", show(in), got.Reason, want)
			}
		}
	}
	const (
		tcfAndUSP = "DBACNY~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA~1YNN"
		optOut    = "DBACTjw~1YYN~BSZZYgkA~BaRlkCSA.QA" // sections 6, 9 and 11
		nobody    = "DBABLA~CEAqAAAAAABA.QA"
	)
	// gpp_sid says what applies.
	f(signals("", "", nobody, "7"), Granted)
	f(signals("", "", nobody, ""), Granted)
	f(signals("", "", nobody, "0"), Granted)
	f(signals("", "", nobody, "-1"), Granted)
	f(signals("", "", nobody, "8"), GPPMalformed)
	f(signals("", "", nobody, "7,8"), GPPMalformed)
	f(signals("", "", tcfAndUSP, "6"), Granted)
	f(signals("", "", tcfAndUSP, "2"), TCF)
	f(signals("", "", tcfAndUSP, "2,6"), TCF)
	f(signals("", "", tcfAndUSP, " 2 , 6 "), TCF)
	f(signals("", "", tcfAndUSP, ""), TCF)
	f(signals("", "", tcfAndUSP, "-1"), Granted)
	f(signals("", "", optOut, "6"), GPP)
	f(signals("", "", optOut, "-1"), Granted)
	f(signals("", "", "", "-1"), Granted)
	f(signals("", "", "", "7"), GPPMalformed)
	for _, bad := range []string{",", "7,", "7;8", "x", "64", "-2", "99999999999999999999", "[GPP_SID]", strings.Repeat("7,", 100) + "7"} {
		f(signals("", "", nobody, bad), GPPMalformed)
	}
	// The TCF section and the parameters of the TCF.
	f(signals("0", "", tcfAndUSP, ""), Granted)
	f(signals("0", "", tcfAndUSP, "2"), TCF)
	f(signals("1", "", tcfAndUSP, "6"), TCFMalformed)
	f(signals("1", "", "DBABMA~"+all, ""), Granted)
	f(signals("1", "", "DBABMA~"+all, "2"), Granted)
	f(signals("1", all, tcfAndUSP, "2"), TCF)
	f(signals("1", noPurposes, "DBABMA~"+all, "2"), TCF)
	f(signals("", "", "DBABMA~"+versionOne, "2"), TCFMalformed)
	// Sections that cannot be read forbid if they apply.
	f(signals("", "", "DBABjw~"+all+"~1YNN", "6"), Granted)      // 5 (TCF Canada) and 6
	f(signals("", "", "DBABjw~"+all+"~1YNN", ""), GPPMalformed)  // all of them
	f(signals("", "", "DBABjw~"+all+"~1YNN", "5"), GPPMalformed) // TCF Canada
	f(signals("", "", "DBABLA~CEAq", "7"), GPPMalformed)
	f(signals("", "", "DBABLA~", "7"), GPPMalformed)
	f(signals("", "", "DBACNY~~", ""), TCFMalformed)
}

// Malformed strings never fail: they forbid.
func TestMalformedGPP(t *testing.T) {
	d := newDecider(t, Config{})
	zeros := strings.Repeat("A", 60)
	for _, text := range []string{
		"garbage", "D", "DB", "DBA", "DBAB", "DBABLA", "DBABLA~", "DBABLA~x~y", "~", "~~~~", "DBABLA~CEAqAAAAAABA.QA~",
		"CBABLA~CEAqAAAAAABA.QA",                 // not a GPP header
		"DCABLA~CEAqAAAAAABA.QA",                 // unknown version
		"DBGBM~" + noPurposes,                    // range cut short, from prebid/go-gpp
		"DBABBgA~xlgWE",                          // section cut short, from prebid/go-gpp
		"DBABLA~CEAqAAAAAABA.AA",                 // unknown subsection
		"DBABLA~CEAqAAAAAABA.",                   // empty subsection
		"DBABLA~CEA/////////",                    // not base64url
		"DBABLA=~CEAqAAAAAABA.QA",                // padding
		"DBABLA~CEAgAAAAAABA\x00",                // NUL
		"[GPP_STRING]",                           //
		"DBA" + zeros + "w~x",                    // exponential time in the library
		"D" + strings.Repeat("_", 60) + "~x",     // 4095 ranges
		strings.Repeat("DBABLA~", 2000),          // too long
		"DBABLA" + strings.Repeat("A", 80) + "~", // header too long
		"DBABLA~" + strings.Repeat("A", 300),     // section too long
	} {
		if got := d.Decide(signals("", "", text)); got.Reason != GPPMalformed {
			t.Errorf("%.40q: reason is %s", text, got.Reason)
		}
	}
}

func TestMalformedTCF(t *testing.T) {
	d := newDecider(t, Config{VendorID: 32})
	for _, text := range []string{
		"x", "/", "C", "0", "null", ".", "....", versionOne, all[:40] + "!" + all[41:], "=" + all, all + strings.Repeat("A", 4096),
		"C" + strings.Repeat("_", 4000),
		// From prebid/go-gdpr.
		"CONciguONcjGKADACHENAOCIAC0ta__AACiQAA", "CONciguONcjGKADACHENAACIAC0ta__AACiQABgAAYA",
		"CONciguONcjGKADACHENAOCIAC0ta__AACiQAeAA", "CONciguONcjGKADACHENAOCIAC0ta__AACiQABwA",
		"CONciguONcjGKADACHENAOCIAC0ta__AACiQABwAQQ", "CONciguONcjGKADACHENAOCIAC0ta__AACiQABwAYQAC",
		"CONciguONcjGKADACHENAOCIAC0ta__AACiQABwAgABA", "CONciguONcjGKADACHENAOCIAC0ta__AACiQABwAgAAAAA",
		"CONciguONcjGKADACHENAOCIAC0ta__AACiQABwAgACAAA", "CONciguONcjGKADACHENAOCIAC0ta__AACiQABwAgABAAAA",
		"CONciguONcjGKADACHENAOCIAC0ta__AACiQABwAgABAAEA", "CONciguONcjGKADACHENAOCIAC0ta__AACiQABwAoABAACA",
		"BONciguONcjGKADACHENAOCIAC0ta__AACiQABgAAYA",
	} {
		for _, gdpr := range []string{"1", ""} {
			if got := d.Decide(signals(gdpr, text)); got.Reason != TCFMalformed {
				t.Errorf("gdpr=%s %.60q: reason is %s", gdpr, text, got.Reason)
			}
		}
	}
}

// A string that was cut anywhere before the end of its purposes and vendors is
// malformed. For some of them go-gdpr reads past the end.
func TestPanicsOfParsersAreContained(t *testing.T) {
	d := newDecider(t, Config{})
	for cut := 1; cut < 195; cut++ {
		if got := d.Decide(signals("1", all[:cut])); got.Reason != TCFMalformed {
			t.Errorf("cut after %d characters: reason is %s", cut, got.Reason)
		}
	}
	t.Logf("%d panics of the parser contained", d.panics.Get())

	before := d.panics.Get()
	v := allows
	func() {
		defer d.contain(&v)
		panic("a parser's")
	}()
	if v != malformed || d.panics.Get() != before+1 {
		t.Errorf("a panic leaves verdict %d and adds %d to the counter", v, d.panics.Get()-before)
	}
}

func TestRequireSignal(t *testing.T) {
	d := newDecider(t, Config{RequireSignal: true})
	got := d.Decide(signals())
	if got.Identifiers || got.Consent != proto.Consent_CONSENT_NO_IDENTIFIERS || got.Reason != NoSignal {
		t.Errorf("no signal: %+v", got)
	}
	if got = d.Decide(signals("0")); !got.Identifiers {
		t.Errorf("gdpr=0: %+v", got)
	}
}

func TestDecisionsAreCounted(t *testing.T) {
	d := newDecider(t, Config{})
	d.Decide(signals())
	d.Decide(signals("1", all))
	d.Decide(signals("1", all))
	for r, want := range map[Reason]uint64{NoSignal: 1, Granted: 2, TCF: 0} {
		if got := d.reasons[r].Get(); got != want {
			t.Errorf("%s is counted %d times, want %d", r, got, want)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, n := range []int{0, -1, maxCache + 1} {
		if _, err := New(Config{CacheStrings: n}, nil); err == nil {
			t.Errorf("a cache of %d strings was accepted", n)
		}
	}
}

func TestRemembered(t *testing.T) {
	d := newDecider(t, Config{})
	f := func(name string, in Signals) {
		t.Helper()
		d.Decide(in)
		if n := testing.AllocsPerRun(1000, func() { d.Decide(in) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	f("nothing", signals())
	f("tcf", signals("1", all))
	f("gpp", signals("", "", "DBADLO8~BSJgmkoZJSA.YA~BSFgmiU~BWJYJllA~BSFgmSZQ.YA", "7,9"))
	f("us privacy", signals("", "", "", "", "1YNN"))
	f("everything", signals("1", all, "DBACNY~"+noPurposes+"~1YNN", "2,6", "1YNN"))
	f("malformed", signals("1", "garbage", "garbage", "garbage", "garbage"))
	f("long", signals("1", strings.Repeat("C", 100_000)))
}
