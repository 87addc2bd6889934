package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// viewStatus shows the fleet and all its clusters; who watches what where that is shared, or asked for.
func viewStatus(p *page, s *api.Status, watchers bool) {
	viewFleet(p, s)
	watchers = watchers || slices.ContainsFunc(s.Nodes, func(n api.NodeStatus) bool { return n.Shares })
	for i := range s.Clusters {
		viewCluster(p, &s.Clusters[i], watchers)
	}
}

func viewFleet(p *page, s *api.Status) {
	leader := cell{"no leader", bad}
	if s.Leader != "" {
		leader = cell{"leader " + s.Leader, good}
	}
	p.row(0, cell{"Fleet:", bold}, leader,
		cell{fmt.Sprintf("· term %d · ledger index %d · %s, told by %s (%s)", s.Term, s.Index, p.instant(s.Taken), s.Node, s.Version), plain})
	epochs := map[string]uint64{}
	for _, c := range s.Clusters {
		epochs[c.Name] = c.Epoch
		if c.Recovery != nil && !c.Recovery.Intent.Regroups() {
			epochs[c.Name] = max(c.Epoch, c.Recovery.Intent.Epoch)
		}
	}
	t := &table{head: []string{"NODE", "ROLE", "HEARD", "LEASE", "PROXYSQL", "APPLIED", "API", "TROUBLE"}}
	for _, n := range s.Nodes {
		lease := cell{spanOf(n.Lease), plain}
		if n.Lease != nil && *n.Lease <= 0 {
			lease = cell{"over", bad}
		}
		proxy := cell{n.Proxy, plain}
		switch {
		case n.Witness:
			proxy = cell{"witness", dim}
		case n.Proxy == "":
			proxy = cell{"-", dim}
		}
		t.add(cell{n.Name, plain}, cell{n.Role, roleTone(n.Role)}, cell{spanOf(n.Heard), plain}, lease, proxy,
			applied(n.Applied, epochs), cell{n.API, plain}, cell{strings.Join(n.Trouble, "; "), warn})
	}
	p.table(2, t)
}

// applied spells the epochs that a proxy has applied, and which are not the newest.
func applied(have, want map[string]uint64) cell {
	var parts []string
	c := cell{"", good}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		text := fmt.Sprintf("%s %d", name, have[name])
		if have[name] < want[name] {
			text += fmt.Sprintf(" (behind %d)", want[name])
			c.tone = warn
		}
		parts = append(parts, text)
	}
	c.text = strings.Join(parts, ", ")
	return c
}

func viewCluster(p *page, c *api.ClusterStatus, watchers bool) {
	p.gap()
	primary := cell{"no primary", bad}
	if c.Primary != "" {
		primary = cell{"primary " + string(c.Primary), good}
	}
	p.row(0, cell{"Cluster " + c.Name + ":", bold}, primary, cell{fmt.Sprintf("· epoch %d", c.Epoch), plain}, writerMode(c.Mode))
	if c.Sentence != "" {
		p.say(2, plain, "%s", c.Sentence)
	}
	if r := c.Recovery; r != nil {
		p.row(2, cell{fmt.Sprintf("%s in progress:", r.Intent.Kind), warn},
			cell{fmt.Sprintf("%s since %s, recovery %s", fromTo(&r.Intent, r.To), p.instant(r.Intent.At), r.Intent.ID), plain})
	}
	t := &table{head: []string{"INSTANCE", "ROLE", "REACH", "LAG", "IO", "SQL", "MODE", "READS", "SOURCE", "VERSION", "READ", "WATCHED BY"}}
	for _, i := range c.Instances {
		reads := cell{}
		if i.Reads {
			reads = cell{"yes", plain}
		}
		var read, by cell
		if watchers {
			read, by = cell{spanOf(i.Read), plain}, watchedBy(i.Watchers)
		}
		t.add(cell{string(i.Addr), plain}, cell{i.Role, roleTone(i.Role)}, cell{string(i.Reach), reachTone(i.Reach)},
			cell{spanOf(i.Lag), plain}, thread(i.IO), thread(i.SQL), writable(&i), reads, cell{string(i.Source), plain}, cell{i.Version, plain}, read, by)
	}
	if len(t.rows) > 0 {
		p.gap()
	}
	p.table(2, t)
	if len(c.Findings) > 0 {
		p.gap()
		viewFindings(p, 2, c.Findings)
	}
	if len(c.Refusals) > 0 {
		p.gap()
		viewRefusals(p, 2, c.Refusals)
	}
}

