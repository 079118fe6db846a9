package token

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	protobuf "google.golang.org/protobuf/proto"

	"github.com/adtally/adtally/proto"
)

func TestReadSpecs(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	in := `{"advertiser_id":"18446744073709551615","campaign_id":9007199254740993,"impression_id":"a"}

	{"advertiser_id":1,"campaign_id":2,"ad_group_id":3,"creative_id":"4","placement_id":5,"publisher_id":6,"impression_id":"b","price":"1.25","pricing":"cpm","currency":"EUR","variant":"v","landing_url":"https://h/","issued":"2026-11-20T10:00:00Z","expires":1800000000}
{"advertiser_id":1,"campaign_id":2,"price":0.5,"pricing":"cpc","currency":"EUR"}`
	var got []*proto.Token
	err := ReadSpecs(strings.NewReader(in), now, func(tk *proto.Token) error { got = append(got, tk); return nil })
	if err != nil || len(got) != 3 {
		t.Fatalf("%d tokens, %v", len(got), err)
	}
	want := []*proto.Token{
		{Version: 1, AdvertiserId: 18446744073709551615, CampaignId: 9007199254740993, ImpressionId: "a", Issued: 1_700_000_000},
		{
			Version: 1, AdvertiserId: 1, CampaignId: 2, AdGroupId: 3, CreativeId: 4, PlacementId: 5, PublisherId: 6, ImpressionId: "b",
			PriceNanos: 1_250_000, Pricing: proto.Pricing_PRICING_CPM, Currency: "EUR", Variant: "v", LandingUrl: "https://h/", Issued: 1795168800, Expires: 1_800_000_000,
		},
		{
			Version: 1, AdvertiserId: 1, CampaignId: 2, ImpressionId: got[2].ImpressionId, PriceNanos: 500_000_000,
			Pricing: proto.Pricing_PRICING_CPC, Currency: "EUR", Issued: 1_700_000_000,
		},
	}
	for i := range want {
		if !protobuf.Equal(got[i], want[i]) {
			t.Errorf("%d: got %v, want %v", i, got[i], want[i])
		}
	}
	if id, err := hex.DecodeString(got[2].ImpressionId); err != nil || len(id) != 16 {
		t.Errorf("minted impression id %q", got[2].ImpressionId)
	}
}

func TestReadSpecsErrors(t *testing.T) {
	t.Parallel()
	f := func(line string, parts ...string) {
		t.Helper()
		err := ReadSpecs(strings.NewReader("\n"+line), time.Now(), func(*proto.Token) error { return nil })
		for _, part := range append(parts, "line 2") {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v, want %s", line, err, part)
			}
		}
	}
	ok := `"advertiser_id":1,"campaign_id":2`
	f(`{`+ok+`,"adgroup":5}`, `"adgroup"`, "unknown field")
	f(`{`+ok+`,"variant":"a","variant":"b"}`, `"variant"`, "twice")
	f(`{"campaign_id":2}`, "advertiser_id")
	f(`{"advertiser_id":1.5,"campaign_id":2}`, `"advertiser_id"`)
	f(`{"advertiser_id":-1,"campaign_id":2}`, `"advertiser_id"`)
	f(`{"advertiser_id":[1],"campaign_id":2}`, `"advertiser_id"`)
	f(`{`+ok+`,"variant":{}}`, `"variant"`)
	f(`{`+ok+`,"variant":null}`, `"variant"`)
	f(`{`+ok+`,"pricing":"cpx"}`, `"pricing"`)
	f(`{`+ok+`,"pricing":"cpm","price":"1.0000001","currency":"USD"}`, "price", "6 decimal places")
	f(`{`+ok+`,"price":"1","currency":"USD"}`, "pricing")
	f(`{`+ok+`,"price":"1","pricing":"cpm"}`, "currency")
	f(`{`+ok+`,"price":"","pricing":"cpm"}`, `"price"`)
	f(`{`+ok+`,"expires":"soon"}`, `"expires"`)
	f(`{`+ok+`,"expires":-1}`, `"expires"`)
	f(`{`+ok+`,"landing_url":"javascript:x"}`, "landing_url")
	f(`{`+ok+`} {}`, "more text")
	f(`{`+ok, "line 2")
	f(`[1]`, "not a JSON object")
	f(`x`, "not a JSON object")
	f(`{"x":`+strings.Repeat(" ", maxSpecLine), "too long")
	stop := errors.New("stop")
	if err := ReadSpecs(strings.NewReader("{"+ok+"}"), time.Now(), func(*proto.Token) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v, want the caller's error", err)
	}
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.json")
	if _, err := LoadKeyring(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("load of nothing: %v", err)
	}
	made, err := CreateKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := CreateKeyring(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second create: %v", err)
	}
	loaded, err := LoadKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	var got proto.Token
	if err := loaded.Verify(&got, made.Sign(nil, sample())); err != nil {
		t.Errorf("the loaded keys do not verify: %v", err)
	}
	if loaded.CurrentID() != made.CurrentID() {
		t.Errorf("current key %s, want %s", loaded.CurrentID(), made.CurrentID())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v left behind, %v", entries, err)
	}
	f := func(text, want string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKeyring(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	long := base64.StdEncoding.EncodeToString(randomBytes(32))
	short := base64.StdEncoding.EncodeToString(randomBytes(31))
	key := func(id, secret string) string { return `{"id":"` + id + `","secret":"` + secret + `"}` }
	f(`{"current":"a","keys":[`+key("a", short)+`]}`, "31 bytes")
	f(`{"current":"a","keys":[`+key("a", "???")+`]}`, "base64")
	f(`{"current":"b","keys":[`+key("a", long)+`]}`, `"b" is not among`)
	f(`{"current":"a","keys":[]}`, "not among")
	f(`{"current":"a","keys":[`+key("a", long)+`,`+key("a", long)+`]}`, "twice")
	f(`{"current":"a b","keys":[`+key("a b", long)+`]}`, "key id")
	f(`{"current":"a","keys":[`+key("a", long)+`],"more":1}`, "more")
	f(`{"current":"a","keys":[`+key("a", long)+`]} x`, "more text")
	f(`x`, "invalid character")
}
