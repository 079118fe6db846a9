package agent

import (
	"maps"
	"slices"
	"testing"
)

func TestRecall(t *testing.T) {
	p := newParser(t)
	instances, found, either := 0, 0, 0
	for _, c := range crawlers(t) {
		for _, instance := range c.Instances {
			v := p.Parse([]byte(instance))
			instances++
			if v.Crawler {
				found++
			} else {
				t.Logf("missed %q, pattern %q", instance, c.Pattern)
			}
			if v.Crawler || v.NonBrowser {
				either++
			}
		}
	}
	recall := float64(found) / float64(instances)
	t.Logf("crawler-user-agents %s: %d of its %d instances are crawlers (recall %.2f %%), %d are crawlers or no browsers",
		listVersion, found, instances, 100*recall, either)
	if recall <= 0.97 {
		t.Errorf("recall is %.4f, it must be above 0.97", recall)
	}
}

func TestFalsePositives(t *testing.T) {
	p := newParser(t)
	all := browsers(t)
	crawler, non := 0, 0
	for _, b := range all {
		v := p.Parse([]byte(b.agent))
		if v.Crawler {
			crawler++
			t.Logf("crawler: %q", b.agent)
		}
		if v.NonBrowser && !v.Crawler {
			non++
			t.Logf("no browser: %q", b.agent)
		}
	}
	share := float64(crawler+non) / float64(len(all))
	t.Logf("%d browsers: %d taken for crawlers, %d more for no browsers (%.2f %% false positives)", len(all), crawler, non, 100*share)
	if share >= 0.005 || len(all) < 3000 {
		t.Errorf("%.4f of %d browsers are false positives, it must be below 0.005", share, len(all))
	}
}

func TestNamed(t *testing.T) {
	p := newParser(t)
	all := browsers(t)
	named := map[string]int{}
	values := map[string]map[string]int{"device": {}, "os": {}, "browser": {}}
	same, labelled := 0, 0
	for _, b := range all {
		v := p.Parse([]byte(b.agent))
		for dimension, name := range map[string]string{"device": v.Device, "os": v.OS, "browser": v.Browser} {
			values[dimension][name]++
			if name != Other {
				named[dimension]++
			}
		}
		if v.Crawler || v.NonBrowser {
			continue
		}
		labelled++
		if v.Device == b.device {
			same++
		} else if labelled-same <= 40 {
			t.Logf("%s, not %s: %s", v.Device, b.device, b.agent)
		}
	}
	for _, dimension := range slices.Sorted(maps.Keys(values)) {
		share := float64(named[dimension]) / float64(len(all))
		t.Logf("%s named for %.2f %%: %v", dimension, 100*share, values[dimension])
		if share < 0.99 {
			t.Errorf("%s is named for %.4f only", dimension, share)
		}
	}
	share := float64(same) / float64(labelled)
	t.Logf("device as in the source for %.2f %%", 100*share)
	if share < 0.98 {
		t.Errorf("device is that of the source for %.4f only", share)
	}
}
