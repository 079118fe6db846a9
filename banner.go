package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/adtally/adtally/ingest/token"
)

const bannerText = `
adtally is up after %s; all state is in %s

  dashboard  %s   sign in with the key in %s
  beacons    %s
  reports    %s/v1/reports
  operations %s/readyz, /livez, /metrics, /debug/pprof

A pixel, as a browser would fetch it:
  curl -s -o /dev/null -D - -A '%s' '%s/i/%s'

A batch, as a server would send it:
  curl -H "Authorization: Bearer $(cat %s)" %s/v1/events -d '{"events":[{"type":"click","id":"first-click","advertiser_id":%d,"campaign_id":%d}]}'

A report, a second later:
  curl -H "Authorization: Bearer $(cat %s)" '%s/v1/reports?advertiser=%d&start=%s&end=%s&timezone=UTC&granularity=day&dimensions=campaign&metrics=impressions,clicks,spend'

Ctrl-C drains and stops.
`

// The advertiser and campaign of the first curls.
const (
	firstAdvertiser = 1
	firstCampaign   = 2
)

// banner prints where everything is and what to try first.
func (l *local) banner(took time.Duration) error {
	ring, err := token.LoadKeyring(signingKeysFile(l.cfg.Data))
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	first, err := token.ParseSpec(fmt.Appendf(nil,
		`{"advertiser_id":%d,"campaign_id":%d,"price":"2.50","pricing":"cpm","currency":"%s"}`,
		firstAdvertiser, firstCampaign, firstCurrency), now)
	if err != nil {
		return fmt.Errorf("mint first token: %w", err)
	}
	key := relative(adminKeyFile(l.cfg.Data))
	beacons, reports := loopbackURL(l.ports.Ingest)+strings.TrimSuffix(l.cfg.Ingest.PathPrefix, "/"), loopbackURL(l.ports.Query)
	_, err = fmt.Fprintf(l.env.stdout, bannerText,
		took.Round(time.Millisecond), relative(l.cfg.Data),
		reports, key, beacons, reports, loopbackURL(l.ports.Admin),
		visitorAgent, beacons, ring.Sign(nil, first),
		key, beacons, firstAdvertiser, firstCampaign,
		key, reports, firstAdvertiser, now.Format(time.DateOnly), now.AddDate(0, 0, 1).Format(time.DateOnly))
	return err
}

// firstCurrency is what the first token is priced in.
const firstCurrency = "USD"

func loopbackURL(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }

// urlOf is where this process reaches its own listener.
func urlOf(ln net.Listener) string {
	if addr, ok := ln.Addr().(*net.TCPAddr); ok && !addr.IP.IsUnspecified() {
		return "http://" + addr.String()
	}
	return loopbackURL(portOf(ln))
}

// relative shortens a path below the working directory.
func relative(path string) string {
	if wd, err := filepath.Abs("."); err == nil {
		if short, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(short) {
			return short
		}
	}
	return path
}

// state is what tools with --data read about a running instance.
type state struct {
	PID   int   `json:"pid"`
	Ports ports `json:"ports"`
	// Prefix is the path prefix of beacons.
	Prefix string `json:"prefix"`
}

func stateFile(data string) string { return filepath.Join(data, "run.json") }

// announce writes the ports for tools and prints them for people.
func (l *local) announce(took time.Duration) error {
	text, err := json.Marshal(l.ports)
	if err != nil {
		return fmt.Errorf("encode ports: %w", err)
	}
	own, err := json.Marshal(state{PID: os.Getpid(), Ports: l.ports, Prefix: l.cfg.Ingest.PathPrefix})
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	if err := writeFile(stateFile(l.cfg.Data), append(own, '\n')); err != nil {
		return err
	}
	if l.cfg.PortsFile != "" {
		if err := writeFile(l.cfg.PortsFile, append(text, '\n')); err != nil {
			return err
		}
	}
	return l.banner(took)
}
