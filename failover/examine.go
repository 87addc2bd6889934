package failover

// Examine is everything together: what is wrong, what would be decided, the plan
// of the open or the proposed intent, and the repairs.
func Examine(c *Case) Verdict {
	v := Verdict{Cluster: c.Snapshot.Cluster, Findings: Analyze(c), Repairs: Repairs(c)}
	v.Decision = Decide(c, v.Findings)
	if c.Intent != nil {
		v.Plan = Remaining(c)
		return v
	}
	if v.Decision.Intent == nil {
		return v
	}
	// A forecast: as if the intent was committed now, newer than all that any
	// proxy has applied.
	in := *v.Decision.Intent
	in.Epoch = c.Snapshot.Route.Epoch + 1
	for _, p := range c.Snapshot.Proxies {
		in.Epoch = max(in.Epoch, p.Epoch+1)
	}
	next := *c
	next.Intent, next.Request = &in, nil
	v.Plan = Remaining(&next)
	return v
}
