package consent

import "testing"

func BenchmarkDecide(b *testing.B) {
	for _, c := range []struct {
		name string
		in   Signals
	}{
		{"nothing", signals()},
		{"us_privacy", signals("", "", "", "", "1YNN")},
		{"tcf=48", signals("1", onlyOne)},
		{"tcf=1817", signals("1", all)},
		{"gpp=4sections", signals("", "", "DBADLO8~BSJgmkoZJSA.YA~BSFgmiU~BWJYJllA~BSFgmSZQ.YA", "7,9")},
	} {
		b.Run(c.name, func(b *testing.B) {
			d := newDecider(b, Config{})
			b.ReportAllocs()
			for b.Loop() {
				d.Decide(c.in)
			}
		})
	}
}

// What a string costs that was not seen recently.
func BenchmarkParse(b *testing.B) {
	d := newDecider(b, Config{})
	for _, c := range []struct{ name, text string }{{"tcf=48", onlyOne}, {"tcf=1817", all}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d.parseTCF(c.text)
			}
		})
	}
	b.Run("gpp=4sections", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d.parseGPP("DBADLO8~BSJgmkoZJSA.YA~BSFgmiU~BWJYJllA~BSFgmSZQ.YA")
		}
	})
}

func BenchmarkUserHash(b *testing.B) {
	h := newHasher(b, testSecret, 0)
	user := []byte("0b8e1f9a-7f2c-4ad1-9d9d-3f1f6c0c2a44")
	b.ReportAllocs()
	for b.Loop() {
		h.Hash(7, user, 0)
	}
}
