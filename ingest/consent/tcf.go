package consent

import (
	"strings"

	"github.com/prebid/go-gdpr/consentconstants"
	tcf2 "github.com/prebid/go-gdpr/vendorconsent/tcf2"
)

// Purposes of the TCF, and the kinds of publisher restrictions.
const (
	storeOnDevice    consentconstants.Purpose = 1
	measureAds       consentconstants.Purpose = 7
	measureContent   consentconstants.Purpose = 8
	notAllowed       uint8                    = 0
	requiresConsent  uint8                    = 1
	requiresInterest uint8                    = 2
	tcfVersion                                = 2
)

// readTCF reads a TCF string that was asked for. It may be missing if another
// one stands for it.
func (d *Decider) readTCF(text []byte, elsewhere bool) verdict {
	switch {
	case len(text) == 0 && elsewhere:
		return silent
	case len(text) == 0, len(text) > maxTCF:
		return malformed
	}
	v, hash, ok := d.tcf.Get(text)
	if !ok {
		v = d.parseTCF(string(text))
		d.tcf.Put(hash, v)
	}
	return v
}

func (d *Decider) parseTCF(text string) (v verdict) {
	defer d.contain(&v)
	core, _, _ := strings.Cut(text, ".") // what follows does not concern us
	// Encoders fill the last character with zero bits, but not the last byte.
	// Without a further character its bits would be lost, or be an error.
	if len(core)%4 != 0 {
		core += "A"
	}
	parsed, err := tcf2.ParseString(core)
	if err != nil {
		return malformed
	}
	c, ok := parsed.(tcf2.ConsentMetadata)
	if !ok || c.Version() != tcfVersion {
		return malformed
	}
	for _, p := range [...]consentconstants.Purpose{storeOnDevice, measureAds, measureContent} {
		if !d.basis(&c, p) {
			return forbids
		}
	}
	return allows
}

// basis reports whether the string gives a legal basis for purpose p.
func (d *Decider) basis(c *tcf2.ConsentMetadata, p consentconstants.Purpose) bool {
	vendor := d.cfg.VendorID
	consent := c.PurposeAllowed(p) && (vendor == 0 || c.VendorConsent(vendor))
	interest := p != storeOnDevice && !d.cfg.ConsentOnly &&
		c.PurposeLITransparency(p) && (vendor == 0 || c.VendorLegitInterest(vendor))
	if vendor == 0 {
		return consent || interest
	}
	switch {
	case c.CheckPubRestriction(uint8(p), notAllowed, vendor):
		return false
	case c.CheckPubRestriction(uint8(p), requiresConsent, vendor):
		return consent
	case c.CheckPubRestriction(uint8(p), requiresInterest, vendor):
		return interest
	default:
		return consent || interest
	}
}

// contain turns a panic of a parser into a malformed string. To be deferred.
func (d *Decider) contain(v *verdict) {
	if recover() != nil {
		d.panics.Inc()
		*v = malformed
	}
}
