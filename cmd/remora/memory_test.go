package main

import (
	"runtime/debug"
	"testing"
)

// The collector is set unless the environment has set it.
func TestMemoryIsSavedUnlessGOGCIsSet(t *testing.T) {
	was := debug.SetGCPercent(100)
	defer debug.SetGCPercent(was)
	for gogc, want := range map[string]int{"": 50, "200": 77} {
		t.Setenv("GOGC", gogc)
		debug.SetGCPercent(77)
		saveMemory()
		if got := debug.SetGCPercent(77); got != want {
			t.Errorf("with GOGC %q the heap grows by %d%%, want %d", gogc, got, want)
		}
	}
}