// writerMode says what the proxies do with the writer; "" when none is routed.
func writerMode(m topology.Mode) cell {
	switch m {
	case "":
		return cell{}
	case topology.Open:
		return cell{"· " + string(m), plain}
	default:
		return cell{"· " + string(m), warn}
	}
}

// writable says whether an instance takes writes: by its last reading, with a
// question mark where that is not of now, and empty where it was never read.
func writable(i *api.InstanceStatus) cell {
	c := cell{"rw", plain}
	if i.ReadOnly {
		c.text = "ro"
	} else if i.Role != "primary" {
		c.tone = bad
	}
	switch {
	case i.Reach == topology.Up:
		return c
	case i.Version == "":
		return cell{}
	default:
		return cell{c.text + "?", dim}
	}
}

// watchedBy names the sidecars that looked at an instance just now, and when; with how it ended
// where they got no reading.
func watchedBy(list []api.Watcher) cell {
	c := cell{"nobody", warn}
	var parts []string
	for _, w := range list {
		text := fmt.Sprintf("%s %s", w.Node, span(w.Ago.D()))
		if w.Reach == topology.Answered {
			c.tone = plain
		} else {
			text += fmt.Sprintf(" (%s)", w.Reach)
		}
		parts = append(parts, text)
	}
	if len(parts) > 0 {
		c.text = strings.Join(parts, ", ")
	}
	return c
}

func roleTone(role string) tone {
	switch role {
	case "leader", "primary":
		return good
	case "silent", "detached":
		return bad
	case "unknown":
		return warn
	default:
		return plain
	}
}

func reachTone(v topology.Verdict) tone {
	switch v {
	case topology.Up:
		return good
	case topology.Down, topology.Stuck:
		return bad
	default:
		return warn
	}
}

func thread(t topology.Thread) cell {
	switch t {
	case topology.ThreadNo:
		return cell{string(t), bad}
	case topology.ThreadConnecting:
		return cell{string(t), warn}
	default:
		return cell{string(t), plain}
	}
}

func viewFindings(p *page, in int, list []failover.Finding) {
	for _, f := range list {
		t, calls := warn, ""
		if f.Recovery != "" {
			t, calls = bad, fmt.Sprintf("(calls for a %s)", f.Recovery)
		}
		p.row(in, cell{fmt.Sprintf("%d", f.Priority), dim}, cell{string(f.Code), t}, cell{string(f.Instance), plain}, cell{calls, t})
		p.say(in+4, plain, "%s", f.Sentence)
		for _, e := range f.Evidence {
			p.say(in+4, dim, "- %s", e)
		}
	}
}

func viewRefusals(p *page, in int, list []failover.Refusal) {
	for _, r := range list {
		p.row(in, cell{"refused", warn}, cell{r.Rule, warn}, cell{string(r.Subject), plain})
		p.say(in+4, plain, "%s", r.Sentence)
		if r.Change != "" {
			p.say(in+4, dim, "what would change it: %s", r.Change)
		}
		if r.Overridable {
			p.say(in+4, dim, "a forced request (`remora failover`) goes on in spite of it")
		}
	}
}

// unhealthy says why a status is not healthy, in sentences; none when it is.
func unhealthy(s *api.Status) []string {
	var why []string
	if s.Leader == "" {
		why = append(why, "no leader is known to "+s.Node)
	}
	for _, c := range s.Clusters {
		if c.Primary == "" {
			why = append(why, c.Name+" has no primary")
		}
		for _, f := range c.Findings {
			if f.Recovery != "" {
				why = append(why, fmt.Sprintf("%s: %s %s calls for a %s", c.Name, f.Code, f.Instance, f.Recovery))
			}
		}
	}
	return why
}

// viewTopology shows a cluster's replication tree.
func viewTopology(p *page, t *api.TopologyReply) {
	r := t.Snapshot.Route
	p.row(0, cell{"Cluster " + t.Cluster + ":", bold}, cell{"primary " + orNobody(r.Writer), plain},
		cell{fmt.Sprintf("· epoch %d", r.Epoch), plain}, writerMode(r.Mode), cell{"· " + p.instant(t.Snapshot.Taken), dim})
	for _, line := range t.Lines {
		p.say(0, plain, "%s", line)
	}
}
