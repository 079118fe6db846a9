package query

import (
	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/internal/testkit"
)

var (
	oneAdvertiser = access.Grant{KeyID: "one", Scopes: access.AllScopes, Advertisers: []uint64{7}}
	twoAdvertiser = access.Grant{KeyID: "two", Scopes: access.AllScopes, Advertisers: []uint64{7, 8}}
	everyone      = access.Grant{KeyID: "all", Scopes: access.AllScopes, All: true}
)

func testAccount(advertiser uint64) access.Account {
	if advertiser == 8 {
		return access.Account{Advertiser: 8, Name: "Eight", Timezone: "Asia/Kathmandu"}
	}
	return access.Account{Advertiser: advertiser, Name: "Other", Timezone: "UTC"}
}

func with(more string) string { return testkit.ReportBody(more) }
