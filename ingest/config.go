package ingest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/adtally/adtally/ingest/produce"
)

// gunzipFactor bounds what a gzip body may unpack to, as a multiple of MaxBody.
// JSON beacons compress about ten to one; the body that a client may send
// packed is thus bounded by what it may send unpacked, within this factor.
const gunzipFactor = 8

// maxMaxBatch keeps the events of a request countable in 16 bits.
const maxMaxBatch = 10_000

// Config holds the settings of the beacon server. Defaults are in the tags.
type Config struct {
	Listen     string `default:"127.0.0.1:8080" help:"Address for beacons."`
	PathPrefix string `default:"/" help:"Path before every beacon endpoint; ad blockers know popular names."`

	AckTimeout  time.Duration `default:"800ms" help:"How long a request waits for Kafka before its events go to the spool; without a spool it is answered 503."`
	MaxBatch    int           `default:"200" help:"Events in one request."`
	MaxBody     int           `default:"131072" help:"Bytes in one request body; unpacked, a gzip body may have 8 times as many."`
	MaxEventAge time.Duration `default:"744h" help:"Events older than this are rejected as too_old."`
	FutureBound time.Duration `default:"5m" help:"Events further ahead than this are set to their arrival and flagged."`

	TrustedProxies []string `help:"Networks and addresses of our own proxies, comma-separated; of others X-Forwarded-For is not believed."`

	TenantRate   int `default:"0" help:"Events a second of one advertiser; more are refused with 429. 0 is no limit."`
	TenantBurst  int `default:"0" help:"Events of one advertiser at once; 0 is those of two seconds, and a full batch at least."`
	RejectedRate int `default:"20" help:"Records a second for the rejected topic about what bears no valid signature, and ten times as many about beacons that do; the rest is only counted."`

	MaxHeader      int            `default:"8192" help:"Bytes in one request line with its headers."`
	MaxConns       int            `default:"20000" help:"Connections at once; each costs about 20 KiB."`
	MaxConnsPerIP  int            `default:"0" help:"Connections at once from one address; 0 is no limit, as behind a load balancer."`
	MaxConnReqs    int            `default:"10000" help:"Requests on one connection before it is closed."`
	ReadTimeout    time.Duration  `default:"5s" help:"How long a request may take to arrive."`
	WriteTimeout   time.Duration  `default:"5s" help:"How long an answer may take to leave."`
	IdleTimeout    time.Duration  `default:"75s" help:"How long an idle connection is kept; longer than the load balancer keeps its own."`
	DrainDelay     time.Duration  `default:"0s" help:"How long /readyz says no before the listener closes, for load balancers to notice."`
	DrainTimeout   time.Duration  `default:"20s" help:"How long requests in flight, and then the producer, may take at shutdown."`
	ProduceOptions produce.Config `embed:"" prefix:"produce-"`
}

// Validate reports the first setting that cannot work.
func (c *Config) Validate() error {
	if !strings.HasPrefix(c.PathPrefix, "/") || !strings.HasSuffix(c.PathPrefix, "/") ||
		strings.ContainsAny(c.PathPrefix, "?#% ") || strings.Contains(c.PathPrefix, "//") {
		return fmt.Errorf("path prefix %q: must begin and end with a single / and need no escaping", c.PathPrefix)
	}
	for _, n := range []struct {
		name  string
		value int
		least int
	}{
		{"max batch", c.MaxBatch, 1},
		{"max body", c.MaxBody, 1024},
		{"max header", c.MaxHeader, 4096},
		{"max conns", c.MaxConns, 1},
		{"max conns per ip", c.MaxConnsPerIP, 0},
		{"max conn reqs", c.MaxConnReqs, 1},
		{"tenant rate", c.TenantRate, 0},
		{"tenant burst", c.TenantBurst, 0},
		{"rejected rate", c.RejectedRate, 0},
	} {
		if n.value < n.least {
			return fmt.Errorf("%s is %d, it must be at least %d", n.name, n.value, n.least)
		}
	}
	if c.MaxBatch > maxMaxBatch {
		return fmt.Errorf("max batch is %d, it must be at most %d", c.MaxBatch, maxMaxBatch)
	}
	if c.TenantBurst > 0 && c.TenantBurst < c.MaxBatch {
		return fmt.Errorf("tenant burst is %d, it must hold a batch of %d", c.TenantBurst, c.MaxBatch)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"ack timeout", c.AckTimeout},
		{"max event age", c.MaxEventAge},
		{"read timeout", c.ReadTimeout},
		{"write timeout", c.WriteTimeout},
		{"idle timeout", c.IdleTimeout},
		{"drain timeout", c.DrainTimeout},
	} {
		if d.value <= 0 {
			return fmt.Errorf("%s is %v, it must be more than 0", d.name, d.value)
		}
	}
	if c.FutureBound < 0 || c.DrainDelay < 0 {
		return errors.New("future bound and drain delay must not be negative")
	}
	return c.ProduceOptions.Validate()
}

// burst is the number of events of one advertiser at once.
func (c *Config) burst() int {
	if c.TenantBurst > 0 {
		return c.TenantBurst
	}
	return max(2*c.TenantRate, c.MaxBatch)
}
