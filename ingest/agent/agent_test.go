package agent

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

func TestNames(t *testing.T) {
	p := newParser(t)
	f := func(ua, device, system, browser string) {
		t.Helper()
		want := Verdict{Device: device, OS: system, Browser: browser}
		if got := p.Parse([]byte(ua)); got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", ua, got, want)
		}
	}
	const webKit = " AppleWebKit/605.1.15 (KHTML, like Gecko) "
	// Phones, tablets and desktops.
	f("Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X)"+webKit+"Version/26.6.1 Mobile/15E148 Safari/604.1", "mobile", "ios", "safari")
	f("Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X)"+webKit+"CriOS/154.0.8037.55 Mobile/15E148 Safari/604.1", "mobile", "ios", "chrome")
	f("Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X)"+webKit+"FxiOS/140.0 Mobile/15E148 Safari/605.1.15", "mobile", "ios", "firefox")
	f("Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X)"+webKit+"EdgiOS/140.0 Version/18.0 Mobile/15E148 Safari/604.1", "mobile", "ios", "edge")
	f("Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X)"+webKit+"GSA/439.4.980558000 Mobile/15E148 Safari/604.1", "mobile", "ios", "google")
	f("Mozilla/5.0 (iPad; CPU OS 17_6_1 like Mac OS X)"+webKit+"Version/17.6 Mobile/15E148 Safari/604.1", "tablet", "ios", "safari")
	f("Mozilla/5.0 (iPod touch; CPU iPhone OS 12_0 like Mac OS X)"+webKit+"Version/12.0 Mobile/15E148 Safari/604.1", "mobile", "ios", "safari")
	f("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/152.0.0.0 Mobile Safari/537.36", "mobile", "android", "chrome")
	f("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/152.0.0.0 Safari/537.36", "tablet", "android", "chrome")
	f("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36", "mobile", "android", "samsung")
	f("Mozilla/5.0 (Android 14; Mobile; rv:131.0) Gecko/131.0 Firefox/131.0", "mobile", "android", "firefox")
	f("Mozilla/5.0 (Android 14; Tablet; rv:131.0) Gecko/131.0 Firefox/131.0", "tablet", "android", "firefox")
	f("Mozilla/5.0 (Linux; Android 9; KFTRWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/128.4.2 like Chrome/128.0.6613.170 Safari/537.36", "tablet", "android", "silk")
	f("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/153.0.0.0 Safari/537.36 Edg/153.0.0.0", "desktop", "windows", "edge")
	f("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:156.0) Gecko/20100101 Firefox/156.0", "desktop", "windows", "firefox")
	f("Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko", "desktop", "windows", "ie")
	f("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"+webKit+"Version/26.6.2 Safari/605.1.15", "desktop", "macos", "safari")
	f("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"+webKit+"Version/17.6 Mobile/15E148 Safari/604.1", "tablet", "ios", "safari")
	f("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/152.0.0.0 Safari/537.36", "desktop", "chromeos", "chrome")
	f("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/152.0.0.0 Safari/537.36 OPR/120.0.0.0", "desktop", "linux", "opera")
	f("Mozilla/5.0 (X11; FreeBSD amd64; rv:128.0) Gecko/20100101 Firefox/128.0", "desktop", "bsd", "firefox")
	f("Mozilla/5.0 (Mobile; Nokia_8110_4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5", "mobile", "kaios", "firefox")
	f("Mozilla/5.0 (Phone; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36 ArkWeb/4.1.6.1 Mobile", "mobile", "harmonyos", "huawei")
	f("Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/29.3709; U; en) Presto/2.8.119 Version/11.10", "mobile", "java", "opera mini")
	// Web views in apps.
	f("Mozilla/5.0 (Linux; Android 14; SM-S911B Build/UP1A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/130.0.0.0 Mobile Safari/537.36", "mobile", "android", "webview")
	f("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148", "mobile", "ios", "webview")
	f("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)"+webKit+"Mobile/15E148 [FBAN/FBIOS;FBAV/470.1.0.35.108;FBBV/621045338;FBDV/iPhone14,5;FBMD/iPhone;FBSN/iOS;FBSV/17.5;FBSS/3;FBID/phone;FBLC/en_US;FBOP/5]", "mobile", "ios", "facebook")
	f("Mozilla/5.0 (Linux; Android 16; Pixel 10; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/146.0.7680.174 Mobile Safari/537.36 MetaIAB Facebook", "mobile", "android", "facebook")
	f("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)"+webKit+"Mobile/15E148 Instagram 334.0.0.29.90 (iPhone13,2; iOS 17_5; en_US; en; scale=3.00; 1170x2532; 601893498)", "mobile", "ios", "instagram")
	f("Mozilla/5.0 (Linux; Android 13; SM-A536B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/124.0 Mobile Safari/537.36 trill_340403 BytedanceWebview/d8a21c6", "mobile", "android", "tiktok")
	f("Mozilla/5.0 (Linux; Android 12; V2055A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/86.0.4240.99 XWEB/4317 MMWEBSDK/20220903 Mobile Safari/537.36 MMWEBID/1 MicroMessenger/8.0.28.2240", "mobile", "android", "wechat")
	// TVs.
	f("Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.5) AppleWebKit/537.36 (KHTML, like Gecko) 85.0.4183.93/6.5 TV Safari/537.36", "tv", "tizen", "samsung")
	f("Mozilla/5.0 (Linux; Tizen 2.3; SmartHub; SMART-TV; SmartTV; U; Maple2012) AppleWebKit/538.1+ (KHTML, like Gecko) TV Safari/538.1+", "tv", "tizen", "samsung")
	f("Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/94.0.4606.128 Safari/537.36 WebAppManager", "tv", "webos", "webos")
	f("Mozilla/5.0 (Linux; Android 9; AFTMM Build/PS7242; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/110.0.5481.154 Mobile Safari/537.36", "tv", "android", "webview")
	f("Mozilla/5.0 (Linux; Android 10; BRAVIA 4K UR2 Build/PTT1.190515.001.S64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/78.0.3904.96 Safari/537.36", "tv", "android", "chrome")
	f("Mozilla/5.0 (X11; Linux armv7l) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/90.0.4430.225 Safari/537.36 CrKey/1.56.500000", "tv", "chromecast", "chrome")
	f("Roku/DVP-12.5 (12.5.0.4178-C2)", "tv", "roku", "roku")
	f("AppleCoreMedia/1.0.0.20L563 (Apple TV; U; CPU OS 16_5 like Mac OS X; en_us)", "tv", "tvos", "app")
	// Consoles.
	f("Mozilla/5.0 (PlayStation; PlayStation 5/6.00) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/14.0 Safari/605.1.15", "console", "playstation", "playstation")
	f("Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox Series X) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/110.0.0.0 Safari/537.36 Edge/44.18363.8131", "console", "xbox", "edge")
	f("Mozilla/5.0 (Nintendo Switch; WifiWebAuthApplet) AppleWebKit/606.4 (KHTML, like Gecko) NF/6.0.1.15.4 NintendoBrowser/5.1.0.20393", "console", "nintendo", "nintendo")
	// What systems give to apps.
	f("Dalvik/2.1.0 (Linux; U; Android 13; SM-G991B Build/TP1A.220624.014)", "mobile", "android", "app")
	f("ExampleApp/541 CFNetwork/1410.0.3 Darwin/22.6.0", "mobile", "ios", "app")
	f("ExampleApp/541 CFNetwork/1240.0.4 Darwin/20.6.0 (x86_64)", "desktop", "macos", "app")
}

