package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

const (
	// clockLimit is how far a clock may be off beyond what the measurement leaves open.
	clockLimit = 500 * time.Millisecond
	// certificateSoon is how long before its end a certificate is told of.
	certificateSoon = 30 * 24 * time.Hour
)

// serverChecks are about a server by itself, and about servers side by side.
var serverChecks = []Check{
	{
		Name: "server_unreadable",
		Why:  "What cannot be read is not promoted, and nobody knows what it is set to.",
		look: unreadable,
	},
	{
		Name: "binary_log",
		Why:  "A replica without a binary log of all that it applies can never become the primary.",
		look: servers(func(_ *Cluster, s *Server, add adder) {
			if !s.State.LogBin {
				add(Error, "log_bin in the option file, and a restart", "log_bin is off")
			} else if !s.State.LogReplicaUpdates {
				add(Error, s.spelled("log_slave_updates", "log_replica_updates")+" = ON in the option file, and a restart", "it does not log what it replicates")
			}
		}),
	},
	{
		Name: "binlog_format",
		Why:  "Statements may do something else on a replica, and what diverged cannot be saved or taken back from them.",
		look: servers(func(_ *Cluster, s *Server, add adder) {
			if f := s.State.BinlogFormat; s.State.LogBin && f != "" && f != "ROW" {
				add(Warning, "SET GLOBAL binlog_format = 'ROW' (new sessions log so), and in the option file", "binlog_format is %s", f)
			}
			if v, ok := s.Variables["binlog_row_image"]; ok && v != "FULL" {
				add(Advice, "binlog_row_image = FULL", "binlog_row_image is %s: `remora rejoin --discard` needs full images", v)
			}
		}),
	},
	{
		Name: "report_host",
		Why:  "By it replicas are found that nobody named, and a wrong one is taken for another server.",
		look: reportHost,
	},
	{
		Name: "read_only_at_boot",
		Why:  "A server that starts open takes writes after a crash before anybody can close it.",
		look: servers(readOnlyAtBoot),
	},
	{
		Name: "super_read_only",
		Why:  "read_only alone lets every account with SUPER or CONNECTION_ADMIN write to a replica.",
		look: servers(func(c *Cluster, s *Server, add adder) {
			if st := s.State; !s.mariadb() && st.IsReplica() && !c.primary(s) && st.ReadOnly && !st.SuperReadOnly {
				add(Warning, "", "the replica has read_only and not super_read_only").onServer(s.Addr, Setting{Global, "super_read_only", "ON"})
			}
		}),
	},
	{
		Name: "server_id",
		Why:  "A replica leaves out what a server of its own id wrote, so transactions vanish without an error.",
		look: duplicates,
	},
	{
		Name: "gtid",
		Why:  "Without GTIDs for everything nobody can tell what a replica lacks, so it is neither promoted nor moved.",
		look: servers(func(_ *Cluster, s *Server, add adder) {
			switch st := s.State; {
			case s.mariadb() && !st.GTIDStrict:
				add(Warning, "SET GLOBAL gtid_strict_mode = ON, and in the option file, when its replicas replicate without an error", "gtid_strict_mode is off: histories may diverge unseen")
			case !s.mariadb() && st.GTIDMode != "ON":
				add(Error, "gtid_mode = ON and enforce_gtid_consistency = ON, step by step on all servers as the manual says", "gtid_mode is %s", orWord(st.GTIDMode))
			case !s.mariadb() && s.Variables["enforce_gtid_consistency"] == "WARN":
				add(Warning, "SET PERSIST enforce_gtid_consistency = ON", "enforce_gtid_consistency is WARN")
			}
		}),
	},
	{
		Name: "durability",
		Why:  "Under semi_sync a server that crashes must still have what it acknowledged, or a failover loses it after all.",
		look: servers(durability),
	},
	{
		Name: "event_scheduler",
		Why:  "Events that run on a replica diverge it; where the next primary's scheduler is off they stop at a failover.",
		look: servers(func(c *Cluster, s *Server, add adder) {
			on := func(s *Server) bool { return strings.EqualFold(s.Variables["event_scheduler"], "ON") }
			if s.State.IsReplica() && !c.primary(s) && on(s) && s.Events != nil && *s.Events > 0 {
				add(Error, "ALTER EVENT … DISABLE ON "+s.sideDisabled()+" for each", "the scheduler is on and %d events are enabled on this replica", *s.Events)
			}
			if w := c.writer(); w != nil && on(w) && !on(s) {
				add(Warning, "SET GLOBAL event_scheduler = ON, and in the option file, where no event is enabled here", "event_scheduler is %s, and ON at the primary", orWord(s.Variables["event_scheduler"]))
			}
		}),
	},
	{
		Name: "versions",
		Why:  "An older server may not be able to replicate from a newer one, so promoting some server strands others.",
		look: servers(func(c *Cluster, s *Server, add adder) {
			w := c.writer()
			if w == nil || w == s {
				return
			}
			switch {
			case w.State.Flavor != s.State.Flavor:
				add(Error, "one flavor in a cluster", "it runs %s, the primary %s", s.State.Flavor, w.State.Flavor)
			case older(s.State.Version, w.State.Version):
				severity := Advice // a release of the same series
				if older(series(s.State.Version), series(w.State.Version)) {
					severity = Warning
				}
				add(severity, "upgrade replicas before the primary", "it runs %s, older than the primary's %s", s.State.Version, w.State.Version)
			}
		}),
	},
	{
		Name: "clone",
		Why:  "The policy rejoins a diverged server by cloning it, which fails where its tool is missing.",
		look: servers(func(c *Cluster, s *Server, add adder) {
			switch {
			case c.Policy.Rejoin != failover.RejoinClone || c.Policy.Clone.Command != "":
			case s.mariadb():
				add(Error, "clone.command in the policy", "the policy says rejoin: clone and names no command, and MariaDB has no CLONE of its own")
			case !s.since("8.0.17"):
				add(Error, "upgrade it, or clone.command in the policy", "the policy says rejoin: clone and names no command, and MySQL has CLONE from 8.0.17 on")
			case s.Plugins != nil && !s.Plugins["clone"]:
				add(Advice, "plugin-load-add = mysql_clone.so in the option file", "the plugin clone is not active: Remora installs it on the server that is cloned and on a primary that gives its data; a replica, which is closed, cannot give its own")
			}
		}),
	},
	{
		Name: "server_clock",
		Why:  "Lag is told by the difference of two servers' clocks, and so are the times in the history.",
		look: servers(func(_ *Cluster, s *Server, add adder) {
			if off, yes := s.Clock.off(); yes {
				add(Warning, "run an NTP client on its machine", "its clock is %s", off)
			}
		}),
	},
}

