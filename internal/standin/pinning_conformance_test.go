package standin_test

// pinningCases are about what keeps a session on its server.
var pinningCases = []spec{
	{"between statements a session holds nothing", func(f *fixture) {
		f.serve(online(f.a))
		c := f.client()
		c.expect("a")
		c.exec("INSERT INTO plain VALUES (1, 'x')", "BEGIN", "UPDATE plain SET note='y'", "COMMIT")
		f.released()
		f.serve(online(f.b))
		c.expect("b")
	}},
	{"a transaction holds its connection", func(f *fixture) {
		f.serve(online(f.a))
		c := f.client()
		c.exec("BEGIN", "INSERT INTO plain VALUES (1, 'x')")
		want(f.T, "ConnUsed", f.used(f.a), "1")
		c.exec("ROLLBACK")
		f.released()
		want(f.T, "rows", f.count(f.a, "SELECT COUNT(*) FROM lab.plain"), 0)
	}},
	{"autocommit=0 opens a transaction with the next write", func(f *fixture) {
		f.serve(online(f.a))
		c := f.client()
		c.exec("SET autocommit=0", "INSERT INTO plain VALUES (1, 'x')")
		want(f.T, "ConnUsed", f.used(f.a), "1")
		want(f.T, "rows before the commit", f.count(f.a, "SELECT COUNT(*) FROM lab.plain"), 0)
		c.exec("COMMIT")
		want(f.T, "rows", f.count(f.a, "SELECT COUNT(*) FROM lab.plain"), 1)
		c.exec("INSERT INTO plain VALUES (2, 'x')", "SET autocommit=1")
		want(f.T, "rows", f.count(f.a, "SELECT COUNT(*) FROM lab.plain"), 2)
		f.released()
	}},
	{"a user variable binds the session to its server", func(f *fixture) {
		f.pinned("SET @x = 1")
	}},
	{"reading a variable of the server binds the session, too", func(f *fixture) {
		f.pinned("DO @@port")
	}},
	{"a temporary table binds the session", func(f *fixture) {
		f.pinned("CREATE TEMPORARY TABLE t (id INT)")
	}},
	{"GET_LOCK binds the session", func(f *fixture) {
		f.pinned("DO GET_LOCK('x', 1)")
	}},
	{"an @ in a text binds nothing", func(f *fixture) {
		f.serve(online(f.a))
		c := f.client()
		c.exec("INSERT INTO plain VALUES (1, 'x@y')")
		f.released()
	}},
	{"a generated key keeps the connection for the next five statements", func(f *fixture) {
		f.serve(online(f.a))
		c := f.client()
		c.exec("INSERT INTO notes (note) VALUES ('x')")
		want(f.T, "ConnUsed", f.used(f.a), "1")
		for range 5 {
			want(f.T, "ConnUsed", f.used(f.a), "1")
			c.expect("a")
		}
		f.released()
	}},
	{"generated keys keep a session writing to a server that is OFFLINE_SOFT", func(f *fixture) {
		f.serve(online(f.a), soft(f.b))
		c := f.client()
		c.exec("INSERT INTO notes (note) VALUES ('x')")
		f.serve(soft(f.a), online(f.b))
		for range 10 {
			c.exec("INSERT INTO notes (note) VALUES ('y')")
		}
		want(f.T, "rows on the old server", f.count(f.a, "SELECT COUNT(*) FROM lab.notes"), 11)
	}},
	{"without auto_increment_delay_multiplex they do not", func(f *fixture) {
		f.set("auto_increment_delay_multiplex", "0")
		defer f.set("auto_increment_delay_multiplex", "5")
		f.serve(online(f.a), soft(f.b))
		c := f.client()
		c.exec("INSERT INTO notes (note) VALUES ('x')")
		f.released()
		f.serve(soft(f.a), online(f.b))
		c.exec("INSERT INTO notes (note) VALUES ('y')")
		want(f.T, "rows on the new server", f.count(f.b, "SELECT COUNT(*) FROM lab.notes"), 1)
	}},
	{"a warning keeps the connection for one more statement", func(f *fixture) {
		f.serve(online(f.a))
		c := f.client()
		c.exec("DO 1/0")
		var level, message string
		var code int
		c.exec("SELECT CAST('x' AS SIGNED)")
		want(f.T, "ConnUsed", f.used(f.a), "1")
		check(f.T, c.QueryRowContext(f.ctx, "SHOW WARNINGS").Scan(&level, &code, &message))
		want(f.T, "code", code, 1292)
		c.expect("a")
		f.released()
	}},
}

// released waits until no session holds a connection to the first server.
func (f *fixture) released() {
	f.Helper()
	f.eventually("ConnUsed to be 0", func() (bool, string) { u := f.used(f.a); return u == "0" || u == "", u })
}

// pinned expects that a statement binds a session to its server, even to one that is OFFLINE_SOFT.
func (f *fixture) pinned(statement string) {
	f.Helper()
	f.serve(online(f.a), soft(f.b))
	c := f.client()
	c.exec(statement)
	want(f.T, "ConnUsed", f.used(f.a), "1")
	f.serve(soft(f.a), online(f.b))
	c.expect("a")
	c.exec("BEGIN")
	c.expect("a")
	c.exec("COMMIT")
	f.client().expect("b")
	want(f.T, "ConnUsed", f.used(f.a), "1")
}
