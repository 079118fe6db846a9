// Package consent decides whether an event may carry a user's identifiers.
//
// The path of one decision: Signals → Sec-GPC → TCF → GPP → US Privacy → the
// strictest of them → Decision. The event counts whatever the decision is; only
// the user hash is dropped.
//
// # The rule
//
// Every signal that came with the request is read, and one that forbids
// suffices. A signal that came and cannot be read forbids: broken, too long, an
// unexpanded macro, of an unknown version. A signal that is absent says nothing.
//
//   - Sec-GPC: 1 forbids (W3C Global Privacy Control).
//   - TCF 2 (IAB Europe, Consent String and Vendor List Formats) applies if
//     gdpr=1, or if gdpr is absent and there is a gdpr_consent. It allows
//     identifiers if the user consented to purpose 1 (store and access
//     information on a device) and if each of purposes 7 and 8 (measure
//     advertising and content performance) has a legal basis: consent, or
//     legitimate interest to which the user did not object. With a vendor id the
//     vendor must hold the same basis and no publisher restriction may take it
//     away; without one (0) vendors are not looked at. Purpose 1 needs consent
//     also where the string says that the publisher's country does not ask for
//     it (PurposeOneTreatment). gdpr=1 without a string forbids. gdpr=0 lifts
//     the TCF and counts as a signal that forbids nothing.
//   - GPP (IAB Tech Lab, Global Privacy Platform). gpp_sid names the sections
//     that apply; each must be in the string. Without gpp_sid, or with 0
//     (undetermined), all sections of the string apply, except the TCF section
//     when gdpr=0. -1 means that none applies. Section 2 is a TCF string as
//     above. In the US sections an opt-out of sale, of sharing or of targeted
//     advertising and the GPC flag forbid; known are the national one (7) and
//     the states 8 to 27. Section 6 is a US Privacy string. A section that
//     applies and that this package cannot read forbids: TCF 1 (1), TCF Canada
//     (5) and whatever comes after 27. Section 4 (signal integrity) holds no
//     choice and is skipped.
//     With gdpr=1 and no gdpr_consent, section 2 stands for it; with both, both
//     must allow.
//   - us_privacy (IAB Tech Lab, CCPA U.S. Privacy String 1.0): an opt-out of Y
//     forbids, N allows, and a hyphen there (as in 1---) says that the law does
//     not apply.
//
// Nothing present: the decision is unspecified, and identifiers are allowed
// unless Config.RequireSignal is set. Where the law asks for consent the caller
// says so (gdpr=1, gpp_sid), and then a missing string forbids.
//
// # Parsers
//
// TCF strings and GPP sections are read by prebid/go-gdpr and prebid/go-gpp.
// The GPP header is read here: the library's reader takes exponential time for
// a header of some sixty zero bits and never ends for a range up to section
// 65535, and neither can be stopped from outside. The library's section readers
// are bounded by their input. Both libraries may index past the end of a
// truncated string; such a panic is contained, counted and forbids.
//
// # User hash
//
// UserHasher makes the only form in which a user id leaves ingest, see there
// for what its rotation does to unique counts.
package consent