func TestNoBrowsers(t *testing.T) {
	p := newParser(t)
	for _, ua := range []string{
		"", " ", "-", "null", "undefined", "Mozilla", "Mozilla/5.0", "Mozilla/4.0", "Mozilla/5.0 (compatible)", "mozilla/5.0 (windows nt 10.0)",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "Mozilla/5.0 (X11; Linux x86_64)", "Chrome/152.0", "Safari", "Windows NT 10.0",
		"curl/8.7.1", "Wget/1.24.5", "python-requests/2.32.3", "Python/3.12 aiohttp/3.9.5", "okhttp/4.12.0", "Go-http-client/2.0",
		"Java/17.0.1", "libwww-perl/6.77", "axios/1.7.2", "node", "undici", "PostmanRuntime/7.39.0", "Ruby", "PHP/8.3", "Faraday v2.9.0",
		"reqwest/0.12", "insomnia/9.2.0", "HTTPie/3.2.2", "k6/0.51.0", "Apache-HttpClient/4.5.14 (Java/17)", "VLC/3.0.20 LibVLC/3.0.20",
		"com.example.app/1.2.3", "ExampleApp/1.0", "${USER_AGENT}", "<script>", "\x00\x01\xff", strings.Repeat("A", 4096),
	} {
		if v := p.Parse([]byte(ua)); !v.NonBrowser {
			t.Errorf("%.60q is a browser: %+v", ua, v)
		}
	}
}

func TestCrawlers(t *testing.T) {
	p := newParser(t)
	const phone = "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Mobile Safari/537.36"
	if v := p.Parse([]byte(phone + " (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")); !v.Crawler || v.Device != Bot || v.Browser != "chrome" {
		t.Errorf("Googlebot: %+v", v)
	}
	if v := p.Parse([]byte(phone)); v.Crawler || v.NonBrowser || v.Device != Mobile {
		t.Errorf("the phone that Googlebot pretends to be: %+v", v)
	}
	list := p.List()
	if list.Name() != "crawler-user-agents" || list.Version() != listVersion || list.Len() < 1000 {
		t.Errorf("list is %s %s with %d patterns", list.Name(), list.Version(), list.Len())
	}
}

