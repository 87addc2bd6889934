package endpoints

import (
	"net"
	"regexp"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// setReadOnly: super_read_only brings read_only with it, and read_only off takes it away.
func setReadOnly(super, on bool) command {
	return change(func(in *Instance) *wire.Error {
		switch {
		case super && !on:
			in.super = false
		case super:
			in.open, in.super = false, true
		default:
			in.open = !on
			in.super = in.super && on
		}
		return nil
	})
}

// runThreads starts or stops the receiving thread, the applying one, or both.
func runThreads(start bool, which string) command {
	return change(func(in *Instance) *wire.Error {
		s := in.source
		if s == nil {
			return &wire.Error{Code: 1200, State: "HY000", Message: "The server is not configured as replica; fix with CHANGE REPLICATION SOURCE TO"}
		}
		if which != "SQL_THREAD" {
			s.io = start
		}
		if which != "IO_THREAD" {
			s.sql = start
		}
		return nil
	})
}

func forgetSource() command {
	return change(func(in *Instance) *wire.Error {
		if s := in.source; s != nil && (s.io || s.sql) {
			return &wire.Error{Code: 3081, State: "HY000", Message: "This operation cannot be performed with running replication threads"}
		}
		in.source = nil
		return nil
	})
}

var sourceOption = regexp.MustCompile(`(?i)SOURCE_(HOST|PORT|USER|CONNECT_RETRY|HEARTBEAT_PERIOD)\s*=\s*'?([^',]*)'?`)

// bothStopped are options that a running SQL thread does not allow.
var bothStopped = regexp.MustCompile(`(?i)SOURCE_(AUTO_POSITION|DELAY|CONNECTION_AUTO_FAILOVER)`)

// changeSource takes the options that mean something here; the others are accepted. What was received is kept while the SQL
// thread runs.
func changeSource(options string) command {
	given := map[string]string{}
	for _, m := range sourceOption.FindAllStringSubmatch(options, -1) {
		given[m[1]] = m[2]
	}
	return change(func(in *Instance) *wire.Error {
		s := in.source
		if s != nil && s.io {
			return &wire.Error{Code: 3021, State: "HY000", Message: "This operation cannot be performed with a running replica io thread"}
		}
		if s != nil && s.sql && bothStopped.MatchString(options) {
			return &wire.Error{Code: 3081, State: "HY000", Message: "This operation cannot be performed with running replication threads"}
		}
		if s == nil {
			s = &source{retry: "60", heartbeat: "30.000"}
		}
		next := &source{addr: s.addr, user: s.user, retry: s.retry, heartbeat: s.heartbeat}
		if s.sql {
			next.sql, next.received = true, s.received
		}
		if given["HOST"] != "" {
			next.addr = net.JoinHostPort(given["HOST"], given["PORT"])
		}
		set := func(to *string, name string) {
			if given[name] != "" {
				*to = given[name]
			}
		}
		set(&next.user, "USER")
		set(&next.retry, "CONNECT_RETRY")
		set(&next.heartbeat, "HEARTBEAT_PERIOD")
		in.source = next
		return nil
	})
}
