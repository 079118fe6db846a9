package consent

import (
	"bytes"
	"fmt"

	"github.com/VictoriaMetrics/metrics"

	"github.com/adtally/adtally/ingest/agent/recent"
	"github.com/adtally/adtally/proto"
)

// Bounds of the texts that are read, in bytes; longer ones are malformed. TCF
// strings of all vendors have some 1,500.
const (
	maxTCF   = 4096
	maxGPP   = 8192
	maxSIDs  = 128
	maxCache = 1 << 24
)

// Config holds the settings of the consent decision. Defaults are in the tags.
type Config struct {
	VendorID      uint16 `default:"0" help:"Id on the Global Vendor List under which TCF strings must grant this service; 0 does not look at vendors."`
	ConsentOnly   bool   `help:"Do not accept legitimate interest for the TCF's measurement purposes."`
	RequireSignal bool   `help:"Drop identifiers of requests without any consent signal."`
	CacheStrings  int    `default:"16384" help:"Decoded TCF and GPP strings remembered, of each kind; a pair of them takes about 110 bytes."`
}

// Validate reports the first setting that cannot work.
func (c *Config) Validate() error {
	if c.CacheStrings < 1 || c.CacheStrings > maxCache {
		return fmt.Errorf("consent cache strings is %d, it must be from 1 to %d", c.CacheStrings, maxCache)
	}
	return nil
}

// Signals are the consent signals of one request, decoded from the URL; empty
// is absent. They are only read, and not kept.
type Signals struct {
	GDPR        []byte // gdpr
	GDPRConsent []byte // gdpr_consent
	GPP         []byte // gpp
	GPPSID      []byte // gpp_sid
	USPrivacy   []byte // us_privacy
	SecGPC      bool   // the header Sec-GPC is 1
}

// Decision says what becomes of the identifiers of an event.
type Decision struct {
	// Consent is what the event is stamped with.
	Consent proto.Consent
	// Identifiers reports whether a user hash may be stored.
	Identifiers bool
	// Reason names the signal that decided.
	Reason Reason
}

// Reason says which signal decided. When several forbid it is the first of
// them in the order of the constants.
type Reason uint8

// The reasons. Malformed covers strings that are missing where they must be.
const (
	// NoSignal: nothing was said.
	NoSignal Reason = iota
	// Granted: something was said, and nothing of it forbids.
	Granted
	// GPC: the browser sent Sec-GPC: 1.
	GPC
	// TCF: the TCF string does not grant what identifiers need.
	TCF
	// TCFMalformed: gdpr or gdpr_consent cannot be read.
	TCFMalformed
	// GPP: a section that applies holds an opt-out.
	GPP
	// GPPMalformed: gpp or gpp_sid, or a section that applies, cannot be read.
	GPPMalformed
	// USPrivacy: the US Privacy string holds an opt-out.
	USPrivacy
	// USPrivacyMalformed: us_privacy cannot be read.
	USPrivacyMalformed
	reasons
)

var reasonNames = [reasons]string{
	"no_signal", "granted", "gpc", "tcf", "tcf_malformed", "gpp", "gpp_malformed", "us_privacy", "us_privacy_malformed",
}

// String returns the name of the reason as in metrics.
func (r Reason) String() string { return reasonNames[min(int(r), len(reasonNames)-1)] }

// Decider decides on consent. It may be used by any number of goroutines.
type Decider struct {
	cfg     Config
	tcf     *recent.Cache[verdict]
	gpp     *recent.Cache[container]
	reasons [reasons]*metrics.Counter
	panics  *metrics.Counter
}

// verdict is what one signal says. The zero verdict says nothing.
type verdict uint8

const (
	silent verdict = iota
	allows
	forbids
	malformed
)

// New returns a Decider that counts its decisions in set. A set can hold the
// counters of one Decider.
func New(cfg Config, set *metrics.Set) (*Decider, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	tcf, err := recent.New[verdict](cfg.CacheStrings)
	if err != nil {
		return nil, fmt.Errorf("create cache of TCF strings: %w", err)
	}
	gpp, err := recent.New[container](cfg.CacheStrings)
	if err != nil {
		return nil, fmt.Errorf("create cache of GPP strings: %w", err)
	}
	d := &Decider{
		cfg: cfg, tcf: tcf, gpp: gpp,
		panics: set.NewCounter(`adtally_ingest_consent_parser_panics_total`),
	}
	for r, name := range reasonNames {
		d.reasons[r] = set.NewCounter(fmt.Sprintf(`adtally_ingest_consent_decisions_total{reason=%q}`, name))
	}
	return d, nil
}

// Decide returns the decision for one request by the rule in the package's
// documentation. It never fails. It allocates only for strings that it has not
// decoded recently.
func (d *Decider) Decide(in Signals) Decision {
	dec := d.decide(&in)
	d.reasons[dec.Reason].Inc()
	return dec
}

func (d *Decider) decide(in *Signals) Decision {
	if in.SecGPC {
		return refuse(GPC)
	}
	region, asked := gdprApplies(in)
	gpp, tcfOfGPP := d.readGPP(in, region == allows)
	tcf := region
	if asked {
		tcf = d.readTCF(in.GDPRConsent, tcfOfGPP != silent)
	}
	usp := readUSPrivacy(in.USPrivacy)

	for _, v := range [...]struct {
		verdict   verdict
		refuse    Reason
		malformed Reason
	}{
		{tcf, TCF, TCFMalformed},
		{tcfOfGPP, TCF, TCFMalformed},
		{gpp, GPP, GPPMalformed},
		{usp, USPrivacy, USPrivacyMalformed},
	} {
		switch v.verdict {
		case forbids:
			return refuse(v.refuse)
		case malformed:
			return refuse(v.malformed)
		case silent, allows:
		}
	}
	switch {
	case tcf|tcfOfGPP|gpp|usp != silent:
		return Decision{Consent: proto.Consent_CONSENT_FULL, Identifiers: true, Reason: Granted}
	case d.cfg.RequireSignal:
		return refuse(NoSignal)
	default:
		return Decision{Consent: proto.Consent_CONSENT_UNSPECIFIED, Identifiers: true, Reason: NoSignal}
	}
}

func refuse(why Reason) Decision {
	return Decision{Consent: proto.Consent_CONSENT_NO_IDENTIFIERS, Reason: why}
}

// gdprApplies returns what the parameter gdpr says by itself, and whether the
// TCF string is asked.
func gdprApplies(in *Signals) (v verdict, asked bool) {
	switch {
	case len(in.GDPR) == 0:
		return silent, len(in.GDPRConsent) > 0
	case bytes.Equal(in.GDPR, []byte("1")):
		return silent, true
	case bytes.Equal(in.GDPR, []byte("0")):
		return allows, false
	default:
		return malformed, false
	}
}

// readUSPrivacy reads a US Privacy string: version, notice, opt-out, LSPA.
func readUSPrivacy(text []byte) verdict {
	if len(text) == 0 {
		return silent
	}
	if len(text) != 4 || text[0] != '1' || !choice(text[1]) || !choice(text[2]) || !choice(text[3]) {
		return malformed
	}
	if text[2]|0x20 == 'y' {
		return forbids
	}
	return allows
}

func choice(c byte) bool { return c|0x20 == 'y' || c|0x20 == 'n' || c == '-' }
