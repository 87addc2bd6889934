package standin

import "testing"

func TestFirstStatement(t *testing.T) {
	for text, want := range map[string]string{
		"a; b":              "a",
		"a 'x;y'; b":        "a 'x;y'",
		"a 'it''s; x'; b":   "a 'it''s; x'",
		`a "x;y" ;`:         `a "x;y" `,
		"a -- x; y\nb; c":   "a -- x; y\nb",
		"a /* x; y */ b; c": "a /* x; y */ b",
		"a 'open; b":        "a 'open; b",
		"":                  "",
	} {
		if got := firstStatement(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]kind{
		"SELECT 1": plain, "settle": plain, "USE lab": useSchema, "use `lab`;": useSchema,
		"SET NAMES utf8mb4": setVariables, "set session sql_mode='a,b', autocommit = 0": setVariables,
		"SET @@session.time_zone = '+00:00'": setVariables, "SET @x = 1": setOpaque, "SET GLOBAL x = 1": setOpaque,
		"SET sql_mode = (SELECT 1)": setOpaque, "/* x */ COMMIT ;": endTransaction, "ROLLBACK TO x": plain,
		"-- x\nrollback": endTransaction, "COMMIT AND CHAIN": plain,
	} {
		if got := parse([]byte(text)).kind; got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestPins(t *testing.T) {
	for text, want := range map[string]pin{
		"SELECT 1": 0, "SELECT 'a@b'": 0, `SELECT "a\"@"`: 0, "SELECT /* @ */ 1": 0, "SELECT @@version": 0,
		"SELECT @x": pinUserVariable, "SELECT @@port": pinUserVariable, "SELECT 'a', @x": pinUserVariable,
		"create temporary  table t (i int)": pinTemporaryTable, "CREATE TABLE t (i INT)": 0,
		"DO get_lock('x', 1)": pinLock, "LOCK TABLES t READ": pinTables, "PREPARE s FROM 'SELECT 1'": pinPrepared,
		"SELECT SQL_CALC_FOUND_ROWS 1": pinFoundRows, "SAVEPOINT s": pinSavepoint,
	} {
		if got := pins([]byte(text)); got != want {
			t.Errorf("%q: %b, want %b", text, got, want)
		}
	}
}

func TestDigest(t *testing.T) {
	for text, want := range map[string]string{
		"SELECT  1": "SELECT ?",
		"/* x */ INSERT INTO t1 VALUES (1,'a''b')": "INSERT INTO t1 VALUES (?,??)",
		"UPDATE t SET a=2.5\n WHERE b=\"x\";":      "UPDATE t SET a=? WHERE b=?",
	} {
		if got := string(digestOf([]byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestUnshunFollowsTheLongestWait(t *testing.T) {
	for _, c := range []struct {
		recovery     int64
		maxMillis    string
		rest, dearth int64
	}{{10, "10000", 9, 1}, {10, "60000", 10, 1}, {60, "300000", 60, 6}, {0, "10000", 1, 1}, {60, "30000", 29, 2}} {
		s := newSettings(map[string]string{"mysql-connect_timeout_server_max": c.maxMillis})
		s.shunRecovery = c.recovery
		if s.unshunAfter() != c.rest || s.unshunInNeed() != c.dearth {
			t.Errorf("%+v: %d, %d", c, s.unshunAfter(), s.unshunInNeed())
		}
	}
}
