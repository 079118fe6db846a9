package network

import "strings"

const (
	countryLength = 2
	maxRegion     = countryLength + 1 + 3
)

// countries are the codes of ISO 3166-1, and XK, by which databases and content
// networks call Kosovo. Placeholders such as XX, T1 or EU are not among them.
const countries = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ " +
	"CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO " +
	"FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE " +
	"JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO " +
	"MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW " +
	"PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM " +
	"TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW"

// newPlace checks a country and a region, in any case. A region may be given
// with its country or without: US-CA or CA.
func newPlace(country, region []byte) Place {
	code, ok := upper(country, countryLength)
	if !ok || len(code) != countryLength {
		return Place{}
	}
	at := strings.Index(countries, code)
	if at < 0 {
		return Place{}
	}
	place := Place{Country: countries[at : at+countryLength]}
	if len(region) > countryLength && region[countryLength] == '-' {
		of, _ := upper(region[:countryLength], countryLength)
		if of != code {
			return place
		}
		region = region[countryLength+1:]
	}
	if part, ok := upper(region, maxRegion-countryLength-1); ok {
		place.Region = place.Country + "-" + part
	}
	return place
}

// upper returns text in upper case if it is letters and digits only, at least
// one and at most limit.
func upper(text []byte, limit int) (string, bool) {
	if len(text) == 0 || len(text) > limit {
		return "", false
	}
	var code [maxRegion]byte
	for i, c := range text {
		switch {
		case 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		default:
			return "", false
		}
		code[i] = c
	}
	return string(code[:len(text)]), true
}
