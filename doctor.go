package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// visitorAgent is what the doctor calls itself unless told otherwise: a tag is
// fetched by browsers, and ingest judges the agent of the request it gets.
const visitorAgent = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"

type doctorCmd struct {
	What string `arg:"" optional:"" help:"A beacon URL, a bare token or a body of events; - or nothing reads it from standard input."`

	Data      string `help:"Data directory of a running adtally run, to find its ingest." type:"path"`
	IngestURL string `help:"Address of ingest, instead of --data, such as http://127.0.0.1:8080." name:"ingest-url"`
	KeyFile   string `help:"File of an API key with scope ingest, for events without a token; with --data its admin key." type:"path" env:"-"`
	UserAgent string `help:"User agent to be judged by." default:"${visitor_agent}" env:"-"`
	Format    string `help:"text for people or json." enum:"text,json" default:"text" env:"-"`
}

// errSick is the exit of a doctor that found an event which would not count.
var errSick = errors.New("not everything would count as net traffic")

// Run says how ingest would read what it is given; nothing is counted.
func (c *doctorCmd) Run(ctx context.Context, e *env) error {
	what, err := c.read(e.stdin)
	if err != nil {
		return err
	}
	base, key, err := c.ingest()
	if err != nil {
		return err
	}
	if bare := !strings.ContainsAny(what, "/{[ \n"); bare {
		what = base + "/i/" + what
	}
	answer, err := c.ask(ctx, base, key, what)
	if err != nil {
		return err
	}
	var found diagnosed
	if err := json.Unmarshal(answer, &found); err != nil {
		return fmt.Errorf("read the doctor's answer: %w", err)
	}
	if c.Format == "json" {
		_, err = fmt.Fprintf(e.stdout, "%s\n", answer)
	} else {
		err = found.print(e.stdout)
	}
	if err == nil && !found.healthy() {
		err = errSick
	}
	return err
}

func (c *doctorCmd) read(stdin io.Reader) (string, error) {
	what := c.What
	if what == "" || what == "-" {
		text, err := io.ReadAll(stdin)
		if err != nil {
			return "", fmt.Errorf("read standard input: %w", err)
		}
		what = string(text)
	}
	if what = strings.TrimSpace(what); what == "" {
		return "", wrongUsage("doctor: give a beacon URL, a token or a body of events")
	}
	return what, nil
}

// ingest finds where to ask, and the key to ask with, which may be empty.
func (c *doctorCmd) ingest() (base, key string, err error) {
	base, keyFile := strings.TrimSuffix(c.IngestURL, "/"), c.KeyFile
	switch {
	case base == "" && c.Data == "":
		return "", "", wrongUsage("doctor: name the ingest: --data DIR of a running adtally run, or --ingest-url")
	case base == "":
		s, err := readState(c.Data)
		if err != nil {
			return "", "", err
		}
		base, keyFile = loopbackURL(s.Ports.Ingest)+strings.TrimSuffix(s.Prefix, "/"), cmp.Or(keyFile, adminKeyFile(c.Data))
	}
	if keyFile == "" {
		return base, "", nil
	}
	text, err := os.ReadFile(keyFile) //nolint:gosec // named by the caller
	if err != nil {
		return "", "", fmt.Errorf("read key: %w", err)
	}
	return base, strings.TrimSpace(string(text)), nil
}

// ask sends what to the doctor of ingest and returns its answer.
func (c *doctorCmd) ask(ctx context.Context, base, key, what string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/doctor", strings.NewReader(what))
	if err != nil {
		return nil, wrongUsage("doctor: %s", err)
	}
	req.Header.Set("Content-Type", "text/plain")
	req.Header.Set("User-Agent", c.UserAgent)
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the doctor of ingest: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the doctor's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var p struct{ Title, Detail, Field string }
		if json.Unmarshal(answer, &p) != nil || p.Title == "" {
			return nil, fmt.Errorf("ingest answers %s: %s", resp.Status, bytes.TrimSpace(answer))
		}
		return nil, fmt.Errorf("ingest answers %s: %s", resp.Status, strings.Join(present(p.Title, p.Field, p.Detail), ": "))
	}
	return answer, nil
}

// diagnosed is what of the doctor's answer is shown to people.
type diagnosed struct {
	Events []struct {
		Index                 int
		As                    string
		Counts                bool
		Reason, Field, Detail string
		Signature             string
		KeyID                 string `json:"key_id"`
		Token                 *struct{ Issued, Expires, State string }
		Event                 map[string]any
		Consent               *struct {
			Decision, Reason string
			Identifiers      bool
		}
		Flags   []struct{ Flag, List, Version string }
		Macros  []struct{ Where, Macro string } `json:"unexpanded_macros"`
		Unknown []string
	}
	Unknown []string
}

// healthy says that every event would count and be net.
func (d *diagnosed) healthy() bool {
	for i := range d.Events {
		if !d.Events[i].Counts || len(d.Events[i].Flags) > 0 {
			return false
		}
	}
	return len(d.Events) > 0
}

// eventFields are the members of an event in the order in which they are shown.
var eventFields = []string{
	"type", "time", "id", "impression_id", "advertiser_id", "campaign_id", "ad_group_id", "creative_id", "placement_id",
	"publisher_id", "price_per_event", "pricing", "currency", "bills", "country", "region", "device", "os", "browser",
	"variant", "landing_url", "partition",
}

// print writes one block an event: the verdict first, then why.
func (d *diagnosed) print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name string, parts ...string) {
		if parts = present(parts...); len(parts) > 0 {
			fmt.Fprintf(table, "  %s\t%s\n", name, strings.Join(parts, " "))
		}
	}
	for i := range d.Events {
		ev := &d.Events[i]
		verdict := "counts"
		switch {
		case !ev.Counts:
			verdict = "does not count"
		case len(ev.Flags) > 0:
			verdict = "counts as invalid traffic"
		}
		fmt.Fprintf(table, "event %d, read as %s: %s\n", ev.Index, ev.As, verdict)
		line("reason", ev.Reason, ev.Field, ev.Detail)
		line("signature", ev.Signature, named("key", ev.KeyID))
		if t := ev.Token; t != nil {
			line("token", t.State, named("issued", t.Issued), named("expires", t.Expires))
		}
		for _, f := range ev.Flags {
			line("flag", f.Flag, named("by", f.List), f.Version)
		}
		for _, m := range ev.Macros {
			line("macro left", m.Macro, "in", m.Where)
		}
		if c := ev.Consent; c != nil {
			line("consent", c.Decision, named("because of", c.Reason))
		}
		for _, name := range eventFields {
			if value, ok := ev.Event[name]; ok {
				line(name, fmt.Sprint(value))
			}
		}
		line("not read", strings.Join(ev.Unknown, ", "))
	}
	line("not read", strings.Join(d.Unknown, ", "))
	return table.Flush()
}

// named puts a word before a value that is there.
func named(word, value string) string {
	if value == "" {
		return ""
	}
	return word + " " + value
}

// present keeps the texts that are not empty.
func present(texts ...string) []string {
	var kept []string
	for _, t := range texts {
		if t != "" {
			kept = append(kept, t)
		}
	}
	return kept
}
