package query

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestCSVGuard(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := string(appendCSVText(nil, text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	f("", "")
	f("US", "US")
	f("a,b", `"a,b"`)
	f(`say "a"`, `"say ""a"""`)
	f("a\r\nb", "\"a\r\nb\"")
	f(" a", `" a"`)
	f(`=cmd|'/C calc'!A0`, `'=cmd|'/C calc'!A0`)
	f("+1", "'+1")
	f("-1+1", "'-1+1")
	f("@SUM(1,2)", `"'@SUM(1,2)"`)
	f("\t=1", "'\t=1")
	f("\r=1", "\"'\r=1\"")
	f("\x00=1", "'\x00=1")
	f(" =1", "' =1")
	f("＝1", "'＝1")
	f("a=1", "a=1")
}

func FuzzCSVText(f *testing.F) {
	for _, seed := range []string{"a", "=1", "\r", "a\nb", `"`, " x ", "\ufeff=1", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		line := string(appendCSVText(appendCSVText(nil, text), "")) + ",end\r\n"
		reader := csv.NewReader(strings.NewReader(line))
		record, err := reader.Read()
		if err != nil {
			t.Fatalf("%q is no CSV: %v", line, err)
		}
		want := strings.ReplaceAll(text, "\r\n", "\n") // csv.Reader reads these as \n
		if got := record[0]; got != want && got != "'"+want {
			t.Fatalf("%q comes back as %q", text, got)
		}
		if first := record[0]; first != "" && strings.ContainsAny(first[:1], "=+-@\t\r\x00") {
			t.Fatalf("%q begins a formula", first)
		}
	})
}

func FuzzJSONString(f *testing.F) {
	for _, seed := range []string{"", `"\`, "\x00\x1f", "\xff", "é漢😀", "\u2028"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var got string
		if err := json.Unmarshal(appendJSONString(nil, text), &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if want := strings.ToValidUTF8(text, "\ufffd"); strings.ToValidUTF8(got, "") != got || len([]rune(got)) < len([]rune(want)) {
			t.Fatalf("%q comes back as %q", text, got)
		}
	})
}

func TestNegotiate(t *testing.T) {
	f := func(accept, want string) {
		t.Helper()
		got, ok := negotiate(strings.Split(accept, "|"))
		if !ok {
			got = "none"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", accept, got, want)
		}
	}
	f("", formatJSON)
	f("*/*", formatJSON)
	f("application/json", formatJSON)
	f("text/csv", formatCSV)
	f("text/*", formatCSV)
	f("TEXT/CSV; charset=utf-8", formatCSV)
	f("text/html, application/xhtml+xml, */*;q=0.8", formatJSON)
	f("application/json;q=0.5, text/csv", formatCSV)
	f("application/json;q=0.5|text/csv;q=0.9", formatCSV)
	f("application/json;q=0, */*", formatCSV)
	f("application/vnd.apache.arrow.stream", "none")
	f("text/csv;q=0", "none")
	f(";;;", "none")
}

func TestLimiter(t *testing.T) {
	l := newLimiter(2)
	first, second, third := l.enter("a"), l.enter("a"), l.enter("a")
	if !first || !second || third {
		t.Error("a key has its share and no more")
	}
	if !l.enter("b") {
		t.Error("another key has its own share")
	}
	l.leave("a")
	if !l.enter("a") || l.total() != 3 {
		t.Error("a report that ended makes room")
	}
	for _, key := range []string{"a", "a", "b"} {
		l.leave(key)
	}
	if l.total() != 0 || len(l.running) != 0 {
		t.Error("nothing stays behind")
	}
}

// A read-only user may not send settings, and clickhouse-go makes one of every
// deadline it can see.
func TestWithTimeoutShowsNoDeadline(t *testing.T) {
	ctx, cancel := withTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, ok := ctx.Deadline(); ok {
		t.Error("the context has a deadline")
	}
	<-ctx.Done()
}
