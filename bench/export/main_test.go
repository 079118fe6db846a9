package main

import "testing"

func TestPartsAreChosen(t *testing.T) {
	f := func(only, part string, want bool) {
		t.Helper()
		s := settings{only: only}
		if got := s.wants(part); got != want {
			t.Errorf("with -only %q, %s is measured: %t", only, part, got)
		}
	}
	f("", "proof", true)
	f("parquet,arrow", "arrow", true)
	f("parquet,arrow", "memory", false)
	f("proofs", "proof", false)
}
