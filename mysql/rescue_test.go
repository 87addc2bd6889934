package mysql

import (
	"bytes"
	"fmt"

	"strings"
	"testing"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/internal/lab"
)

// mayRescue gives Remora's account the privileges to save, and to discard.
func mayRescue(t *testing.T, s *lab.Server, discard bool) {
	t.Helper()
	unlogged(t, s, RescueGrants(look(t, s).Flavor, discard)...)
}

// allTypes is a table with a column of every type that both flavors have, and rows
// that are hard to spell.
var allTypes = []string{
	`CREATE TABLE lab.kinds (id BIGINT UNSIGNED PRIMARY KEY, t TINYINT, tu TINYINT UNSIGNED, s SMALLINT UNSIGNED, m MEDIUMINT, mu MEDIUMINT UNSIGNED,
		i INT UNSIGNED, b BIGINT, d DECIMAL(30,10), f FLOAT, g DOUBLE, bits BIT(40), c CHAR(10), v VARCHAR(200) CHARACTER SET utf8mb4,
		l VARCHAR(50) CHARACTER SET latin1, bin BINARY(8), vb VARBINARY(20), tx TEXT, bl BLOB, e ENUM('x','y','z'), st SET('p','q','r'),
		dt DATE, dtt DATETIME(6), ts TIMESTAMP(3) NULL, tm TIME(2), y YEAR, j JSON, doubled INT AS (t*2) STORED) ENGINE=InnoDB`,
}

var kindRows = []string{
	`INSERT INTO lab.kinds (id,t,tu,s,m,mu,i,b,d,f,g,bits,c,v,l,bin,vb,tx,bl,e,st,dt,dtt,ts,tm,y,j) VALUES
		(18446744073709551615,-128,255,65535,-8388608,16777215,4294967295,-9223372036854775808,-12345678901234567890.0123456789,1.5,-2.25e100,b'1111111111111111111111111111111111111111',
		'pad  x','O''Reilly \\ "x" \n-- no comment; é😀',_latin1 X'E9E8',X'0100',X'00FF','line1\r\nline2','\0bin','y','p,r','1000-01-01','2026-11-21 18:00:00.123456','2026-11-21 18:00:00.5','-838:59:59',1999,'{"a": [1, "é"]}'),
		(1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL)`,
	`INSERT INTO lab.kinds (id,t,v) VALUES (2,1,''),(3,2,'gone')`,
	`UPDATE lab.kinds SET v='changed', tu=200 WHERE id=2`,
	`DELETE FROM lab.kinds WHERE id=3`,
}

const readKinds = `SELECT GROUP_CONCAT(CONCAT_WS('|',id,IFNULL(t,'-'),IFNULL(tu,'-'),IFNULL(s,'-'),IFNULL(m,'-'),IFNULL(mu,'-'),IFNULL(i,'-'),IFNULL(b,'-'),IFNULL(d,'-'),IFNULL(f,'-'),IFNULL(g,'-'),
	IFNULL(HEX(bits),'-'),IFNULL(HEX(c),'-'),IFNULL(HEX(v),'-'),IFNULL(HEX(l),'-'),IFNULL(HEX(bin),'-'),IFNULL(HEX(vb),'-'),IFNULL(HEX(tx),'-'),IFNULL(HEX(bl),'-'),IFNULL(e,'-'),IFNULL(st,'-'),
	IFNULL(dt,'-'),IFNULL(dtt,'-'),IFNULL(ts,'-'),IFNULL(tm,'-'),IFNULL(y,'-'),IFNULL(j,'-'),IFNULL(doubled,'-')) ORDER BY id SEPARATOR '\n') AS text FROM lab.kinds`

// since is what a server executed after a position.
func since(t *testing.T, s *lab.Server, before gtid.Set) gtid.Set {
	t.Helper()
	return look(t, s).Executed.Beyond(before)
}

func TestSavedTransactionsMakeTheSameRows(t *testing.T) {
	s := alone(t, lab.ServerOptions{})
	mayRescue(t, s, false)
	exec := func(statements ...string) { t.Helper(); must(t, s.Exec(testContext(t), statements...)) }
	text := func() string {
		row, err := s.Row(testContext(t), readKinds)
		must(t, err)
		return row["text"]
	}
	exec("SET GLOBAL group_concat_max_len=1000000", allTypes[0], "FLUSH BINARY LOGS", "INSERT INTO lab.writes VALUES (1, 1)", "FLUSH BINARY LOGS")
	before := look(t, s).Executed
	exec(kindRows...)
	extra := since(t, s, before)
	exec("INSERT INTO lab.writes VALUES (1, 2)", "FLUSH BINARY LOGS", "INSERT INTO lab.writes VALUES (1, 3)")
	want := text()

	inexact := 0
	if s.Flavor() == lab.MySQL {
		inexact = 1 // its JSON
	}
	var b bytes.Buffer
	saved, err := servers(t, testConfig()).SaveTransactions(testContext(t), addr(s), extra, &b, 1<<20)
	must(t, err)
	if saved.Transactions != 4 || saved.Changes != 6 || saved.Truncated || !saved.Purged.Empty() || saved.Comments != inexact {
		t.Errorf("saved %+v", saved)
	}
	if strings.Contains(b.String(), "writes") {
		t.Error("it has a transaction that was not asked for")
	}
	t.Log(b.String())

	exec("DELETE FROM lab.kinds")
	replay(t, s, b.String())
	if got := text(); got != want {
		t.Errorf("after replaying it the rows are\n%s\nand were\n%s", got, want)
	}
}

