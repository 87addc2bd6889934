package mysql

import (
	"fmt"
	"strings"
	"testing"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/internal/lab"
)

// stage is a closed server with rows, and how they read.
type stage struct {
	t *testing.T
	*lab.Server
	base gtid.Set
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, Server: alone(t, lab.ServerOptions{})}
	mayRescue(t, s.Server, true)
	s.exec(allTypes[0], "INSERT INTO lab.kinds (id, v) VALUES (2, 'two'), (50, 'fifty'), (51, NULL)", "INSERT INTO lab.writes VALUES (1, 1)",
		"CREATE TABLE lab.pairs (v VARCHAR(10) CHARACTER SET latin1, f FLOAT) ENGINE=InnoDB", "INSERT INTO lab.pairs VALUES ('ABC', 2.5), ('ABC', 1.25)",
		"CREATE TABLE lab.stamps (id INT PRIMARY KEY, v INT, ts TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP) ENGINE=InnoDB",
		"CREATE TABLE lab.docs (id INT PRIMARY KEY, j JSON) ENGINE=InnoDB",
		"INSERT INTO lab.stamps VALUES (1, 1, '2020-01-01 12:00:00')")
	if s.Flavor() == lab.MySQL {
		s.exec("ALTER TABLE lab.kinds MODIFY j LONGTEXT") // its JSON is refused
	}
	s.base = look(t, s.Server).Executed
	return s
}

func (s *stage) exec(statements ...string) {
	s.t.Helper()
	must(s.t, s.Exec(testContext(s.t), statements...))
}

func (s *stage) close() {
	s.t.Helper()
	s.exec(map[string]string{"mariadb": "SET GLOBAL read_only=1", "mysql": "SET GLOBAL super_read_only=1"}[flavorOf(s.t, s.Server)])
}

func (s *stage) rows() string {
	s.t.Helper()
	row, err := s.Row(testContext(s.t), "SELECT (SELECT GROUP_CONCAT(v,f ORDER BY f) FROM lab.pairs) AS pairs, (SELECT CONCAT(v,' ',ts) FROM lab.stamps) AS stamps, (SELECT GROUP_CONCAT(writer,'/',seq ORDER BY seq) FROM lab.writes) AS writes, ("+readKinds+") AS kinds")
	must(s.t, err)
	return row["pairs"] + " " + row["stamps"] + " " + row["writes"] + "\n" + row["kinds"]
}

func TestDiscardPutsRowsBack(t *testing.T) {
	s := newStage(t)
	sv := servers(t, testConfig())
	s.exec("FLUSH BINARY LOGS")
	want := s.rows()
	s.exec("DELETE FROM lab.kinds WHERE id=2")
	s.exec(kindRows...)
	s.exec("UPDATE lab.kinds SET v='changed', j=NULL WHERE id > 40", "DELETE FROM lab.kinds WHERE id=50", "INSERT INTO lab.writes VALUES (1, 2)", "UPDATE lab.writes SET seq=seq+10 ORDER BY seq DESC",
		"UPDATE lab.stamps SET v=2, ts=ts", "UPDATE lab.pairs SET v='abc' WHERE f=2.5")
	extra := since(t, s.Server, s.base)

	if _, err := sv.Discard(testContext(t), addr(s.Server), extra, false); err == nil || !strings.Contains(err.Error(), "it is not closed") {
		t.Errorf("of a server that takes writes: %v", err)
	}
	s.close()
	changed := s.rows()
	dry, err := sv.Discard(testContext(t), addr(s.Server), extra, true)
	must(t, err)
	if now := s.rows(); now != changed {
		t.Fatalf("a dry run changed\n%s\ninto\n%s", changed, now)
	}
	done, err := sv.Discard(testContext(t), addr(s.Server), extra, false)
	must(t, err)
	if done.Rows != dry.Rows || done.Transactions != 11 {
		t.Errorf("taken back are %+v; the dry run said %+v", done, dry)
	}
	if got := s.rows(); got != want {
		t.Errorf("the rows are\n%s\nand were\n%s", got, want)
	}
	st := look(t, s.Server)
	if !st.Executed.Heads().Equal(s.base.Heads()) {
		t.Errorf("it stands at %s, and stood at %s", st.Executed, s.base)
	}
	if st.Writable() {
		t.Error("it takes writes")
	}
	if _, err := sv.Discard(testContext(t), addr(s.Server), extra, false); err == nil {
		t.Error("it was done twice")
	}
}

