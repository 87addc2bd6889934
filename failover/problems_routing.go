package failover

import (
	"fmt"
	"slices"

	"github.com/remora-ha/remora/topology"
)

// routingProblems are those of sidecars and their proxies.
var routingProblems = []Problem{
	{
		Code: "SidecarAlone", Priority: weak,
		Explain: "A sidecar cannot reach an instance that others reach. That is the sidecar's own problem, and never a failover.",
		match:   sidecarAlone,
	},
	{
		Code: "LeaderCannotSee", Priority: broken,
		Explain: "The leader cannot reach an instance that others reach, so it could not act there. It hands the leadership to a sidecar that sees more.",
		match: func(f *facts) []hit {
			var found []hit
			for _, i := range f.members() {
				if leader := f.leader(); leader != "" && slices.Contains(f.alone(i), leader) {
					found = append(found, hit{i.Addr, fmt.Sprintf("the leader %s cannot reach %s, which others reach: it could not act there; a sidecar that sees more is to lead", leader, i.Addr), f.saw(i)})
				}
			}
			return found
		},
	},
	{
		Code: "SidecarDiskHung", Priority: broken,
		Explain: "The disk under a sidecar's data_dir hangs or fails: it can neither lead nor remember what is agreed. A leader hands its office over.",
		match: func(f *facts) []hit {
			var found []hit
			for _, s := range f.s.Sidecars {
				if len(s.Trouble) > 0 {
					found = append(found, hit{sentence: fmt.Sprintf("sidecar %s: %s", s.Node, joinNames(s.Trouble))})
				}
			}
			return found
		},
	},
	{
		Code: "SidecarSilent", Priority: weak,
		Explain: "A sidecar that should observe has sent no fresh view. It counts as one that sees nothing, never as one that sees death.",
		match: func(f *facts) []hit {
			var found []hit
			for _, name := range f.s.Observers {
				if !f.heardOf(name) && len(f.s.Instances) > 0 {
					found = append(found, hit{sentence: fmt.Sprintf("sidecar %s sends no fresh view; %d of %d observe", name, f.observing(), len(f.s.Observers))})
				}
			}
			return found
		},
	},
	{
		Code: "ProxyConflict", Priority: broken,
		Explain: "Something else manages the hostgroups of a proxy; Remora does not touch it, so a failover has to wait for its lease.",
		match: proxies(func(_ *facts, p topology.Proxy) string {
			if p.Conflict == "" {
				return ""
			}
			return fmt.Sprintf("the proxy of %s is not touched: %s", p.Node, p.Conflict)
		}),
	},
	{
		Code: "ProxyBehind", Priority: broken,
		Explain: "A proxy has not applied the newest epoch.",
		match: proxies(func(f *facts, p topology.Proxy) string {
			want := f.epoch()
			switch {
			case p.Conflict != "" || p.Epoch >= want && !p.Off():
				return ""
			case p.Cut != "":
				return fmt.Sprintf("the proxy of %s does not answer and was cut off (%s): it routes nothing until it answers again%s", p.Node, p.Cut, colon(p.Error))
			case p.Gone:
				return fmt.Sprintf("the proxy of %s has ended: it routes nothing", p.Node)
			case p.Hung && f.s.Taken.Sub(p.Seen) > f.p.Detection.Fresh.D() && !p.LeaseOver:
				return fmt.Sprintf("the proxy of %s did not answer when its sidecar was last heard of %s, so the end of the lease closes nothing: "+
					"stop it, then `remora node fenced %s`; no failover goes on before", p.Node, f.ago(p.Seen), p.Node)
			case p.Hung:
				return fmt.Sprintf("the proxy of %s does not answer, so it cannot be fenced, and no failover goes on until it answers or is stopped "+
					"(proxysql.when_hung does that by itself)%s", p.Node, colon(p.Error))
			case p.LeaseOver:
				return fmt.Sprintf("the proxy of %s is at epoch %d of %d and was last heard of %s; its lease is over, so it routes no writes", p.Node, p.Epoch, want, f.ago(p.Seen))
			}
			return fmt.Sprintf("the proxy of %s is at epoch %d of %d, heard of %s%s", p.Node, p.Epoch, want, f.ago(p.Seen), colon(p.Error))
		}),
	},
	{
		Code: "ProxyKills", Priority: serious,
		Explain: "A proxy ends a statement with KILL when its client goes away. On MariaDB that ends the wait for the replica's acknowledgement of other sessions too: commits are acknowledged that no replica has.",
		match: proxies(func(f *facts, p topology.Proxy) string {
			if !p.Kills || f.p.Durability != SemiSync || f.prim == nil || f.prim.State == nil || f.prim.State.Flavor != "mariadb" {
				return ""
			}
			return fmt.Sprintf("the proxy of %s ends statements with KILL when their clients go away, by which MariaDB under semi-sync acknowledges commits that no replica has: "+
				"SET mysql-kill_backend_connection_when_disconnect='false'; LOAD MYSQL VARIABLES TO RUNTIME; SAVE MYSQL VARIABLES TO DISK", p.Node)
		}),
	},
	{
		Code: "ProxyDrift", Priority: weak,
		Explain: "Another hand changed rows that Remora manages; they were put back.",
		match: proxies(func(_ *facts, p topology.Proxy) string {
			if len(p.Drift) == 0 {
				return ""
			}
			return fmt.Sprintf("the proxy of %s was changed by another hand and put back: %s", p.Node, joinNames(p.Drift))
		}),
	},
}

// epoch is what proxies should have applied: the open intent's while it holds the writes
// and its end is not routed, else the route's.
func (f *facts) epoch() uint64 {
	if f.c.Intent != nil && !f.c.Intent.Regroups() {
		return max(f.c.Intent.Epoch, f.s.Route.Epoch)
	}
	return f.s.Route.Epoch
}

func proxies(words func(*facts, topology.Proxy) string) func(*facts) []hit {
	return func(f *facts) []hit {
		var found []hit
		for _, p := range f.s.Proxies {
			if sentence := words(f, p); sentence != "" {
				found = append(found, hit{sentence: sentence})
			}
		}
		return found
	}
}

func sidecarAlone(f *facts) []hit {
	var found []hit
	for _, i := range f.members() {
		blamers := f.alone(i)
		if len(blamers) == 0 {
			continue
		}
		found = append(found, hit{
			i.Addr,
			fmt.Sprintf("%s cannot reach %s, which others reach: that is its own problem", joinNames(blamers), i.Addr),
			f.saw(i),
		})
	}
	return found
}

// heardOf says that an observer has sent a fresh view of any instance; of one that watches a
// share of the fleet's, of which none need be here, that it is heard.
func (f *facts) heardOf(observer string) bool {
	if slices.ContainsFunc(f.s.Sidecars, func(s topology.Sidecar) bool { return s.Node == observer && s.Shares }) {
		return true
	}
	for _, i := range f.s.Instances {
		for _, v := range i.Views {
			if v.Observer == observer && f.s.Taken.Sub(v.At) <= f.p.Detection.Fresh.D() {
				return true
			}
		}
	}
	return false
}

func (f *facts) observing() int {
	n := 0
	for _, name := range f.s.Observers {
		if f.heardOf(name) {
			n++
		}
	}
	return n
}
