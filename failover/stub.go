package failover

import "github.com/remora-ha/remora/topology"

// Decide says what to begin now, or why nothing is begun.
func Decide(c *Case, findings []Finding) Decision { return Decision{} }

// Remaining is the work that c.Intent still needs; nil when it is done.
func Remaining(c *Case) []Stage { return nil }

// Repairs are the steps of convergence while no intent is open.
func Repairs(c *Case) []Step { return nil }

// ReadersOf says who should serve reads now; sorted by address.
func ReadersOf(c *Case) []topology.Reader { return RouteTo(c, c.Snapshot.Route.Writer).Readers }

// RouteTo is the route with writer as the open writer, to be committed by
// CommitRoute and RollBack; its epoch is not set.
func RouteTo(c *Case, writer topology.Addr) topology.Route { return topology.Route{} }

// Adopt finds the first route of a cluster that has none.
func Adopt(c *Case) (topology.Route, *Refusal) { return topology.Route{}, nil }

// Examine is everything together, for `remora analyze`.
func Examine(c *Case) Verdict { return Verdict{} }

// Validate checks a policy; the error names each bad key, its value and what is allowed.
func (p *Policy) Validate() error { return nil }
