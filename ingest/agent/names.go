package agent

import (
	"strings"

	"github.com/medama-io/go-useragent/agents"
)

// rule names what an agent that holds a marker is. Empty names are left to later
// rules and to the library.
type rule struct{ marker, device, os, browser string }

// rules are applied in order; the first that gives a name decides on it.
var rules = [...]rule{
	// Apps with a browser of their own. Their agents hold that of the system's
	// web view too.
	{"FBAN/Messenger", "", "", "messenger"},
	{"FBAN/", "", "", "facebook"},
	{"FBAV/", "", "", "facebook"},
	{"FB_IAB/", "", "", "facebook"},
	{"MetaIAB Facebook", "", "", "facebook"},
	{"Instagram ", "", "", "instagram"},
	{"Barcelona ", "", "", "threads"},
	{"musical_ly", "", "", "tiktok"},
	{"BytedanceWebview", "", "", "tiktok"},
	{"trill_", "", "", "tiktok"},
	{"Snapchat/", "", "", "snapchat"},
	{"Pinterest/", "", "", "pinterest"},
	{"LinkedInApp", "", "", "linkedin"},
	{"Twitter for ", "", "", "twitter"},
	{"TwitterAndroid", "", "", "twitter"},
	{"Reddit/", "", "", "reddit"},
	{" Line/", "", "", "line"},
	{"KAKAOTALK", "", "", "kakaotalk"},
	{"NAVER(", "", "", "naver"},
	{"MicroMessenger/", "", "", "wechat"},
	{"baiduboxapp/", "", "", "baidu"},
	{"GSA/", "", "", "google"},

	// Browsers that the library takes for another.
	{"DuckDuckGo/", "", "", "duckduckgo"},
	{"Ddg/", "", "", "duckduckgo"},
	{"Brave/", "", "", "brave"},
	{"Silk/", "", "", "silk"},
	{"UCBrowser/", "", "", "uc"},
	{"UCWEB/", Mobile, "", "uc"},
	{"MiuiBrowser/", "", "", "miui"},
	{"HuaweiBrowser/", "", "", "huawei"},
	{"ArkWeb/", "", "", "huawei"},
	{"HeyTapBrowser/", "", "", "heytap"},
	{"VivoBrowser/", "", "", "vivo"},
	{"QQBrowser/", "", "", "qq"},
	{"Whale/", "", "", "whale"},
	{"Puffin/", "", "", "puffin"},
	{"Konqueror/", "", "", "konqueror"},
	{"Opera Mini/", Mobile, "", "opera mini"},
	{"Focus/", "", "", "firefox"},
	{"Klar/", "", "", "firefox"},
	{"Trident/", "", "", "ie"},

	// Consoles.
	{"PlayStation", Console, "playstation", "playstation"},
	{"PLAYSTATION", Console, "playstation", "playstation"},
	{"Nintendo", Console, "nintendo", "nintendo"},
	{"Xbox", Console, "xbox", ""},
	{"XBOX", Console, "xbox", ""},

	// TVs and what is plugged into them.
	{"Roku", TV, "roku", "roku"},
	{"Web0S", TV, "webos", "webos"},
	{"webOS.TV", TV, "webos", "webos"},
	{"NetCast", TV, "netcast", "netcast"},
	{"VIDAA", TV, "vidaa", "vidaa"},
	{"Viera", TV, "viera", "viera"},
	{"AppleTV", TV, "tvos", ""},
	{"Apple TV", TV, "tvos", ""},
	{"tvOS", TV, "tvos", ""},
	{"CrKey", TV, "chromecast", ""},
	{"SMART-TV", TV, "", ""},
	{"SmartTV", TV, "", ""},
	{"Smart-TV", TV, "", ""},
	{"Smart TV", TV, "", ""},
	{"HbbTV", TV, "", ""},
	{"GoogleTV", TV, "", ""},
	{"Google TV", TV, "", ""},
	{"Android TV", TV, "", ""},
	{"AndroidTV", TV, "", ""},
	{"BRAVIA", TV, "", ""},
	{"PhilipsTV", TV, "", ""},
	{"MiTV", TV, "", ""},
	{"MIBOX", TV, "", ""},
	{"; AFT", TV, "", ""}, // the models of Amazon's Fire TV
	{" OMI/", TV, "", ""}, // Opera for TVs
	{"Large Screen", TV, "", ""},

	// Systems that the library takes for another.
	{"Tizen", "", "tizen", "samsung"},
	{"HarmonyOS", "", "harmonyos", ""},
	{"OpenHarmony", Mobile, "harmonyos", ""},
	{"KAIOS/", Mobile, "kaios", ""},
	{"Windows Phone", Mobile, "windows phone", ""},
	{"BlackBerry", Mobile, "blackberry", "blackberry"},
	{"BB10", Mobile, "blackberry", "blackberry"},
	{"PlayBook", Tablet, "blackberry", "blackberry"},
	{"Symbian", Mobile, "symbian", "symbian"},
	{"SymbOS", Mobile, "symbian", "symbian"},
	{"Series60", Mobile, "symbian", "symbian"},
	{"J2ME/MIDP", Mobile, "java", ""},
	{"FreeBSD", Desktop, "bsd", ""},
	{"OpenBSD", Desktop, "bsd", ""},
	{"NetBSD", Desktop, "bsd", ""},
	{"Kindle", Tablet, "", ""},
	{"iPod", Mobile, "ios", ""},

	// Apps that send what the system gives them.
	{"Dalvik/", Mobile, "", "app"},
	{"AppleCoreMedia/", "", "", "app"},
}