// adder adds a finding of the server that is looked at.
type adder = func(severity Severity, mend, format string, args ...any) *hit

func unreadable(f *Facts) (hits []hit) {
	for _, c := range f.Clusters {
		for _, s := range c.Servers {
			if !s.read() {
				why := s.Error
				if why == "" {
					why = "nothing was read of it"
				}
				hits = append(hits, hit{severity: Unknown, cluster: c.Name, where: string(s.Addr), sentence: "it could not be read: " + why,
					mend: "start it, or look at the network and at Remora's account there"})
			}
			for _, u := range s.Unread {
				hits = append(hits, hit{severity: Unknown, cluster: c.Name, where: string(s.Addr), sentence: u, mend: "docs/privileges.md lists what the account needs"})
			}
		}
		if len(c.Servers) == 0 {
			hits = append(hits, hit{severity: Unknown, cluster: c.Name, where: "cluster " + c.Name, sentence: "no server of it is known", mend: "`seeds` in the configuration"})
		}
	}
	return hits
}

func reportHost(f *Facts) []hit {
	var all []topology.Addr
	for _, c := range f.Clusters {
		for _, s := range c.Servers {
			all = append(all, s.Addr)
		}
	}
	return servers(func(_ *Cluster, s *Server, add adder) {
		switch as := s.State.ReportedAs; {
		case as == "":
			add(Warning, fmt.Sprintf("report_host = %s in the option file, and a restart", s.Addr.Host()), "report_host is not set")
		case !slices.Contains(all, as):
			add(Warning, fmt.Sprintf("report_host = %s, report_port = %d in the option file, and a restart", s.Addr.Host(), s.Addr.Port()),
				"it reports itself as %s, which no sidecar knows it by", as)
		}
	})(f)
}

