package failover

import "fmt"

// rejoinProblems are those of instances that are being brought back.
var rejoinProblems = []Problem{
	{
		Code: "RejoinUnderWay", Priority: advice,
		Explain: "An instance is being brought back; until then it is left alone otherwise, and is no candidate.",
		match: func(f *facts) []hit {
			var found []hit
			for _, r := range f.c.Rejoins {
				if r.Error == "" {
					found = append(found, hit{r.Instance, fmt.Sprintf("%s is being brought back: %s, since %s", r.Instance, r.Doing, span(f.s.Taken.Sub(r.Since))), nil})
				}
			}
			return found
		},
	},
	{
		Code: "RejoinFailed", Priority: broken,
		Explain: "An instance could not be brought back. It is told for a day, or until it follows the primary.",
		match: func(f *facts) []hit {
			var found []hit
			for _, r := range f.c.Rejoins {
				i := f.s.Instance(r.Instance)
				if r.Error == "" || i == nil || f.s.Taken.Sub(r.Since) > failedShown || i.Fresh() && f.s.Under(i.Addr, f.primary) {
					continue
				}
				found = append(found, hit{r.Instance, fmt.Sprintf("%s could not be brought back %s, %s: %s", r.Instance, f.ago(r.Since), r.Doing, r.Error), nil})
			}
			return found
		},
	},
}
