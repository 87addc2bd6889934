package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remora-ha/remora/failover"
)

// Variables are those of a ProxySQL that the checks look at.
func Variables() []string {
	return []string{
		varHold, varConnectRetries, varQueryRetries, varStickyInserts, varKills, varSync, varMonitor, varShunned, varAdmin,
	}
}

const (
	varHold           = "mysql-connect_timeout_server_max"
	varConnectRetries = "mysql-connect_retries_on_failure"
	varQueryRetries   = "mysql-query_retries_on_failure"
	varStickyInserts  = "mysql-auto_increment_delay_multiplex"
	varKills          = "mysql-kill_backend_connection_when_disconnect"
	varSync           = "admin-cluster_mysql_servers_diffs_before_sync"
	varMonitor        = "mysql-monitor_enabled"
	varShunned        = "mysql-shun_recovery_time_sec"
	varAdmin          = "admin-mysql_ifaces"
)

const (
	// holdLeast is how long statements shall be held at least while nobody can write.
	holdLeast = 20 * time.Second
	// shunMost is how long a server may stay away after it was shunned for a moment.
	shunMost = 10
)

// proxyChecks are about each node's own ProxySQL.
var proxyChecks = []Check{
	{
		Name: "proxy_unreachable",
		Why:  "A failover waits for a proxy that nobody can speak to.",
		look: func(f *Facts) (hits []hit) {
			for _, n := range f.Nodes {
				if n.Proxy != nil && n.Proxy.Error != "" {
					hits = append(hits, hit{severity: Unknown, where: proxyOf(n), sentence: "it could not be read: " + n.Proxy.Error, mend: "is ProxySQL up, and proxysql.password right?"})
				}
			}
			return hits
		},
	},
	{
		Name: "proxy_monitor_tables",
		Why:  "By such a row ProxySQL's monitor moves servers itself, and opens one that Remora has closed.",
		look: proxies(func(f *Facts, _ *Node, p *Proxy, add proxyAdder) {
			for _, claim := range p.Claims {
				for _, c := range f.Clusters {
					if slices.Contains(claim.Groups, c.WriterGroup) || slices.Contains(claim.Groups, c.ReaderGroup) {
						add(Error, c.Name, fmt.Sprintf("DELETE FROM %s WHERE writer_hostgroup = %d; LOAD MYSQL SERVERS TO RUNTIME; or hostgroups.take_over: true", claim.Table, claim.Groups[0]),
							"%s names the managed hostgroups (%s)", claim.Table, numbersOf(claim.Groups))
					}
				}
			}
		}),
	},
	{
		Name: "proxy_cluster_sync",
		Why:  "ProxySQL Cluster would copy another node's servers over what Remora wrote here, a fence too.",
		look: proxies(func(_ *Facts, n *Node, p *Proxy, add proxyAdder) {
			if p.Peers > 0 && number(p.Runtime[varSync]) > 0 {
				add(Error, "", "", "proxysql_servers has %d rows, and %s is %s", p.Peers, varSync, p.Runtime[varSync]).onProxy(n.Name, Setting{Name: varSync, Value: "0"})
			}
		}),
	},
	{
		Name: "proxy_kills",
		Why:  "On MariaDB the KILL of a session that waits for an acknowledgement ends the wait of others too, whose commits no replica has.",
		look: proxies(func(f *Facts, n *Node, p *Proxy, add proxyAdder) {
			for _, c := range f.Clusters {
				if w := c.writer(); c.Policy.Durability == failover.SemiSync && (w == nil || w.mariadb()) && p.Runtime[varKills] == "true" {
					add(Error, c.Name, "", "it ends a statement with KILL when its client goes away").onProxy(n.Name, Setting{Name: varKills, Value: "false"})
					return
				}
			}
		}),
	},
	{
		Name: "proxy_hold_time",
		Why:  "So long are statements held while nobody can write; after it every client gets an error.",
		look: proxies(func(f *Facts, n *Node, p *Proxy, add proxyAdder) {
			least := holdLeast
			for _, c := range f.Clusters {
				least = max(least, c.Policy.Switchover.Timeout.D()+5*time.Second)
			}
			if have, ok := p.Runtime[varHold]; ok && time.Duration(number(have))*time.Millisecond < least {
				add(Warning, "", "", "%s is %s ms", varHold, have).onProxy(n.Name, Setting{Name: varHold, Value: strconv.FormatInt(least.Milliseconds(), 10)})
			}
		}),
	},
	{
		Name: "proxy_connect_retries",
		Why:  "A statement is not held but refused when the first attempt at a server that has just died fails.",
		look: proxies(func(_ *Facts, n *Node, p *Proxy, add proxyAdder) {
			if have, ok := p.Runtime[varConnectRetries]; ok && number(have) < 10 {
				add(Warning, "", "", "%s is %s", varConnectRetries, have).onProxy(n.Name, Setting{Name: varConnectRetries, Value: "10"})
			}
		}),
	},
	{
		Name: "proxy_query_retries",
		Why:  "A write whose connection broke may have been committed, and is run a second time.",
		look: proxies(func(_ *Facts, _ *Node, p *Proxy, add proxyAdder) {
			if have, ok := p.Runtime[varQueryRetries]; ok && number(have) > 0 {
				add(Warning, "", Fix{Proxy: "-", Settings: []Setting{{Name: varQueryRetries, Value: "0"}}}.String()+"; or query rules with retries = 0 for writes", "%s is %s", varQueryRetries, have)
			}
		}),
	},
	{
		Name: "proxy_sticky_inserts",
		Why:  "A busy session that inserts into tables with AUTO_INCREMENT keeps its connection through a switchover's pause, writes on, and is ended with an error when switchover.drain has passed.",
		look: proxies(func(_ *Facts, _ *Node, p *Proxy, add proxyAdder) {
			if have, ok := p.Runtime[varStickyInserts]; ok && number(have) > 0 {
				add(Warning, "", Fix{Proxy: "-", Settings: []Setting{{Name: varStickyInserts, Value: "0"}}}.String()+"; not where an application uses LAST_INSERT_ID() in other statements than SELECT LAST_INSERT_ID()",
					"%s is %s", varStickyInserts, have)
			}
		}),
	},
	{
		Name: "proxy_one_writer",
		Why:  "With it ProxySQL serves none of two writers that are ONLINE at once: the last guard against both taking writes.",
		look: proxies(func(f *Facts, _ *Node, p *Proxy, add proxyAdder) {
			for _, c := range f.Clusters {
				switch {
				case c.Epoch == 0:
				case p.Online == nil || older(p.Version, "2.6.3"):
					add(Warning, c.Name, "ProxySQL 2.6.3 or newer", "ProxySQL %s does not heed max_num_online_servers", p.Version)
				case p.Online[c.WriterGroup] != 1:
					add(Error, c.Name, "Remora sets it with the next route; see the sidecar's log",
						"max_num_online_servers of hostgroup %d is not 1 in runtime", c.WriterGroup)
				}
			}
		}),
	},
	{
		Name: "proxy_monitor",
		Why:  "A monitor that cannot log in, or a long stay after a shun, keeps a server away that could serve.",
		look: proxies(func(_ *Facts, n *Node, p *Proxy, add proxyAdder) {
			if p.Runtime[varMonitor] == "true" && len(p.Logins) > 0 {
				add(Warning, "", "mysql-monitor_username and mysql-monitor_password, or mysql-monitor_enabled = false", "its monitor is refused by %s", strings.Join(p.Logins, ", "))
			}
			if have, ok := p.Runtime[varShunned]; ok && number(have) > shunMost {
				add(Warning, "", "", "%s is %s", varShunned, have).onProxy(n.Name, Setting{Name: varShunned, Value: strconv.Itoa(shunMost)})
			}
		}),
	},
	{
		Name: "proxy_layers",
		Why:  "What differs is changed by the next LOAD of any hand, or by the next restart.",
		look: proxies(func(_ *Facts, _ *Node, p *Proxy, add proxyAdder) {
			for _, name := range slices.Sorted(maps.Keys(p.Runtime)) {
				have, class := p.Runtime[name], Fix{Settings: []Setting{{Name: name}}}.Class()
				switch {
				case p.Memory[name] != have:
					add(Warning, "", "LOAD "+class+" VARIABLES TO RUNTIME, or SAVE "+class+" VARIABLES FROM RUNTIME", "%s is %s in runtime and %s in memory", name, have, orWord(p.Memory[name]))
				case p.Disk != nil && p.Disk[name] != have:
					add(Warning, "", "SAVE "+class+" VARIABLES TO DISK", "%s is %s in runtime and %s on disk", name, have, orWord(p.Disk[name]))
				}
			}
		}),
	},
	{
		Name: "proxy_hostgroups",
		Why:  "A hostgroup without servers serves nobody.",
		look: proxies(func(f *Facts, _ *Node, p *Proxy, add proxyAdder) {
			for _, c := range f.Clusters {
				if c.Epoch > 0 && p.Groups[c.WriterGroup] == 0 {
					add(Error, c.Name, "Remora adds them with the next route; see the sidecar's log", "no server of hostgroup %d is in runtime", c.WriterGroup)
				}
			}
		}),
	},
	{
		Name: "proxy_users",
		Why:  "Writes of an application that is sent elsewhere never reach the primary, or a transaction is torn over two servers.",
		look: proxies(proxyUsers),
	},
	{
		Name: "proxy_admin",
		Why:  "Who reaches the admin interface can route writes anywhere.",
		look: proxies(func(_ *Facts, _ *Node, p *Proxy, add proxyAdder) {
			for listen := range strings.SplitSeq(p.Runtime[varAdmin], ";") {
				listen = strings.TrimSpace(listen)
				if listen != "" && !strings.HasPrefix(listen, "127.") && !strings.HasPrefix(listen, "localhost:") && !strings.HasPrefix(listen, "[::1]") && !strings.HasPrefix(listen, "/") {
					add(Warning, "", "admin-mysql_ifaces = '127.0.0.1:6032'", "its admin interface listens on %s", listen)
				}
			}
		}),
	},
}

