// Package dashboard holds the pages that query serves to people: static files,
// embedded, that ask the same API as everybody else.
//
// Nothing is fetched from elsewhere and nothing is built: static/ is what the
// browser reads. The chart library in static/vendor comes from npm ("make tag"
// copies and checks it). The Content-Security-Policy allows scripts and styles
// of this server only.
package dashboard

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
)

//go:embed static
var static embed.FS

// Pages are the paths at which the dashboard answers, beside the front page.
var Pages = []string{"/finance", "/operator", "/doctor"}

// Dashboard serves the pages and what they load.
type Dashboard struct {
	files  map[string]*file
	policy string
}

// file is a file as it is sent.
type file struct {
	kind, etag    string
	plain, packed []byte
}

// beaconMark stands in the page for the URL of the beacons.
const beaconMark = "{{beacon-url}}"

// New returns a Dashboard. beaconURL is where pages send beacons, for the tag
// doctor; empty turns that off.
func New(beaconURL string) *Dashboard {
	d := &Dashboard{files: make(map[string]*file)}
	connect := "'self'"
	if u, err := url.Parse(beaconURL); err == nil && u.Host != "" {
		connect += " " + u.Scheme + "://" + u.Host
	}
	d.policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src " + connect +
		"; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
	err := fs.WalkDir(static, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := static.ReadFile(name)
		if err != nil {
			return err
		}
		if path.Ext(name) == ".html" {
			text = bytes.ReplaceAll(text, []byte(beaconMark), []byte(html.EscapeString(beaconURL)))
		}
		d.files[strings.TrimPrefix(name, "static/")] = newFile(name, text)
		return nil
	})
	if err != nil {
		panic("BUG: embedded files cannot be read: " + err.Error())
	}
	return d
}

func newFile(name string, text []byte) *file {
	sum := sha256.Sum256(text)
	f := &file{kind: mime.TypeByExtension(path.Ext(name)), plain: text, etag: hex.EncodeToString(sum[:8])}
	if path.Ext(name) == ".js" { // the system's own table may say otherwise
		f.kind = "text/javascript; charset=utf-8"
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(text)
	}
	if err != nil || w.Close() != nil {
		panic("BUG: gzip in memory fails")
	}
	f.packed = packed.Bytes()
	return f
}

// ServePage answers with the page, which finds out by its path what to show.
func (d *Dashboard) ServePage(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", d.policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	d.serve(w, r, "index.html")
}

// ServeAsset answers with a file of the page, whose name is the path value
// "file".
func (d *Dashboard) ServeAsset(w http.ResponseWriter, r *http.Request) {
	d.serve(w, r, r.PathValue("file"))
}

// serve answers with a file. Browsers keep it and ask each time whether it is
// still current: the files of one page must be of one version.
func (d *Dashboard) serve(w http.ResponseWriter, r *http.Request, name string) {
	f := d.files[name]
	if f == nil {
		http.NotFound(w, r)
		return
	}
	body, etag := f.plain, `"`+f.etag+`"`
	h := w.Header()
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		body, etag = f.packed, `"`+f.etag+`-gzip"`
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", etag)
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	if strings.Contains(r.Header.Get("If-None-Match"), etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the client may be gone
}
