package agent

import (
	"fmt"

	"github.com/medama-io/go-useragent"

	"github.com/adtally/adtally/ingest/agent/recent"
)

// MaxLength is how much of an agent is read, in bytes. What comes after it is
// ignored; the longest agents of in-app browsers have some 450.
const MaxLength = 512

// DefaultCache is a number of agents that covers most of a day's traffic. With
// it a full cache takes 6 MiB, next to 6 MiB of tables of names, once for all
// parsers, and less than 1 MiB of crawler list.
const DefaultCache = 65536

// Other is the name of what is not known.
const Other = "other"

// Kinds of devices.
const (
	Mobile  = "mobile"
	Tablet  = "tablet"
	Desktop = "desktop"
	TV      = "tv"
	Console = "console"
	Bot     = "bot"
)

// Verdict is what an agent says. Its texts are constants.
type Verdict struct {
	// Device is one of the kinds of devices, or Other.
	Device string
	// OS and Browser are short lower-case names, or Other.
	OS, Browser string
	// Crawler is set if the crawler list names the agent.
	Crawler bool
	// NonBrowser is set if no known browser sends the agent.
	NonBrowser bool
}

// Parser reads agents. It may be used by any number of goroutines.
type Parser struct {
	list  *List
	names *useragent.Parser
	cache *recent.Cache[Verdict]
}

// New returns a Parser that remembers the verdicts on about cacheSize agents, of
// 90 bytes each.
func New(list *List, cacheSize int) (*Parser, error) {
	cache, err := recent.New[Verdict](cacheSize)
	if err != nil {
		return nil, fmt.Errorf("create user agent cache: %w", err)
	}
	return &Parser{list: list, names: useragent.NewParser(), cache: cache}, nil
}

// List returns the crawler list, whose name and version belong to each verdict
// with Crawler set.
func (p *Parser) List() *List { return p.list }

// BrowserList returns the name and version of the known browsers, for verdicts
// with NonBrowser set.
func (p *Parser) BrowserList() (name, version string) { return "known-browsers", browsersVersion }

// Parse returns the verdict on an agent. It does not keep ua. It allocates only
// for agents that it has not seen recently.
func (p *Parser) Parse(ua []byte) Verdict {
	ua = ua[:min(len(ua), MaxLength)]
	v, hash, ok := p.cache.Get(ua)
	if !ok {
		v = p.parse(ua)
		p.cache.Put(hash, v)
	}
	return v
}

func (p *Parser) parse(ua []byte) Verdict {
	v := p.name(string(ua))
	v.Crawler = p.list.Match(ua)
	v.NonBrowser = !knownBrowser(ua, &v)
	for _, s := range [...]*string{&v.Device, &v.OS, &v.Browser} {
		if *s == "" {
			*s = Other
		}
	}
	if v.Crawler {
		v.Device = Bot
	}
	return v
}
