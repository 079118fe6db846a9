package agent

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func newParser(tb testing.TB) *Parser {
	tb.Helper()
	list, err := EmbeddedList()
	if err != nil {
		tb.Fatal(err)
	}
	p, err := New(list, 8192)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// listed is one crawler of the embedded list.
type listed struct {
	Pattern   string   `json:"pattern"`
	Instances []string `json:"instances"`
}

func crawlers(tb testing.TB) (all []listed) {
	tb.Helper()
	if err := json.Unmarshal(embeddedList, &all); err != nil {
		tb.Fatal(err)
	}
	return all
}

// browser is an agent of the corpus, and the kind of device that its source
// gives.
type browser struct{ device, agent string }

func browsers(tb testing.TB) (all []browser) {
	tb.Helper()
	file, err := os.Open("testdata/browsers.tsv.gz")
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		tb.Fatal(err)
	}
	lines := bufio.NewScanner(zip)
	for lines.Scan() {
		device, agent, _ := strings.Cut(lines.Text(), "\t")
		all = append(all, browser{device, agent})
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return all
}
