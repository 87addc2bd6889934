package mysql

import (
	"time"

	"github.com/remora-ha/remora/topology"
)

// silences remembers when something last came from each source of a replica, as
// the evidence that a source which answers nobody is silent for its replicas too.
type silences map[silenceKey]heard

type silenceKey struct {
	channel string
	source  topology.Addr
}

type heard struct {
	pulse string
	at    time.Time // when the pulse was first seen so
}

// note fills Silence in a fresh reading: the time since the counters of received
// events and heartbeats last changed. It is nil at the first sight of a source, and
// a lower bound until they change for the first time.
func (s silences) note(now time.Time, r *reading) {
	seen := make(map[silenceKey]bool, len(r.channels))
	for i, c := range r.channels {
		key := silenceKey{c.Channel, c.Addr}
		seen[key] = true
		last, known := s[key]
		if !known || last.pulse != c.pulse {
			s[key] = heard{c.pulse, now}
		}
		if known {
			silence := topology.Duration(max(0, now.Sub(s[key].at)))
			r.state.Sources[i].Silence = &silence
		}
	}
	for key := range s {
		if !seen[key] {
			delete(s, key)
		}
	}
}
