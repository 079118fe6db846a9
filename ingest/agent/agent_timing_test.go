package agent

import (
	"runtime"
	"testing"
)

func BenchmarkParse(b *testing.B) {
	all := browsers(b)
	agents := make([][]byte, len(all))
	for i := range all {
		agents[i] = []byte(all[i].agent)
	}
	p := newParser(b)
	b.Run("hit", func(b *testing.B) {
		for _, ua := range agents {
			p.Parse(ua)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p.Parse(agents[i%1000])
		}
	})
	b.Run("miss", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p.parse(agents[i%len(agents)])
		}
	})
}

// What a parser takes with a full cache of DefaultCache agents.
func BenchmarkMemory(b *testing.B) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		before := heap()
		list, err := EmbeddedList()
		if err != nil {
			b.Fatal(err)
		}
		parsed := heap()
		p, err := New(list, DefaultCache)
		if err != nil {
			b.Fatal(err)
		}
		empty := heap()
		var ua [8]byte
		for i := range 20 * DefaultCache {
			for k := range ua {
				ua[k] = byte(i >> (4 * k) & 15)
			}
			_, hash, ok := p.cache.Get(ua[:])
			if !ok {
				p.cache.Put(hash, Verdict{})
			}
		}
		b.ReportMetric(float64(parsed-before), "list-bytes")
		b.ReportMetric(float64(empty-parsed), "empty-bytes")
		b.ReportMetric(float64(heap()-empty), "entry-bytes")
		runtime.KeepAlive(p)
	}
}
