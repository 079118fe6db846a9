package query

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rs/zerolog"

	"github.com/adtally/adtally/query/watch"
)

// TestOperations watches an instance that is well, one that is not ready and one
// that does not answer.
func TestOperations(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `# HELP adtally_spool_bytes words that are no figure 7
adtally_spool_bytes 4096
adtally_spool_bytes_more 1
adtally_spool_oldest_age_seconds 1.5
adtally_conservation_events{partition="0",place="in_flight"} 3
adtally_conservation_events{partition="1",place="in_flight"} 4
adtally_conservation_events{partition="1",place="counted"} 100
`)
	})
	well := httptest.NewServer(mux)
	defer well.Close()
	starting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "ClickHouse does not answer\nno topic\n")
		}
	}))
	defer starting.Close()
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()

	cfg := testConfig()
	cfg.Watch = []string{well.URL, starting.URL + "/", away.URL}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	url := serve(t, cfg, &deadConn{}, newFixedKeys(), zerolog.Nop())
	res, text := call(t, "GET", url+"/v1/operations", "all", "")
	var got struct{ Instances []watch.Instance }
	if err := json.Unmarshal(text, &got); err != nil || res.status != http.StatusOK || len(got.Instances) != 3 {
		t.Fatalf("%d %s %v", res.status, text, err)
	}
	f := got.Instances[0].Figures
	if it := got.Instances[0]; !it.Ready || len(f) != 3 || f["spool_bytes"] != 4096 || f["spool_oldest_seconds"] != 1.5 || f["in_flight_events"] != 7 {
		t.Errorf("the first instance is %+v", it)
	}
	if it := got.Instances[1]; it.Ready || len(it.WaitsFor) != 2 || it.WaitsFor[1] != "no topic" {
		t.Errorf("the second instance is %+v", it)
	}
	if it := got.Instances[2]; it.Ready || len(it.WaitsFor) != 1 || len(it.Figures) != 0 {
		t.Errorf("the third instance is %+v", it)
	}
	for _, bad := range []string{"ingest:8082", "ftp://x", "http://x/?a=b", ""} {
		cfg.Watch = []string{bad}
		if cfg.Validate() == nil {
			t.Errorf("%q is taken as an admin listener", bad)
		}
	}
}
