package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Measurement is something that can be measured.
type Measurement struct {
	Name string
	// About says in a sentence what happens.
	About string
	// Times is how often it is played by default.
	Times int
	// NoServers says that it runs on simulated endpoints, and so once, not once a flavor.
	NoServers bool
	// Run plays it and notes its figures in the run. What it noted before an error is reported.
	Run func(context.Context, *Run) error
}

// Measurements are all there are, in the order in which they are played.
func Measurements() []Measurement {
	return slices.Concat(blows(), cuts(), switchovers())
}

// Select finds measurements by name, in the order of the registry; no names select all.
func Select(names []string) ([]Measurement, error) {
	all := Measurements()
	if len(names) == 0 {
		return all, nil
	}
	var known []string
	for _, m := range all {
		known = append(known, m.Name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("there is no measurement %q; there are %s", n, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(all, func(m Measurement) bool { return !slices.Contains(names, m.Name) }), nil
}