func TestWhatCannotBeUndoneIsNotBegun(t *testing.T) {
	tests := []struct {
		name    string
		changes []string
		behind  []string // what the binary log does not know
		want    string
	}{
		{"a statement", []string{"INSERT INTO lab.writes VALUES (1, 2)", "CREATE TABLE lab.more (a INT)"}, nil, "it is a statement, not rows: CREATE TABLE"},
		{"a trigger", []string{"INSERT INTO lab.writes VALUES (1, 2)"}, []string{"CREATE TRIGGER lab.tr BEFORE DELETE ON lab.writes FOR EACH ROW SET @x=1"}, "it has triggers"},
		{"without the privilege to see triggers", []string{"INSERT INTO lab.writes VALUES (1, 2)"}, []string{"REVOKE TRIGGER ON *.* FROM remora@`%`"}, "Remora's account needs"},
		{"a row that was changed since", []string{"INSERT INTO lab.writes VALUES (1, 2), (1, 3)"}, []string{"UPDATE lab.writes SET seq=7 WHERE seq=2"}, "nothing was changed; clone the server instead: discard"},
		{"a row that is equal by collation alone", []string{"INSERT INTO lab.pairs VALUES ('abc', 1.5)"}, []string{"DELETE FROM lab.pairs WHERE f=1.5"}, "nothing was changed; clone the server instead: discard"},
		{"a row that is equal but for a float", []string{"INSERT INTO lab.pairs VALUES ('ABC', 1.5)"}, []string{"DELETE FROM lab.pairs WHERE f=1.5"}, "nothing was changed; clone the server instead: discard"},
		{"rows without full images", []string{"SET SESSION binlog_row_image=MINIMAL", "UPDATE lab.kinds SET v='x' WHERE id=2", "SET SESSION binlog_row_image=FULL"}, nil, "binlog_row_image"},
	}
	if lab.DefaultFlavor() == lab.MySQL { // MariaDB's JSON is text
		tests = append(tests, tests[0])
		tests[len(tests)-1].name, tests[len(tests)-1].want = "JSON", "column j of `lab`.`docs` is JSON"
		tests[len(tests)-1].changes = []string{`INSERT INTO lab.docs VALUES (1, '{"a": 1.50}')`}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			conn, err := s.DB().Conn(testContext(t))
			must(t, err)
			defer conn.Close()
			for _, st := range tt.changes {
				_, err := conn.ExecContext(testContext(t), st)
				must(t, err)
			}
			extra := since(t, s.Server, s.base)
			unlogged(t, s.Server, tt.behind...)
			s.close()
			before, position := s.rows(), look(t, s.Server).Executed
			_, err = servers(t, testConfig()).Discard(testContext(t), addr(s.Server), extra, false)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v", err)
			}
			if now := s.rows(); now != before || !look(t, s.Server).Executed.Equal(position) {
				t.Errorf("it changed\n%s\ninto\n%s", before, now)
			}
			t.Log(fmt.Sprint(err))
		})
	}
}

// The position before what is taken back is one that the server had, whoever wrote it.
func TestThePositionBeforeWhatIsTakenBack(t *testing.T) {
	set := gtid.MustParse
	for _, tt := range []struct {
		name, before string
		applied      string   // gtid_slave_pos
		log          []string // + is taken back
		want, err    string
	}{
		{"within a log", "0-1-90", "0-1-80", []string{"0-1-(91)", "0-2-(92)", "+0-1-(93)", "+0-1-(94)"}, "0-2-92", ""},
		{"at its beginning", "0-1-80,0-2-92", "", []string{"+0-1-(93)"}, "0-2-92", ""},
		{"other domains go on", "0-1-90,1-7-4", "", []string{"+0-1-(91)", "1-7-(5)"}, "0-1-90,1-7-5", ""},
		{"not in between", "0-1-90", "", []string{"+0-1-(91)", "0-2-(92)"}, "", "0-2-92 comes after"},
		{"received before the logs", "", "0-1-90,1-7-4", []string{"+0-2-(91)"}, "0-1-90,1-7-4", ""},
		{"nothing before", "", "", []string{"+0-2-(91)"}, "", "nothing before them"},
		{"received itself", "", "0-1-91", []string{"+0-1-(91)"}, "", "nothing before them"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			extra := gtid.Set{}
			h := &history{heads: map[string]string{}, cut: map[string]bool{}, linear: true}
			h.before(set(tt.before))
			for _, entry := range tt.log {
				if id, taken := strings.CutPrefix(entry, "+"); taken {
					h.wanted(set(id))
					extra = extra.Union(set(id))
				} else {
					h.unwanted(set(entry))
				}
			}
			got, err := h.position(&reading{applied: set(tt.applied)}, extra)
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) || tt.err == "" && (err != nil || got.String() != tt.want) {
				t.Errorf("it is %s (%v), want %q %q", got, err, tt.want, tt.err)
			}
		})
	}
}
