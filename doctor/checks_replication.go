package doctor

import (
	"strconv"
	"strings"
	"time"

	"github.com/remora-ha/remora/failover"
)

const (
	// patient is how often a replica shall try at least before it gives up.
	patient = 86400
	// netTimeoutMost is how long a replica that was cut off may think that its source
	// is silent; the servers' own default.
	netTimeoutMost = 60 * time.Second
)

// replicationChecks are about how servers replicate, now and after they were moved.
var replicationChecks = []Check{
	{
		Name: "channel_retry",
		Why:  "A replica that gives up, or tries seldom, stays behind after a failover until somebody starts it.",
		look: servers(func(c *Cluster, s *Server, add adder) {
			for _, ch := range s.Channels {
				want := c.Want.ConnectRetry
				if want > 0 && ch.ConnectRetry.D() > max(want.D(), time.Second) {
					add(Warning, s.change("CONNECT_RETRY", strconv.Itoa(int(max(want.D(), time.Second)/time.Second)), ch.Name),
						"%sit tries to connect every %s only; mysql.connect_retry is %s", of(ch.Name), ch.ConnectRetry, want)
				}
				if ch.Retries != nil && *ch.Retries > 0 && *ch.Retries < patient {
					add(Error, s.change("RETRY_COUNT", strconv.Itoa(patient), ch.Name), "%sit gives up for good after %d attempts", of(ch.Name), *ch.Retries)
				}
			}
		}),
	},
	{
		Name: "channel_failover",
		Why:  "Such a replica follows whom its own list names, when it loses its source or the list likes another one better (from 8.0.23): it may get what the next primary lacks, or leave one that waits for its acknowledgements.",
		look: servers(func(_ *Cluster, s *Server, add adder) {
			for _, ch := range s.Channels {
				if ch.Wanders {
					add(Warning, s.change(autoFailover, "0", ch.Name),
						"%sSOURCE_CONNECTION_AUTO_FAILOVER is on: it changes its source by itself; the next repoint turns that off", of(ch.Name))
				}
			}
		}),
	},
	{
		Name: "channel_heartbeat",
		Why:  "By heartbeats replicas prove that their source lives; without them a frozen primary is seen late or not at all.",
		look: servers(func(c *Cluster, s *Server, add adder) {
			_, text, _ := s.either("replica_net_timeout", "slave_net_timeout")
			limit, _ := strconv.Atoi(text)
			want := strconv.FormatFloat(c.Policy.Detection.Heartbeat.D().Seconds(), 'f', -1, 64)
			schema, known := s.Variables["performance_schema"]
			blind := !s.mariadb() && (known && off(schema) || len(s.Unread) > 0) // what was denied is told already
			if len(s.State.Sources) > 0 && !s.mariadb() && known && off(schema) {
				add(Error, "performance_schema = ON in the option file, and a restart", "performance_schema is OFF, so nobody can read whether heartbeats come")
			}
			for _, src := range s.State.Sources {
				switch timeout := time.Duration(limit) * time.Second; {
				case src.Heartbeat == 0 && !blind:
					add(Error, s.change("HEARTBEAT_PERIOD", want, src.Channel), "%sits source sends no heartbeats", of(src.Channel))
				case timeout > 0 && src.Heartbeat.D() >= timeout:
					add(Error, s.change("HEARTBEAT_PERIOD", want, src.Channel),
						"%sits source speaks every %s, and it connects anew after %s of silence", of(src.Channel), src.Heartbeat, timeout)
				}
			}
		}),
	},
	{
		Name: "net_timeout",
		Why:  "A replica that was cut off from a living primary does not connect again for so long, and acknowledges nothing meanwhile.",
		look: servers(func(_ *Cluster, s *Server, add adder) {
			name, text, ok := s.either("replica_net_timeout", "slave_net_timeout")
			if seconds, _ := strconv.Atoi(text); ok && time.Duration(seconds)*time.Second > netTimeoutMost {
				how := Persist
				if s.mariadb() {
					how = Global
				}
				add(Warning, "", "%s is %d s", name, seconds).onServer(s.Addr, Setting{how, name, strconv.Itoa(int(netTimeoutMost / time.Second))})
			}
		}),
	},
	{
		Name: "appliers",
		Why:  "One applier cannot keep up with many writers, and what commits in another order leaves gaps when the server is promoted.",
		look: servers(func(_ *Cluster, s *Server, add adder) {
			name, text, ok := s.either("replica_parallel_workers", "slave_parallel_threads", "slave_parallel_workers")
			workers, _ := strconv.Atoi(text)
			if ok && workers < 2 {
				add(Advice, "SET GLOBAL "+name+" = 4 while the SQL thread is stopped, and in the option file", "%s is %d: it applies one transaction at a time", name, workers)
			}
			order, value, ok := s.either("replica_preserve_commit_order", "slave_preserve_commit_order")
			if ok && !s.mariadb() && workers > 1 && off(value) {
				add(Error, "SET PERSIST "+order+" = ON while the SQL thread is stopped", "%s is OFF with %d workers", order, workers)
			}
		}),
	},
	{
		Name: "relay_log",
		Why:  "After a crash of its machine the relay log may be damaged, and without recovery replication stops there.",
		look: servers(func(_ *Cluster, s *Server, add adder) {
			if v, ok := s.Variables["relay_log_recovery"]; ok && !s.mariadb() && off(v) {
				add(Warning, "relay_log_recovery = ON in the option file", "relay_log_recovery is OFF")
			}
		}),
	},
	{
		Name: "skipped_errors",
		Why:  "Errors that are passed over make a replica another database than its primary, and a failover makes it the truth.",
		look: servers(func(_ *Cluster, s *Server, add adder) {
			if name, v, ok := s.either("replica_skip_errors", "slave_skip_errors"); ok && !off(v) {
				add(Error, "take "+name+" out of the option file, restart, and compare its data with the primary's", "%s is %s", name, v)
			}
			if name, v, ok := s.either("replica_exec_mode", "slave_exec_mode"); ok && strings.EqualFold(v, "IDEMPOTENT") {
				add(Warning, "SET GLOBAL "+name+" = STRICT", "%s is IDEMPOTENT: rows that are missing or double pass unseen", name)
			}
		}),
	},
	{
		Name: "replica_start",
		Why:  "After a restart it does not replicate until somebody starts it.",
		look: servers(func(_ *Cluster, s *Server, add adder) {
			if name, v, ok := s.either("skip_replica_start", "skip_slave_start"); ok && !off(v) {
				add(Warning, "take "+name+" out of the option file, or repair.stopped: start", "%s is ON", name)
			}
		}),
	},
	{
		Name: "semi_sync_plugin",
		Why:  "Without both plugins commits cannot wait for this server, nor it for others when it is promoted.",
		look: servers(func(c *Cluster, s *Server, add adder) {
			if c.Policy.Durability != failover.SemiSync || s.mariadb() {
				return
			}
			for _, side := range []struct{ name, is, was string }{
				{"source", "rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled"},
				{"replica", "rpl_semi_sync_replica_enabled", "rpl_semi_sync_slave_enabled"},
			} {
				if _, _, ok := s.either(side.is, side.was); !ok {
					add(Error, s.installSemiSync(side.name)+", with super_read_only off for a moment where it is on", "the policy's durability is semi_sync, and it has no plugin for it as a %s", side.name)
				}
			}
		}),
	},
}

// of names a channel in a sentence, the default one not.
func of(channel string) string {
	if channel == "" {
		return ""
	}
	return "channel " + channel + ": "
}
