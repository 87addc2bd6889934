package failover

import "github.com/remora-ha/remora/topology"

// Blind says which instances each sidecar cannot reach though others do. Sidecars
// that miss nothing are not in it.
func Blind(c *Case) map[string][]topology.Addr {
	f := newFacts(c)
	blind := map[string][]topology.Addr{}
	for _, i := range f.members() {
		for _, name := range f.alone(i) {
			blind[name] = append(blind[name], i.Addr)
		}
	}
	return blind
}

// alone names the sidecars that cannot reach an instance which others reach.
func (f *facts) alone(i *topology.Instance) []string {
	if i.Reach != topology.Up && i.Reach != topology.Stuck {
		return nil
	}
	return f.blamers(i)
}

// leader is the sidecar that leads; empty where the case does not say.
func (f *facts) leader() string {
	for _, s := range f.s.Sidecars {
		if s.Leads {
			return s.Node
		}
	}
	return ""
}
