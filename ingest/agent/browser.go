package agent

import "bytes"

// browsersVersion names the state of the known browsers: the release of
// medama-io/go-useragent and the number of changes to the tables here.
const browsersVersion = "1.1.0+1"

// systemAgents begin the agents that devices give to apps which bring none of
// their own; Apple's are recognised by apple.
var systemAgents = [...][]byte{[]byte("Dalvik/"), []byte("AppleCoreMedia/"), []byte("Roku/")}

// knownBrowser reports whether a known browser sends agents like ua, by the
// names in it.
func knownBrowser(ua []byte, named *Verdict) bool {
	if named.Browser == "" || named.OS == "" {
		return false
	}
	if bytes.HasPrefix(ua, []byte("Mozilla/")) || bytes.HasPrefix(ua, []byte("Opera/")) {
		return true
	}
	for _, prefix := range systemAgents {
		if bytes.HasPrefix(ua, prefix) {
			return true
		}
	}
	return bytes.Contains(ua, []byte(" CFNetwork/"))
}
