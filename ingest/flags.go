package ingest

import "bytes"

// speculative reports whether the value of a purpose header is that of a
// request for a page that nobody looks at yet.
func speculative(purpose []byte) bool {
	for _, word := range [...]string{"prefetch", "prerender", "preview"} {
		if containsFold(purpose, word) {
			return true
		}
	}
	return false
}

// containsFold reports whether text holds word, which is lower case, in any
// case.
func containsFold(text []byte, word string) bool {
	for i := 0; i+len(word) <= len(text); i++ {
		if bytes.EqualFold(text[i:i+len(word)], []byte(word)) {
			return true
		}
	}
	return false
}

// mayHoldMacro tells most texts without a macro at the cost of a few searches.
func mayHoldMacro(text []byte) bool {
	return bytes.IndexByte(text, '%') >= 0 || bytes.IndexByte(text, '[') >= 0 || bytes.IndexByte(text, '$') >= 0
}

// holdsMacro reports whether text holds ${NAME}, [NAME] or %%NAME%%.
func holdsMacro(text []byte) bool { return len(findMacro(text)) > 0 }

// findMacro returns the first macro in text, or nil.
func findMacro(text []byte) []byte {
	if !mayHoldMacro(text) {
		return nil
	}
	for i := range text {
		rest, n := text[i:], 0
		switch {
		case rest[0] == '[':
			n = macroEnd(rest, 1, "]")
		case bytes.HasPrefix(rest, []byte("${")):
			n = macroEnd(rest, 2, "}")
		case bytes.HasPrefix(rest, []byte("%%")):
			n = macroEnd(rest, 2, "%%")
		}
		if n > 0 {
			return rest[:n]
		}
	}
	return nil
}

// maxMacro is the longest name of a macro; it keeps the search linear.
const maxMacro = 64

// macroEnd returns the length of the macro that text begins with, or 0: its name
// follows begin bytes and goes on to end. Names begin with a letter: [0] and []
// are indexes, not macros.
func macroEnd(text []byte, begin int, end string) int {
	name := text[begin:]
	n := bytes.Index(name[:min(len(name), maxMacro+len(end))], []byte(end))
	if n <= 0 || !isLetter(name[0]) {
		return 0
	}
	for _, c := range name[:n] {
		if !isLetter(c) && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' && c != ':' {
			return 0
		}
	}
	return begin + n + len(end)
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
