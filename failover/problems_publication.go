package failover

import (
	"fmt"
	"time"

	"github.com/remora-ha/remora/topology"
)

// driftShown is how long a change by another hand is reported after it was put
// back: putting it back takes milliseconds, and people look later.
const driftShown = time.Minute

// publicationProblems are those of what follows the route outside: stores such
// as Consul, and files rendered from them. None of them holds up a failover.
var publicationProblems = []Problem{
	{
		Code: "KVBehind", Priority: broken,
		Explain: "A store such as Consul does not hold the newest route: what finds the primary there may find an old one.",
		match: publications(func(f *facts, p topology.Publication) string {
			if p.Error == "" {
				return ""
			}
			return fmt.Sprintf("store %s cannot be brought in line with epoch %d, last with %d: %s", p.Store, f.epoch(), p.Epoch, p.Error)
		}),
	},
	{
		Code: "KVDrift", Priority: weak,
		Explain: "Another hand changed or deleted keys that Remora keeps in a store; they were put back.",
		match: publications(func(f *facts, p topology.Publication) string {
			if len(p.Drift) == 0 || f.s.Taken.Sub(p.DriftAt) > driftShown {
				return ""
			}
			return fmt.Sprintf("store %s was changed by another hand %s: %s", p.Store, f.ago(p.DriftAt), joinNames(p.Drift))
		}),
	},
	{
		Code: "RenderFailed", Priority: broken,
		Explain: "A file that a sidecar renders, such as HAProxy's configuration, is not what it should be; the old one stays in place.",
		match: func(f *facts) []hit {
			var found []hit
			for _, file := range f.s.Files {
				if !file.Good {
					h := hit{sentence: fmt.Sprintf("%s of %s: %s", file.Destination, file.Node, file.Sentence)}
					if file.Output != "" {
						h.evidence = []string{file.Output}
					}
					found = append(found, h)
				}
			}
			return found
		},
	},
}

func publications(words func(*facts, topology.Publication) string) func(*facts) []hit {
	return func(f *facts) []hit {
		var found []hit
		for _, p := range f.s.Publications {
			if sentence := words(f, p); sentence != "" {
				found = append(found, hit{sentence: sentence})
			}
		}
		return found
	}
}
