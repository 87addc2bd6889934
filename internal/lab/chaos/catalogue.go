package chaos

import "github.com/remora-ha/remora/internal/lab"

// catalogue are all kinds of faults.
var catalogue = []fault{
	// Processes.
	{name: "primary killed", means: "kill -9 of the primary", make: func(s *scene) blow {
		return killed(s.f.DB.Servers[s.primary].Process)
	}},
	{name: "primary frozen", means: "SIGSTOP to the primary", make: func(s *scene) blow {
		return frozen(s.f.DB.Servers[s.primary].Process)
	}},
	{name: "replica killed", means: "kill -9 of a replica", make: func(s *scene) blow {
		return killed(s.f.DB.Servers[s.replica()].Process)
	}},
	{name: "replica frozen", means: "SIGSTOP to a replica", make: func(s *scene) blow {
		return frozen(s.f.DB.Servers[s.replica()].Process)
	}},
	{name: "all replicas killed", means: "nobody is left to acknowledge: writes wait, by policy", alone: true, make: func(s *scene) blow {
		var all []blow
		for i, server := range s.f.DB.Servers {
			if i != s.primary {
				all = append(all, killed(server.Process))
			}
		}
		return together(all...)
	}},
	{name: "sidecar killed", means: "kill -9 of a sidecar that does not lead", make: func(s *scene) blow {
		return killed(s.f.Sidecars[s.follower()])
	}},
	{name: "leader killed", means: "kill -9 of the leading sidecar", make: func(s *scene) blow {
		return killed(s.f.Sidecars[s.leader])
	}},
	{name: "leader frozen", means: "SIGSTOP to the leading sidecar", make: func(s *scene) blow {
		return frozen(s.f.Sidecars[s.leader]).without(s.leader)
	}},
	{name: "leader and primary killed", means: "both at once", make: func(s *scene) blow {
		return together(killed(s.f.Sidecars[s.leader]), killed(s.f.DB.Servers[s.primary].Process)).without(s.leader)
	}},
	{name: "proxy killed", means: "kill -9 of a ProxySQL", make: func(s *scene) blow {
		i := s.anyNode()
		return killed(s.f.Proxies[i].Process).without(i)
	}},
	{name: "proxy frozen, primary killed", means: "a ProxySQL that cannot be fenced, and a failover", make: func(s *scene) blow {
		i := s.anyNode()
		return together(frozen(s.f.Proxies[i].Process), killed(s.f.DB.Servers[s.primary].Process)).without(i)
	}},
	{name: "sidecar and primary killed", means: "a living ProxySQL without its sidecar, and a failover", make: func(s *scene) blow {
		i := s.follower()
		return together(killed(s.f.Sidecars[i]), killed(s.f.DB.Servers[s.primary].Process)).without(i)
	}},
	{name: "primary left to a proxy without sidecar", means: "a ProxySQL and its clients still reach the old primary; only durability keeps them out", make: func(s *scene) blow {
		i := s.follower()
		return together(killed(s.f.Sidecars[i]), s.leftTo(i)).without(i)
	}},
	{name: "primary left to a proxy with a frozen sidecar", means: "the same, and on its return the sidecar believes that nothing happened", make: func(s *scene) blow {
		i := s.anyNode()
		return together(frozen(s.f.Sidecars[i]), s.leftTo(i)).without(i)
	}},

	// Disks.
	{name: "primary's disk full", means: "commits wait for room; no failover", alone: true, make: func(s *scene) blow {
		server := s.f.DB.Servers[s.primary]
		return full(server.Name, server.Disk)
	}},
	{name: "replica's disk full", means: "a replica can acknowledge nothing", make: func(s *scene) blow {
		server := s.f.DB.Servers[s.replica()]
		return full(server.Name, server.Disk)
	}},
	{name: "leader's disk full", means: "the leader can log nothing", make: func(s *scene) blow {
		return full(s.f.Sidecars[s.leader].Name, s.f.Sidecars[s.leader].Disk())
	}},

	// Whole hosts: server, sidecar, proxy, clients.
	{name: "primary's host cut", means: "with its sidecar, proxy and clients, from all others", make: func(s *scene) blow {
		return s.isolated(s.host(s.primary)...).without(s.primary)
	}},
	{name: "primary's host cut, with resets", means: "the same, and both sides are told", make: func(s *scene) blow {
		return s.isolated(s.host(s.primary)...).rejected().without(s.primary)
	}},
	{name: "leader's host cut", means: "with its server, from all others", make: func(s *scene) blow {
		return s.isolated(s.host(s.leader)...).without(s.leader)
	}},
	{name: "sidecar's host cut, primary killed", means: "one sidecar and proxy cannot be reached, and a failover", make: func(s *scene) blow {
		i := s.anyNode()
		return together(s.isolated(s.node(i)), killed(s.f.DB.Servers[s.primary].Process)).without(i)
	}},
	{name: "replica's host cut, primary killed", means: "only that replica may have what was acknowledged: refused until it is back", alone: true, make: func(s *scene) blow {
		i := s.replica()
		return together(s.isolated(s.host(i)...), killed(s.f.DB.Servers[s.primary].Process)).without(i)
	}},

	// Servers on the network.
	{name: "primary cut", means: "from sidecars and servers", make: func(s *scene) blow { return s.isolated(s.db(s.primary)) }},
	{name: "primary unplugged", means: "its cable is out", make: func(s *scene) blow { return s.unplugged(s.db(s.primary)) }},
	{name: "primary cannot hear", means: "one way: what is sent to it is lost", make: func(s *scene) blow {
		db := s.db(s.primary)
		return cut(lab.Cut{From: s.f.Network.Others(db), To: []*lab.Host{db}})
	}},
	{name: "primary cannot speak", means: "one way: what it sends is lost", make: func(s *scene) blow {
		db := s.db(s.primary)
		return cut(lab.Cut{From: []*lab.Host{db}, To: s.f.Network.Others(db)})
	}},
	{name: "primary cut from sidecars", means: "its replicas still receive: no failover", alone: true, make: func(s *scene) blow {
		return apart([]*lab.Host{s.db(s.primary)}, s.f.Nodes)
	}},
	{name: "primary cut from replicas", means: "nobody can acknowledge: writes wait; no failover", alone: true, make: func(s *scene) blow {
		db := []*lab.Host{s.db(s.primary)}
		return apart(db, without(s.dbs(), db[0]))
	}},
	{name: "replica cut", means: "from sidecars and servers", make: func(s *scene) blow { return s.isolated(s.db(s.replica())) }},

	// Sidecars on the network.
	{name: "one sidecar cut from the primary", means: "partial: what one alone cannot see is no failover", make: func(s *scene) blow {
		i := s.anyNode()
		return apart([]*lab.Host{s.node(i)}, []*lab.Host{s.db(s.primary)}).without(i)
	}},
	{name: "one sidecar cut from all servers", means: "partial: it still talks to the others", make: func(s *scene) blow {
		i := s.anyNode()
		return apart([]*lab.Host{s.node(i)}, s.dbs()).without(i)
	}},
	{name: "leader cut from all servers", means: "partial: it still talks to the others", make: func(s *scene) blow {
		return apart([]*lab.Host{s.node(s.leader)}, s.dbs()).without(s.leader)
	}},
	{name: "minority of sidecars cut", means: "one sidecar from the others; it sees all servers", make: func(s *scene) blow {
		i := s.follower()
		return apart([]*lab.Host{s.node(i)}, without(s.f.Nodes, s.node(i))).without(i)
	}},
	{name: "leader cut from sidecars", means: "it sees all servers", make: func(s *scene) blow {
		return apart([]*lab.Host{s.node(s.leader)}, without(s.f.Nodes, s.node(s.leader))).without(s.leader)
	}},
	{name: "leader cannot speak to sidecars", means: "one way", make: func(s *scene) blow {
		l := s.node(s.leader)
		return cut(lab.Cut{From: []*lab.Host{l}, To: without(s.f.Nodes, l)}).without(s.leader)
	}},
	{name: "leader cannot hear sidecars", means: "one way", make: func(s *scene) blow {
		l := s.node(s.leader)
		return cut(lab.Cut{From: without(s.f.Nodes, l), To: []*lab.Host{l}}).without(s.leader)
	}},
	{name: "no majority of sidecars", means: "each alone; they see all servers: leases run out, proxies close", alone: true, make: func(s *scene) blow {
		var all []lab.Cut
		for _, n := range s.f.Nodes {
			all = append(all, lab.Cut{From: []*lab.Host{n}, To: without(s.f.Nodes, n)})
		}
		b := cut(all...)
		b.detail = "the sidecars cut from each other"
		return b
	}},
}

// without are hosts but for one.
func without(hosts []*lab.Host, but *lab.Host) []*lab.Host {
	var rest []*lab.Host
	for _, h := range hosts {
		if h != but {
			rest = append(rest, h)
		}
	}
	return rest
}
