package ingest

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"github.com/adtally/adtally/proto"
)

// requestChecks are the checks of the request that a browser or an app sent.
// Nothing is dropped for them: the event counts as gross, not as net.
var requestChecks = [...]func(*fasthttp.RequestCtx) proto.Flag{prefetched, unexpanded}

// requestFlags returns what all checks say of a request.
func requestFlags(ctx *fasthttp.RequestCtx) proto.Flag {
	var flags proto.Flag
	for _, check := range requestChecks {
		flags |= check(ctx)
	}
	return flags
}

// prefetched flags requests for a page that nobody looks at yet.
func prefetched(ctx *fasthttp.RequestCtx) proto.Flag {
	h := &ctx.Request.Header
	for _, name := range [...]string{"Sec-Purpose", "Purpose", "X-Moz", "X-Purpose"} {
		if value := h.Peek(name); len(value) > 0 && speculative(value) {
			return proto.FlagPrefetch
		}
	}
	return 0
}

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

// unexpanded flags requests whose URL holds a macro that nobody replaced.
func unexpanded(ctx *fasthttp.RequestCtx) proto.Flag {
	query := ctx.Request.URI().QueryString()
	if bytes.IndexByte(query, '%') < 0 && bytes.IndexByte(query, '[') < 0 && bytes.IndexByte(query, '$') < 0 {
		return 0
	}
	// %%NAME%% does not survive decoding (%NA is no escape, %CA is one), the
	// others may have come escaped.
	if holdsMacro(query) {
		return proto.FlagUnexpandedMacro
	}
	for _, value := range ctx.QueryArgs().All() {
		if holdsMacro(value) {
			return proto.FlagUnexpandedMacro
		}
	}
	return 0
}

// holdsMacro reports whether text holds ${NAME}, [NAME] or %%NAME%%.
func holdsMacro(text []byte) bool {
	for i := range text {
		rest := text[i:]
		switch {
		case rest[0] == '[' && macroName(rest[1:], "]"):
			return true
		case bytes.HasPrefix(rest, []byte("${")) && macroName(rest[2:], "}"):
			return true
		case bytes.HasPrefix(rest, []byte("%%")) && macroName(rest[2:], "%%"):
			return true
		}
	}
	return false
}

// maxMacro is the longest name of a macro; it keeps the search linear.
const maxMacro = 64

// macroName reports whether text begins with a name that ends at end. Names
// begin with a letter: [0] and [] are indexes, not macros.
func macroName(text []byte, end string) bool {
	n := bytes.Index(text[:min(len(text), maxMacro+len(end))], []byte(end))
	if n <= 0 || !isLetter(text[0]) {
		return false
	}
	for _, c := range text[:n] {
		if !isLetter(c) && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' && c != ':' {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
