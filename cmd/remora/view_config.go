package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/sidecar"
	"github.com/remora-ha/remora/topology"
)

// viewConfig sums up what a valid configuration makes Remora do.
func viewConfig(p *page, file string, c *sidecar.Config) {
	p.row(0, cell{"OK", good}, cell{file, plain})
	p.heading("Node %s, one of %d", c.Node, len(c.Nodes))
	t := &table{head: []string{"NODE", "RAFT", "API", "PROXYSQL"}}
	for _, n := range c.Nodes {
		proxy := "yes"
		if n.Witness {
			proxy = "no (witness)"
		}
		t.add(cell{n.Name, plain}, cell{n.Raft, plain}, cell{n.API, plain}, cell{proxy, plain})
	}
	p.table(2, t)
	fact(p, "API", "listens on %s, %s", c.API.Listen, secretPlace(c.API.Token, "token", "no token is asked for"))
	fact(p, "raft", "listens on %s, data in %s", c.Raft.Listen, orText(c.DataDir, "memory only"))
	fact(p, "lease", "%s, renewed every %s; a silent sidecar has fenced its proxy after %s", c.Lease.TTL, c.Lease.Heartbeat, c.Lease.TTL+c.Lease.FenceTime)
	fact(p, "MySQL", "logs in as %s, %s, TLS %s", c.MySQL.User, secretPlace(c.MySQL.Password, "password", "without a password"), c.MySQL.TLS.Mode)
	fact(p, "replication", "as %s, %s", orText(c.MySQL.ReplicationUser, "nobody"), secretPlace(c.MySQL.ReplicationPassword, "password", "without a password"))
	fact(p, "ProxySQL", "admin at %s as %s, %s", orText(c.ProxySQL.Admin, "none"), c.ProxySQL.User, secretPlace(c.ProxySQL.Password, "password", "without a password"))
	for _, name := range slices.Sorted(maps.Keys(c.Clusters)) {
		viewClusterConfig(p, name, c.Clusters[name])
	}
}

func viewClusterConfig(p *page, name string, c sidecar.ClusterConfig) {
	po := &c.Policy
	p.heading("Cluster %s", name)
	fact(p, "seeds", "%s", topology.JoinAddrs(c.Seeds))
	take := ""
	if c.Hostgroups.TakeOver {
		take = "; what else manages them is taken over"
	}
	fact(p, "hostgroups", "writer %d, reader %d%s", c.Hostgroups.Writer, c.Hostgroups.Reader, take)
	d := &po.Detection
	fact(p, "detection", "probes every %s, at most %s each; dead for a sidecar when refused, or after %d time-outs in a row;", d.Interval, d.Timeout, d.Timeouts)
	fact(p, "", "replicas' sources silent after %g heartbeats of %s; views older than %s do not count", d.Beats, d.Heartbeat, d.Fresh)
	fact(p, "failover", "%s; anti-flap period %s", po.Failover, po.AntiFlap)
	fact(p, "durability", "%s", durability(po))
	fact(p, "candidates", "lag at most %s, when all lag: %s%s; errant transactions: %s", po.Lag.Max, po.Lag.WhenAll, lagWait(po), po.Errant)
	fact(p, "crossing", "data centre: %s, region: %s", po.DataCenter.Cross, po.DataCenter.CrossRegion)
	fact(p, "rejoin", "%s", po.Rejoin)
	fact(p, "lease lost", "%s", po.OnLeaseLoss)
	fact(p, "switchover", "holds writes for %s at most; candidate's lag at most %s; transactions get %s to end", po.Switchover.Timeout, po.Switchover.MaxLag, po.Switchover.Drain)
	fact(p, "readers", "lag at most %s; the writer reads: %s", po.Readers.MaxLag, po.Readers.Writer)
	fact(p, "hooks", "%s", hookCounts(&po.Hooks))
	if len(po.Servers) > 0 {
		t := &table{head: []string{"SERVERS", "PROMOTION", "DATA CENTRE", "REGION", "WEIGHT", "IGNORED"}}
		for _, r := range po.Servers {
			weight, ignored := "", ""
			if r.Weight > 0 {
				weight = fmt.Sprint(r.Weight)
			}
			if r.Ignore {
				ignored = "yes"
			}
			t.add(cell{r.Match, plain}, cell{string(r.Promotion), plain}, cell{r.DataCenter, plain}, cell{r.Region, plain}, cell{weight, plain}, cell{ignored, warn})
		}
		p.table(2, t)
	}
}

func fact(p *page, name, format string, args ...any) {
	p.say(2, plain, "%-12s %s", name, fmt.Sprintf(format, args...))
}

func durability(po *failover.Policy) string {
	if po.Durability == failover.SemiSync {
		return fmt.Sprintf("semi_sync, a commit waits for %s", count(po.WaitCount, "acknowledgement"))
	}
	return string(po.Durability) + "; a failover may lose what no replica has received"
}

func lagWait(po *failover.Policy) string {
	if po.Lag.WhenAll == failover.WhenAllWait {
		return " for " + po.Lag.Wait.String()
	}
	return ""
}

// secretPlace says where a secret is kept, never what it is.
func secretPlace(s sidecar.Secret, what, without string) string {
	switch {
	case s.File != "":
		return what + " from file " + s.File
	case s.Env != "":
		return what + " from $" + s.Env
	default:
		return without
	}
}

func orText(s, without string) string {
	if s == "" {
		return without
	}
	return s
}
