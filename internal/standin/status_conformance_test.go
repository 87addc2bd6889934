package standin_test

import "fmt"

// statusCases are about what a change of status does to sessions.
var statusCases = []spec{
	{"OFFLINE_SOFT lets transactions end and takes no new ones", func(f *fixture) {
		f.serve(online(f.a), soft(f.b))
		c, other := f.client(), f.client()
		c.exec("BEGIN", "INSERT INTO plain VALUES (1, 'x')")
		f.serve(soft(f.a), online(f.b))
		other.expect("b")
		c.expect("a")
		c.exec("COMMIT")
		f.released()
		c.expect("b")
		want(f.T, "rows", f.count(f.a, "SELECT COUNT(*) FROM lab.plain"), 1)
	}},
	{"OFFLINE_HARD drops a session with a statement under way, which may still be committed", func(f *fixture) {
		f.serve(online(f.a), soft(f.b))
		c := f.client()
		done := c.later("INSERT INTO plain SELECT 1, SLEEP(2)")
		f.running(f.a, "SLEEP")
		f.serve(offline(f.a), online(f.b))
		wantLost(f.T, <-done)
		f.eventually("the statement to be committed all the same", func() (bool, string) {
			n := f.count(f.a, "SELECT COUNT(*) FROM lab.plain")
			return n == 1, fmt.Sprint(n)
		})
		want(f.T, "rows on the new server", f.count(f.b, "SELECT COUNT(*) FROM lab.plain"), 0)
	}},
	{"with a retry left OFFLINE_HARD runs the statement again elsewhere: twice in all", func(f *fixture) {
		f.set("query_retries_on_failure", "1")
		f.serve(online(f.a), soft(f.b))
		c := f.client()
		done := c.later("INSERT INTO plain SELECT 1, SLEEP(2)")
		f.running(f.a, "SLEEP")
		f.serve(offline(f.a), online(f.b))
		check(f.T, <-done)
		want(f.T, "rows on the new server", f.count(f.b, "SELECT COUNT(*) FROM lab.plain"), 1)
		f.eventually("the statement to be committed twice", func() (bool, string) {
			n := f.count(f.a, "SELECT COUNT(*) FROM lab.plain")
			return n == 1, fmt.Sprint(n)
		})
	}},
	{"a rule can forbid the retry", func(f *fixture) {
		f.set("query_retries_on_failure", "1")
		f.admin("INSERT INTO mysql_query_rules (rule_id, active, match_digest, retries, apply) VALUES (1, 1, '^INSERT', 0, 1)",
			"LOAD MYSQL QUERY RULES TO RUNTIME")
		f.serve(online(f.a), soft(f.b))
		c := f.client()
		done := c.later("INSERT INTO plain SELECT 1, SLEEP(1)")
		f.running(f.a, "SLEEP")
		f.serve(offline(f.a), online(f.b))
		wantLost(f.T, <-done)
	}},
	{"OFFLINE_HARD drops a session in a transaction at its next statement", func(f *fixture) {
		f.set("query_retries_on_failure", "1")
		f.serve(online(f.a), soft(f.b))
		c := f.client()
		c.exec("BEGIN", "INSERT INTO plain VALUES (1, 'x')")
		f.serve(offline(f.a), online(f.b))
		want(f.T, "status while a session holds on", f.status(f.a), "OFFLINE_HARD")
		want(f.T, "ConnUsed", f.used(f.a), "1")
		_, err := c.tryWho()
		wantLost(f.T, err)
		f.eventually("the server to be forgotten", func() (bool, string) { s := f.status(f.a); return s == "", s })
		want(f.T, "rows", f.count(f.a, "SELECT COUNT(*) FROM lab.plain"), 0)
	}},
	{"absent is OFFLINE_HARD", func(f *fixture) {
		f.serve(online(f.a))
		c := f.client()
		c.exec("BEGIN", "INSERT INTO plain VALUES (1, 'x')")
		f.serve(online(f.b))
		_, err := c.tryWho()
		wantLost(f.T, err)
	}},
	{"an idle session does not notice that its writer moved", func(f *fixture) {
		f.serve(online(f.a), soft(f.b))
		c := f.client()
		c.expect("a")
		f.serve(offline(f.a), online(f.b))
		c.expect("b")
		f.serve(online(f.a), offline(f.b))
		c.expect("a")
	}},
	{"more servers online than allowed drops a session in a transaction", func(f *fixture) {
		f.admin("INSERT INTO mysql_hostgroup_attributes (hostgroup_id, max_num_online_servers) VALUES (10, 1)")
		f.serve(online(f.a))
		c := f.client()
		c.exec("BEGIN", "INSERT INTO plain VALUES (1, 'x')")
		f.serve(online(f.a), online(f.b))
		_, err := c.tryWho()
		wantLost(f.T, err)
	}},
}
