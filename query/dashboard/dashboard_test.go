package dashboard

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, handler http.HandlerFunc, path, file string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	req.SetPathValue("file", file)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	handler(w, req)
	return w
}

func TestTransferIsSmall(t *testing.T) {
	t.Parallel()
	const limit = 300 << 10
	total := 0
	for _, f := range New("").files {
		total += len(f.packed)
	}
	if total >= limit {
		t.Errorf("the dashboard has %d bytes in gzip, want less than %d", total, limit)
	}
}

func TestPolicyAllowsNothingUnsafe(t *testing.T) {
	t.Parallel()
	d := New("https://b.example.com/x/")
	w := get(t, d.ServePage, "/", "")
	policy := w.Header().Get("Content-Security-Policy")
	if strings.Contains(policy, "unsafe") || !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "connect-src 'self' https://b.example.com;") {
		t.Errorf("policy %q", policy)
	}
	if !strings.Contains(w.Body.String(), `data-beacon-url="https://b.example.com/x/"`) {
		t.Errorf("page %s", w.Body)
	}
	// What the policy would block must not be there: inline scripts, styles and handlers.
	if inline := regexp.MustCompile(`(?i)<style|<script[^>]*>[^<]|\sstyle=|\son[a-z]+=|javascript:|https?://`).FindString(string(d.files["index.html"].plain[strings.Index(string(d.files["index.html"].plain), "<head>"):])); inline != "" {
		t.Errorf("the page has %q inline", inline)
	}
}

func TestEverythingThatThePageNamesIsThere(t *testing.T) {
	t.Parallel()
	d := New("")
	for name, f := range d.files {
		for _, ref := range regexp.MustCompile(`(?:"/assets/|from "\./)([^"]+)"`).FindAllStringSubmatch(string(f.plain), -1) {
			w := get(t, d.ServeAsset, "/assets/"+ref[1], ref[1])
			if w.Code != http.StatusOK {
				t.Errorf("%s names %s: %d", name, ref[1], w.Code)
			}
		}
	}
	for _, name := range []string{"", "nothing.js", "../dashboard.go"} {
		if w := get(t, d.ServeAsset, "/assets/"+name, name); w.Code != http.StatusNotFound {
			t.Errorf("%q: %d", name, w.Code)
		}
	}
}

func TestFilesAreCached(t *testing.T) {
	t.Parallel()
	d := New("")
	w := get(t, d.ServeAsset, "/assets/app.js", "app.js", "Accept-Encoding: gzip")
	etag := w.Header().Get("ETag")
	if w.Header().Get("Content-Encoding") != "gzip" || w.Header().Get("Content-Type") != "text/javascript; charset=utf-8" || etag == "" {
		t.Errorf("headers %v", w.Header())
	}
	w = get(t, d.ServeAsset, "/assets/app.js", "app.js", "Accept-Encoding: gzip", "If-None-Match: "+etag)
	if w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("again: %d with %d bytes", w.Code, w.Body.Len())
	}
	if plain := get(t, d.ServeAsset, "/assets/app.js", "app.js").Header().Get("ETag"); plain == etag {
		t.Error("both encodings have one ETag")
	}
}
