package standin_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// failureCases are about servers that die. They come late: they start the servers anew.
var failureCases = []spec{
	{"a server that dies takes the statement's session along", func(f *fixture) {
		f.serve(online(f.a))
		defer f.revive()
		c := f.client()
		done := c.later("INSERT INTO plain SELECT 1, SLEEP(10)")
		f.running(f.a, "SLEEP")
		check(f.T, f.a.Kill())
		wantLost(f.T, <-done)
	}},
	{"with a retry left the statement waits for a server instead", func(f *fixture) {
		f.set("query_retries_on_failure", "1")
		f.serve(online(f.a), soft(f.b))
		defer f.revive()
		c := f.client()
		done := c.later("INSERT INTO plain SELECT 1, SLEEP(2)")
		f.running(f.a, "SLEEP")
		check(f.T, f.a.Kill())
		f.serve(offline(f.a), online(f.b))
		check(f.T, <-done)
	}},
	{"an idle session finds its pooled connection dead, and is dropped", func(f *fixture) {
		f.serve(online(f.a))
		defer f.revive()
		c := f.client()
		c.expect("a")
		f.released()
		check(f.T, f.a.Kill())
		_, err := c.tryWho()
		wantLost(f.T, err)
	}},
	{"a server that refuses connections is shunned, and statements wait", func(f *fixture) {
		// Shorter than the second after which a session in need tries a shunned server again.
		f.set("connect_timeout_server_max", "900")
		f.serve(online(f.a))
		defer f.revive()
		check(f.T, f.a.Kill())
		c := f.client()
		_, err := c.tryWho()
		var e *mysql.MySQLError
		if !errors.As(err, &e) {
			f.Fatalf("error is %v, want one of the protocol", err)
		}
		want(f.T, "code", e.Number, 9001)
		want(f.T, "status", f.status(f.a), "SHUNNED")
		f.load()
		want(f.T, "status after a LOAD", f.status(f.a), "ONLINE")
	}},
	{"a server that returns is used again without a LOAD", func(f *fixture) {
		f.serve(online(f.a))
		defer f.revive()
		check(f.T, f.a.Kill())
		c := f.client()
		done := c.later("DO 1")
		f.eventually("the server to be shunned", func() (bool, string) { s := f.status(f.a); return s == "SHUNNED", s })
		f.revive()
		check(f.T, <-done)
		want(f.T, "status", f.status(f.a), "ONLINE")
	}},
	{"when the attempts to connect are used up the client gets the error of the last", func(f *fixture) {
		f.set("connect_retries_on_failure", "0")
		defer f.set("connect_retries_on_failure", "10")
		f.serve(online(f.a))
		defer f.revive()
		check(f.T, f.a.Kill())
		c := f.client()
		_, err := c.tryWho()
		if e := wantCode(f.T, err, 2002); !strings.HasPrefix(e.Message, "Can't connect to ") {
			f.Fatal(e.Message)
		}
		f.revive()
		c.expect("a")
	}},
	{"connections that fail are counted", func(f *fixture) {
		f.set("connect_timeout_server_max", "500")
		f.serve(online(f.a))
		defer f.revive()
		check(f.T, f.a.Kill())
		_, _ = f.client().tryWho()
		errs := f.value(fmt.Sprintf("SELECT ConnERR > 0 FROM stats_mysql_connection_pool WHERE srv_port=%d AND hostgroup=10", f.a.Port))
		want(f.T, "ConnERR > 0", errs, "1")
	}},
}

// revive starts the first server again if it is down.
func (f *fixture) revive() {
	f.Helper()
	if !f.a.Running() {
		check(f.T, f.a.Start(f.ctx))
		f.on(f.a, "SET GLOBAL read_only=0")
	}
}