type proxyAdder = func(severity Severity, cluster, mend, format string, args ...any) *hit

// proxies looks at every proxy that was read.
func proxies(look func(*Facts, *Node, *Proxy, proxyAdder)) func(*Facts) []hit {
	return func(f *Facts) []hit {
		var hits []*hit
		for i := range f.Nodes {
			n := &f.Nodes[i]
			if n.Error != "" || n.Proxy == nil || n.Proxy.Error != "" {
				continue
			}
			look(f, n, n.Proxy, func(severity Severity, cluster, mend, format string, args ...any) *hit {
				h := &hit{severity: severity, cluster: cluster, where: proxyOf(*n), sentence: fmt.Sprintf(format, args...), mend: mend}
				hits = append(hits, h)
				return h
			})
		}
		return values(hits)
	}
}

func proxyUsers(f *Facts, _ *Node, p *Proxy, add proxyAdder) {
	for _, c := range f.Clusters {
		for _, u := range p.Users {
			switch {
			case u.Group == c.ReaderGroup:
				add(Warning, c.Name, fmt.Sprintf("default_hostgroup = %d, and query rules for its reads", c.WriterGroup), "user %s goes to the readers (hostgroup %d) by default", u.Name, u.Group)
			case u.Group == c.WriterGroup && !u.Persistent:
				add(Warning, c.Name, "UPDATE mysql_users SET transaction_persistent = 1; LOAD MYSQL USERS TO RUNTIME", "user %s has transaction_persistent off", u.Name)
			}
		}
	}
	for _, u := range p.Users {
		known := slices.ContainsFunc(f.Clusters, func(c Cluster) bool { return u.Group == c.WriterGroup || u.Group == c.ReaderGroup })
		if !known && p.Groups[u.Group] == 0 {
			add(Warning, "", "default_hostgroup of a cluster's writers", "user %s goes to hostgroup %d, which has no server", u.Name, u.Group)
		}
	}
}

func proxyOf(n Node) string { return n.Name + "'s proxy" }

func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

func numbersOf(list []int) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ", ")
}