// replay runs a file as the command line client does, as far as these tests need.
func replay(t *testing.T, s *lab.Server, text string) {
	t.Helper()
	conn, err := s.DB().Conn(testContext(t))
	must(t, err)
	defer conn.Close()
	statements := []string{"SET NAMES utf8mb4", "SET time_zone='+00:00', sql_mode=''"}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "--") {
			statements = append(statements, strings.TrimSuffix(line, ";"))
		}
	}
	for _, statement := range statements {
		if _, err := conn.ExecContext(testContext(t), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func TestWhatCannotBeSavedIsSaid(t *testing.T) {
	s := alone(t, lab.ServerOptions{})
	sv := servers(t, testConfig())
	leastPrivilegesOf(t, s)
	before := look(t, s).Executed
	write(t, s, 1)
	extra := since(t, s, before)
	var b bytes.Buffer
	if look(t, s).Flavor == "mariadb" {
		_, err := sv.SaveTransactions(testContext(t), addr(s), extra, &b, 1<<20)
		if err == nil || !strings.Contains(err.Error(), "SHOW BINARY LOGS") || !strings.Contains(err.Error(), "BINLOG MONITOR") {
			t.Errorf("without a privilege: %v", err)
		}
		unlogged(t, s, "GRANT BINLOG MONITOR, REPLICATION SLAVE ON *.* TO remora@`%`")
	}
	saved, err := sv.SaveTransactions(testContext(t), addr(s), extra, &b, 1<<20)
	must(t, err)
	if saved.Comments != 1 || !strings.Contains(saved.Why, "grant SELECT") || !strings.Contains(b.String(), "not replayable") {
		t.Errorf("without SELECT: %+v\n%s", saved, b.String())
	}

	mayRescue(t, s, false)
	if saved, err = sv.SaveTransactions(testContext(t), addr(s), extra, &b, 10); err == nil || !strings.Contains(err.Error(), "its first transaction alone takes more than 10 bytes") {
		t.Errorf("with a limit: %+v, %v", saved, err)
	}
	must(t, s.Exec(testContext(t), "FLUSH BINARY LOGS"))
	eventually(t, "the log to be purged", func() (bool, string) {
		must(t, s.Exec(testContext(t), "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY"))
		_, err = sv.SaveTransactions(testContext(t), addr(s), extra, &b, 1<<20)
		return err != nil && strings.Contains(err.Error(), "none of "), fmt.Sprint(err)
	})
}

// leastPrivilegesOf is leastPrivileges on one server of any flavor.
func leastPrivilegesOf(t *testing.T, s *lab.Server) {
	t.Helper()
	unlogged(t, s, append([]string{"DROP USER remora@`%`", fmt.Sprintf("CREATE USER remora@`%%` IDENTIFIED BY '%s'", lab.RemoraUser.Password)},
		Grants(flavorOf(t, s))...)...)
}

func TestLiterals(t *testing.T) {
	for _, tt := range []struct {
		v    any
		col  tableColumn
		want string
	}{
		{nil, tableColumn{}, "NULL"},
		{int8(-1), tableColumn{kind: "tinyint"}, "-1"},
		{int8(-1), tableColumn{kind: "tinyint", unsigned: true}, "255"},
		{int32(-1), tableColumn{kind: "mediumint", unsigned: true}, "16777215"},
		{int64(-1), tableColumn{kind: "bigint", unsigned: true}, "18446744073709551615"},
		{int64(-1), tableColumn{kind: "bit"}, "18446744073709551615"},
		{"it's", tableColumn{kind: "varchar", charset: "utf8mb4"}, "'it''s'"},
		{"\xe9", tableColumn{kind: "varchar", charset: "latin1"}, "_latin1 X'e9'"},
		{"a\nb", tableColumn{kind: "text", charset: "utf8mb4"}, `'a\nb'`},
		{"\x01", tableColumn{kind: "binary", octets: 3}, "X'010000'"},
		{"1.50", tableColumn{kind: "decimal"}, "1.50"},
		{float32(0.1), tableColumn{kind: "float"}, "1.0000000149011612e-01"},
	} {
		if got, _, ok := literal(tt.v, tt.col); got != tt.want || !ok {
			t.Errorf("%v as %s is %s, want %s", tt.v, tt.col.kind, got, tt.want)
		}
	}
	if _, _, ok := literal("x", tableColumn{kind: "uuid"}); ok {
		t.Error("a type that is not known is spelled")
	}
}

func flavorOf(t *testing.T, s *lab.Server) string {
	t.Helper()
	row, err := s.Row(testContext(t), "SELECT VERSION() AS version")
	must(t, err)
	if strings.Contains(row["version"], "MariaDB") {
		return string(gtid.MariaDB)
	}
	return string(gtid.MySQL)
}