// readOnlyAtBoot looks at what the value was set by: one that SQL has set since the
// start says nothing of the next start.
func readOnlyAtBoot(c *Cluster, s *Server, add adder) {
	for _, name := range []string{"read_only", "super_read_only"} {
		value, persisted := s.Persisted[name]
		switch {
		case !persisted:
		case off(value):
			add(Error, "", "SET PERSIST made %s OFF for every start, whatever the option file says", name).onServer(s.Addr, Setting{How: Reset, Name: name})
		case c.primary(s) && c.Policy.Repair.ReadOnlyPrimary == failover.ReadOnlyLeave:
			add(Warning, "RESET PERSIST IF EXISTS "+name+", or repair.read_only_primary: restarted",
				"SET PERSIST made %s ON at the primary: it is closed after a restart, and repair.read_only_primary leaves it so", name)
		case c.primary(s):
			add(Advice, "RESET PERSIST IF EXISTS "+name+", and "+name+" = ON in the option file",
				"SET PERSIST made %s ON at the primary: after a restart it is closed until Remora opens it", name)
		}
	}
	if _, persisted := s.Persisted["read_only"]; persisted || s.Persisted["super_read_only"] != "" {
		return
	}
	if value, origin := s.Variables["read_only"], strings.ToUpper(s.Origins["read_only"]); off(value) && origin != "" && origin != "SQL" && origin != "DYNAMIC" {
		add(Warning, "read_only = ON in the option file", "it started with read_only OFF (%s), and will again", strings.ToLower(origin))
	}
}

func duplicates(f *Facts) (hits []hit) {
	for _, c := range f.Clusters {
		ids, uuids := map[uint32]topology.Addr{}, map[string]topology.Addr{}
		for _, s := range c.Servers {
			if !s.read() {
				continue
			}
			add := func(mend, format string, args ...any) {
				hits = append(hits, hit{severity: Error, cluster: c.Name, where: string(s.Addr), sentence: fmt.Sprintf(format, args...), mend: mend})
			}
			if first, twice := ids[s.State.ServerID]; twice {
				add("a server_id of its own in the option file, and SET GLOBAL server_id", "its server_id %d is that of %s too", s.State.ServerID, first)
			}
			ids[s.State.ServerID] = s.Addr
			if uuid := s.State.ServerUUID; uuid != "" {
				if first, twice := uuids[uuid]; twice {
					add("stop it, delete auto.cnf in its data directory, start it", "its server_uuid is that of %s too", first)
				}
				uuids[uuid] = s.Addr
			}
		}
	}
	return hits
}

func durability(c *Cluster, s *Server, add adder) {
	if c.Policy.Durability != failover.SemiSync {
		return
	}
	how := Global
	if !s.mariadb() {
		how = Persist
	}
	for _, v := range []struct{ name, enough string }{{"sync_binlog", "1"}, {"innodb_flush_log_at_trx_commit", "1 3"}} {
		value, ok := s.Variables[v.name]
		if ok && !listed(v.enough, value) {
			h := add(Warning, "", "%s is %s", v.name, value)
			h.onServer(s.Addr, Setting{how, v.name, "1"})
			if how == Global {
				h.mend += ", and in the option file"
			}
		}
	}
}

// off says in a sentence how far a clock is off, where that is more than enough.
func (c *Clock) off() (string, bool) {
	if c == nil {
		return "", false
	}
	ahead := c.Ahead.D()
	word := "ahead of"
	if ahead < 0 {
		ahead, word = -ahead, "behind"
	}
	if ahead-c.Within.D() <= clockLimit {
		return "", false
	}
	return fmt.Sprintf("%s %s that of who asked (±%s)", ahead.Round(time.Millisecond), word, c.Within.D().Round(time.Millisecond)), true
}

// older compares versions by their three numbers.
func older(a, b string) bool { return slices.Compare(numbers(a), numbers(b)) < 0 }

// series is the first two numbers of a version.
func series(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

func numbers(version string) []int {
	var list []int
	for part := range strings.SplitSeq(version, ".") {
		end := 0
		for end < len(part) && part[end] >= '0' && part[end] <= '9' {
			end++
		}
		n, _ := strconv.Atoi(part[:end])
		if list = append(list, n); end < len(part) || len(list) == 3 {
			break
		}
	}
	return list
}

func off(value string) bool {
	switch strings.ToUpper(value) {
	case "", "0", "OFF", "NO", "FALSE":
		return true
	}
	return false
}

func orWord(value string) string {
	if value == "" {
		return "unknown"
	}
	return value
}
