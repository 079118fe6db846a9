package token

import (
	"testing"

	"github.com/adtally/adtally/proto"
)

func BenchmarkVerify(b *testing.B) {
	ring := testRing(b)
	text := ring.Sign(nil, sample())
	b.ReportAllocs()
	var tk proto.Token
	var buf []byte
	var err error
	for b.Loop() {
		if buf, err = ring.VerifyInto(&tk, buf, text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	ring := testRing(b)
	tk := sample()
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = ring.Sign(buf[:0], tk)
	}
}