// Every text is tested as all expressions of the list, one by one, would.
func TestMatcherIsTheList(t *testing.T) {
	p := newParser(t)
	var all []string
	for _, c := range crawlers(t) {
		if c.Pattern != exceptions[0] {
			all = append(all, "(?:"+c.Pattern+")")
		}
	}
	whole := regexp.MustCompile(strings.Join(all, "|"))
	check := func(ua string) {
		if got, want := p.List().Match([]byte(ua)), whole.MatchString(ua); got != want {
			t.Errorf("%q: got %t, want %t", ua, got, want)
		}
	}
	for i, c := range crawlers(t) {
		for _, instance := range c.Instances {
			if i%31 == 0 {
				check(instance)
				check(instance[1:])
				check(strings.ToLower(instance))
				check(instance[:len(instance)/2])
			}
		}
	}
	for i, b := range browsers(t) {
		if i%200 == 0 {
			check(b.agent)
		}
	}
}

func TestLoadList(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "robots.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	list, err := LoadList(write(`[{"pattern":"Foo\\/"},{"pattern":"[bB]ar"},{"pattern":"^x$"},{"pattern":"(?i)abc"},{"pattern":"one|two"}]`))
	if err != nil {
		t.Fatal(err)
	}
	if list.Name() != "robots.json" || len(list.Version()) != 12 || list.Len() != 5 {
		t.Errorf("got list %s %s with %d patterns", list.Name(), list.Version(), list.Len())
	}
	for ua, want := range map[string]bool{
		"Foo/1": true, "a Foo/": true, "Foo": false, "foo/": false, "Bar": true, "bar": true, "BAR": false,
		"x": true, "xx": false, "ABC": true, "nine": false, "one": true, "a two": true, "": false, "Fo": false,
	} {
		if got := list.Match([]byte(ua)); got != want {
			t.Errorf("%q: got %t, want %t", ua, got, want)
		}
	}
	for _, bad := range []string{"", "[]", "{}", `[{"pattern":""}]`, `[{"instances":[]}]`, `[{"pattern":"("}]`, `[{"pattern":"a"},`, `[{"pattern":"(?=x)"}]`, `[{"pattern":"(?:)"}]`} {
		if _, err := LoadList(write(bad)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
	if _, err := LoadList(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a list that is not there was read")
	}
}

// What the list says of an entry without one applies: every pattern of the
// embedded list is in the form that the loader knows.
func TestEmbeddedListIsWhole(t *testing.T) {
	var raw []map[string]any
	if err := json.Unmarshal(embeddedList, &raw); err != nil {
		t.Fatal(err)
	}
	if got, want := newParser(t).List().Len(), len(raw)-len(exceptions); got != want {
		t.Errorf("the list has %d patterns, want %d", got, want)
	}
}

// The version of the known browsers names the release of the library in use.
func TestBrowsersVersion(t *testing.T) {
	modules, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, version := newParser(t).BrowserList()
	release, _, _ := strings.Cut(version, "+")
	if !bytes.Contains(modules, []byte("medama-io/go-useragent v"+release+"\n")) && !bytes.Contains(modules, []byte("medama-io/go-useragent v"+release+" ")) {
		t.Errorf("go.mod has another release of medama-io/go-useragent than %s", release)
	}
}

func TestLongAgents(t *testing.T) {
	p := newParser(t)
	ua := []byte("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/153.0.0.0 Safari/537.36 ")
	long := append(bytes.Clone(ua), bytes.Repeat([]byte("x"), 1<<20)...)
	if got, want := p.Parse(long), p.Parse(ua); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestConcurrentUse(t *testing.T) {
	p := newParser(t)
	all := browsers(t)
	want := make([]Verdict, len(all))
	for i, b := range all {
		want[i] = p.parse([]byte(b.agent))
	}
	var wg sync.WaitGroup
	for start := range 4 {
		wg.Go(func() {
			for i := range all {
				k := (i + start*1000) % len(all)
				if got := p.Parse([]byte(all[k].agent)); got != want[k] {
					t.Errorf("%s: got %+v, want %+v", all[k].agent, got, want[k])
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestRememberedAgentsDoNotAllocate(t *testing.T) {
	p := newParser(t)
	ua := []byte(browsers(t)[0].agent)
	p.Parse(ua)
	if n := testing.AllocsPerRun(1000, func() { p.Parse(ua) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	p := newParser(f)
	for i, b := range browsers(f) {
		if i%50 == 0 {
			f.Add([]byte(b.agent))
		}
	}
	f.Add([]byte("Roku/DVP-12.5"))
	f.Add([]byte("\xff\xfe"))
	f.Fuzz(func(t *testing.T, ua []byte) {
		v := p.Parse(ua)
		if again := p.parse(ua[:min(len(ua), MaxLength)]); again != v {
			t.Fatalf("%+v, then %+v", v, again)
		}
		if v.Device == "" || v.OS == "" || v.Browser == "" || v.Crawler != (v.Device == Bot) {
			t.Fatalf("%+v", v)
		}
	})
}
