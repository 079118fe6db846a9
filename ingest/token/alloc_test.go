//go:build !race

package token

import (
	"bytes"
	"testing"

	"github.com/adtally/adtally/proto"
)

// The race detector makes sync.Pool forget on purpose, hence the build tag.
func TestVerifyAllocatesNothing(t *testing.T) {
	ring := testRing(t)
	text := ring.Sign(nil, sample())
	wrong := bytes.Clone(text)
	wrong[len(wrong)-3] ^= 1
	var tk proto.Token
	var buf []byte
	f := func(text []byte) {
		t.Helper()
		n := testing.AllocsPerRun(1000, func() { buf, _ = ring.VerifyInto(&tk, buf, text) })
		if n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
	f(text)
	f(wrong)
}