var browserNames = map[agents.Browser]string{
	agents.BrowserAndroid: "android", agents.BrowserChrome: "chrome", agents.BrowserEdge: "edge",
	agents.BrowserFirefox: "firefox", agents.BrowserIE: "ie", agents.BrowserOpera: "opera",
	agents.BrowserOperaMini: "opera mini", agents.BrowserSafari: "safari", agents.BrowserVivaldi: "vivaldi",
	agents.BrowserSamsung: "samsung", agents.BrowserFalkon: "falkon", agents.BrowserNintendo: "nintendo",
	agents.BrowserYandex: "yandex",
}

const (
	ios     = "ios"
	android = "android"
	macos   = "macos"
)

var osNames = map[agents.OS]string{
	agents.OSAndroid: android, agents.OSChromeOS: "chromeos", agents.OSIOS: ios, agents.OSLinux: "linux",
	agents.OSOpenBSD: "bsd", agents.OSMacOS: macos, agents.OSWindows: "windows",
}

var deviceNames = map[agents.Device]string{
	agents.DeviceDesktop: Desktop, agents.DeviceMobile: Mobile, agents.DeviceTablet: Tablet, agents.DeviceTV: TV,
}

// name returns the names in an agent, empty where none is known.
func (p *Parser) name(ua string) (v Verdict) {
	if apple(ua, &v) {
		return v
	}
	for i := range rules {
		if r := &rules[i]; strings.Contains(ua, r.marker) {
			fill(&v, r.device, r.os, r.browser)
		}
	}
	base := p.names.Parse(ua)
	// An iPad that asks for the desktop's page says Macintosh, but no Mac says
	// Mobile.
	if base.OS() == agents.OSMacOS && strings.Contains(ua, " Mobile/") {
		fill(&v, Tablet, ios, "")
	}
	if v.Browser == "" && webView(ua) {
		v.Browser = "webview"
	}
	// Phones with Android say Mobile, and tablets do not.
	if base.OS() == agents.OSAndroid && !strings.Contains(ua, "Mobi") {
		fill(&v, Tablet, "", "")
	}
	fill(&v, deviceNames[base.Device()], osNames[base.OS()], browserNames[base.Browser()])
	if v.Device == "" {
		v.Device = usualDevice(v.OS)
	}
	return v
}

// fill sets the names that are not known yet.
func fill(v *Verdict, device, os, browser string) {
	if v.Device == "" {
		v.Device = device
	}
	if v.OS == "" {
		v.OS = os
	}
	if v.Browser == "" {
		v.Browser = browser
	}
}

// apple names the agent that Apple's systems give to apps:
// Name/1.0 CFNetwork/1410.0.3 Darwin/22.6.0. Macs with Intel add (x86_64).
func apple(ua string, v *Verdict) bool {
	if !strings.Contains(ua, " CFNetwork/") || !strings.Contains(ua, " Darwin/") {
		return false
	}
	*v = Verdict{Device: Mobile, OS: ios, Browser: "app"}
	if strings.Contains(ua, "(x86_64)") || strings.Contains(ua, "Mac") {
		v.Device, v.OS = Desktop, macos
	}
	return true
}

// webView reports whether the agent is of a web view inside an app: Android says
// so, on iOS it has no Safari.
func webView(ua string) bool {
	return strings.Contains(ua, "; wv)") ||
		strings.Contains(ua, " like Mac OS X) AppleWebKit/") && !strings.Contains(ua, " Safari/")
}

func usualDevice(os string) string {
	switch os {
	case ios, android, "harmonyos":
		return Mobile
	case "windows", macos, "linux", "chromeos", "bsd":
		return Desktop
	case "tizen":
		return TV
	default:
		return ""
	}
}
