package mysql

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// release orders MySQL's versions: 8.0.22 is 80022. MariaDB's words are kept apart.
type release int

const (
	never       release = 1 << 30
	first80     release = 80011 // the first that was declared fit for use
	last81      release = 80199
	first82     release = 80200
	newestKnown release = 90799
)

// word is SQL that not every server knows. A pattern is matched against a statement in upper case without its literals.
type word struct {
	pattern      string
	since, until release // the first release of MySQL that knows it, and the first that does not any more
	mariadb      bool    // MariaDB from 10.5 on knows it
}

// words has each with its origin: the manual's pages (dev.mysql.com/doc/refman/VERSION/en/PAGE.html), its release notes, or
// the worklog by which the word came (dev.mysql.com/worklog/task/?id=N).
var words = []word{
	// 8.4 manual, "What Is New in MySQL 8.4": statements removed in 8.4.0.
	{`SHOW SLAVE (STATUS|HOSTS)`, 0, 80400, true},
	{`(START|STOP|RESET) SLAVE\b`, 0, 80400, true},
	{`CHANGE MASTER\b`, 0, 80400, true},
	{`\bMASTER_(HOST|PORT|USER|PASSWORD|CONNECT_RETRY|HEARTBEAT_PERIOD|SSL|LOG_FILE|LOG_POS)\b`, 0, 80400, true},
	{`\bMASTER_(AUTO_POSITION|RETRY_COUNT)\b`, 0, 80400, false},
	{`\bRESET MASTER\b`, 0, 80400, true},
	{`SHOW MASTER STATUS`, 0, 80400, true},
	// WL#14171, 8.0.22: START, STOP and RESET REPLICA, SHOW REPLICA STATUS, SHOW REPLICAS. MariaDB knows START, STOP, RESET and SHOW
	// REPLICA, but nobody needs to say so.
	{`SHOW REPLICA(S| STATUS)`, 80022, never, false},
	{`(START|STOP|RESET) REPLICA\b`, 80022, never, false},
	// WL#14189, 8.0.23: CHANGE REPLICATION SOURCE and its options.
	{`CHANGE REPLICATION SOURCE`, 80023, never, false},
	{`[ ,]SOURCE_([ABD-Z]|COMPRESSION_|CONNECT_)[A-Z_]*`, 80023, never, false},
	// 8.0 manual, "CHANGE MASTER TO": since 8.0.22, in that statement too (its page names the release); the column of that name came with it.
	{`SOURCE_CONNECTION_AUTO_FAILOVER`, 80022, never, false},
	{`\bGET_SOURCE_PUBLIC_KEY\b`, 80023, never, false},
	// 8.0 manual, "CHANGE MASTER TO": since 8.0.4, before the first release.
	{`\bGET_MASTER_PUBLIC_KEY\b`, 0, 80400, false},
	// 8.1 manual, "SHOW BINARY LOG STATUS": added in 8.2.0; release notes of 8.2.0: RESET BINARY LOGS AND GTIDS.
	{`SHOW BINARY LOG STATUS`, 80200, never, false},
	{`RESET BINARY LOGS AND GTIDS`, 80200, never, false},
	// 8.0 manual, "Configuring Semisynchronous Replication": the plugins have new names from 8.0.26 on, beside the old ones;
	// "What Is New in MySQL 8.4": the old ones are gone.
	{`RPL_SEMI_SYNC_(SOURCE|REPLICA)_`, 80026, never, false},
	{`RPL_SEMI_SYNC_(MASTER|SLAVE)_`, 0, 80400, true},
	{`PLUGIN RPL_SEMI_SYNC_(SOURCE|REPLICA)\b`, 80026, never, false},
	{`PLUGIN RPL_SEMI_SYNC_(MASTER|SLAVE)\b`, 0, 80400, false},
	{`\bLOG_REPLICA_UPDATES\b`, 80026, never, false},
	{`_WAIT_FOR_SLAVE_COUNT`, 0, 80400, false},
	// 8.0 manual, "Replica Server Options and Variables": renamed in 8.0.26; the old names hold until 8.4 and some beyond.
	{`@@(GLOBAL\.)?(LOG_REPLICA_UPDATES|REPLICA_[A-Z_]+)`, 80026, never, false},
	{`@@(GLOBAL\.)?(LOG_SLAVE_UPDATES|SLAVE_[A-Z_]+)`, 0, 80400, true},
	// 8.2 release notes: expire_logs_days removed. 9.0: mysql_native_password removed.
	{`EXPIRE_LOGS_DAYS`, 0, 80200, true},
	{`MYSQL_NATIVE_PASSWORD`, 0, 90000, true},
	// 8.0 manual, "The Clone Plugin": 8.0.17.
	{`CLONE INSTANCE|CLONE_VALID_DONOR_LIST`, 80017, never, false},
	// 8.4 manual, "Privileges Provided by MySQL": SET_ANY_DEFINER came with 8.2.0, SET_USER_ID went with 8.4.0.
	{`SET_ANY_DEFINER`, 80200, never, false},
	{`SET_USER_ID`, 0, 80400, false},
	// 8.3 release notes: GTIDs may have tags.
	{`AUTOMATIC:|TRANSACTION_GTID_TAG`, 80300, never, false},
	// 8.2 release notes: DISABLE ON REPLICA for events.
	{`DISABLE ON REPLICA`, 80200, never, false},
	// Of one maker alone.
	{`\bSUPER_READ_ONLY\b|GTID_EXECUTED\b|GTID_PURGED|WAIT_FOR_EXECUTED_GTID_SET|GTID_NEXT|PERFORMANCE_SCHEMA\.|FOR CHANNEL`, 0, never, false},
	{`SHOW ALL SLAVES STATUS|KILL HARD|MASTER_USE_GTID|MASTER_GTID_WAIT|GTID_SLAVE_POS|GTID_BINLOG|GTID_STRICT_MODE|SLAVE_PARALLEL_THREADS`, 0, 0, true},
	{`RPL_SEMI_SYNC_MASTER_WAIT_NO_SLAVE`, 0, 80400, true},
}

var literals = regexp.MustCompile(`'(?:[^'\\]|\\.|'')*'`)

// conditional is what MySQL reads from a release on, and takes for a comment before it.
var conditional = regexp.MustCompile(`/\*!(8\d{4})(.*?)\*/`)

// unknown are the words of a statement that a kind of server does not know in one of its releases from first to last.
func unknown(statement string, maria bool, first, last release) []string {
	text := strings.ToUpper(literals.ReplaceAllString(statement, "''"))
	var found []string
	for _, part := range conditional.FindAllStringSubmatch(text, -1) {
		since, _ := strconv.Atoi(part[1])
		found = append(found, unknown(part[2], maria, max(first, release(since)), last)...)
	}
	text = conditional.ReplaceAllString(text, "")
	for _, w := range words {
		knows := w.since <= first && last < w.until
		if maria {
			knows = w.mariadb
		}
		if met := regexp.MustCompile(w.pattern).FindString(text); met != "" && !knows {
			found = append(found, met)
		}
	}
	return found
}

// said is a statement of a dialect, by the method that it came from.
type said struct{ by, sql string }

// statementsOf calls every method of a dialect that makes statements. A method that is added to the interface has to be
// added here, or be named as one that makes none.
func statementsOf(t *testing.T, d dialect, semi semiSyncWords, channel string) []said {
	t.Helper()
	var all []said
	var method string
	covered := map[string]bool{"parse": true, "isReadOnly": true, "hastenStop": true, "pointsRunning": true, "busyWorker": true}
	from := func(name string, statements ...statement) {
		method, covered[name] = name, true
		for _, st := range statements {
			if st.sql != "" {
				all = append(all, said{name, st.sql})
			}
		}
	}
	text := func(sql string) statement { return statement{sql: sql} }
	on := true
	st := &topology.State{Executed: gtid.MustParse("0-1-5"), GTIDStrict: true}
	if _, maria := d.(mariadb); !maria {
		st.Executed = gtid.MustParse(uuids + ":1-5")
	}
	r := &reading{state: st, semiSync: semi, workers: 4}
	ch := testChannel
	ch.Channel = channel
	for _, p := range d.parts() {
		from("parts", text(p.sql))
	}
	from("kill", d.kill(99999999))
	from("start", d.start(channel))
	from("startApplier", d.startApplier(channel))
	from("stopReceiver", d.stopReceiver(channel))
	from("stop", d.stop(channel))
	before, after, err := d.keepRelayLog(r, ch)
	must(t, err)
	from("keepRelayLog", append(before, after...)...)
	from("forget", d.forget(channel))
	query, _ := d.await(st.Executed, time.Millisecond)
	from("await", text(query))
	for _, plan := range []semiSyncPlan{{source: true, waitCount: 1, timeout: endlessTimeout}, {replica: true}, {}} {
		set, err := d.semiSync(r, plan)
		must(t, err)
		from("semiSync", set)
	}
	off, again, _ := d.freeAcks(r)
	from("freeAcks", again, off) // in the order in which it does not stand in the way of the rest
	adopted, err := d.adopt(r)
	must(t, err)
	from("adopt", adopted...)
	undo := d.undoSession()
	from("undoSession", append(undo.before, undo.after...)...)
	from("restart", d.restart(st.Executed)...)
	p := pointing{channel: channel, source: "127.0.0.1:1", heartbeat: 500 * time.Millisecond, retry: time.Second}
	full := p
	full.user, full.password, full.tls, full.plain = "u", "p", &on, true
	byPosition := full
	byPosition.at = topology.Coordinates{File: "binlog.000001", Pos: 4}
	running := full
	running.running = d.pointsRunning()
	from("point", d.point(byPosition), d.point(p), d.point(full), d.point(running))
	from("readOnly", d.readOnly(true), d.readOnly(false))
	from("askReadOnly", text(d.askReadOnly()))
	failed, _ := d.firstFailure(channel)
	from("firstFailure", text(failed))
	from("logEnd", text(d.logEnd()))
	from("sleepingEvents", text(d.sleepingEvents()))
	from("wakeEvent", d.wakeEvent("lab", "none", "root@%"))
	for i := range reflect.TypeFor[dialect]().NumMethod() {
		if name := reflect.TypeFor[dialect]().Method(i).Name; !covered[name] {
			t.Errorf("%T.%s makes statements that nobody checks, the last one checked is %s", d, name, method)
		}
	}
	return all
}

var testChannel = channel{Source: topology.Source{GTID: true, Received: gtid.MustParse("0-1-5")}, relayFile: "relay.000001", relayPos: 4}

func TestEachDialectSpeaksOnlyWordsOfItsReleases(t *testing.T) {
	for _, c := range []struct {
		d           dialect
		semi        semiSyncWords
		maria       bool
		first, last release
	}{
		{d: mariadb{}, semi: semiSyncWords{"master", "slave"}, maria: true},
		{d: mysql80{}, semi: semiSyncWords{"master", "slave"}, first: first80, last: last81},
		{d: mysql84{}, semi: semiSyncWords{"source", "replica"}, first: first82, last: newestKnown},
	} {
		for _, s := range statementsOf(t, c.d, c.semi, "x") {
			if bad := unknown(s.sql, c.maria, c.first, c.last); len(bad) > 0 {
				t.Errorf("%T.%s: not every server of it knows %q in %s", c.d, s.by, bad, s.sql)
			}
		}
	}
}

// TestTheDoctorSpeaksWordsThatTheServerKnows: what it says mends a server is typed there, or put into its option file.
func TestTheDoctorSpeaksWordsThatTheServerKnows(t *testing.T) {
	for _, version := range []string{"8.0.11", "8.0.21", "8.0.25", "8.0.36", "8.1.0", "8.2.0", "8.4.7", "9.7.4"} {
		var major, minor, patch, retries, events = 0, 0, 0, 5, 3
		_, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch)
		must(t, err)
		is := release(major*10000 + minor*100 + patch)
		ill := doctor.Server{
			Addr: "b:3306", Events: &events, Plugins: map[string]bool{}, Variables: map[string]string{"event_scheduler": "ON"},
			Channels: []doctor.Channel{{ConnectRetry: *second(60), Retries: &retries, TLS: true, Wanders: is >= 80022}},
			State:    &topology.State{Flavor: "mysql", Version: version, LogBin: true, ReadOnly: true, Sources: []topology.Source{{Addr: "a:3306"}}},
		}
		c := doctor.Cluster{Name: "main", Writer: "a:3306", Policy: failover.DefaultPolicy(), Want: doctor.Want{ConnectRetry: *second(1)}, Servers: []doctor.Server{ill}}
		c.Policy.Durability, c.Policy.Rejoin = failover.SemiSync, failover.RejoinClone
		checks := map[string]bool{}
		for _, f := range doctor.Examine(&doctor.Facts{Clusters: []doctor.Cluster{c}}).Findings {
			checks[f.Check] = true
			if bad := unknown(f.Mend, false, is, is); len(bad) > 0 {
				t.Errorf("%s %s: a server of %s does not know %q in %s", f.Check, f.Sentence, version, bad, f.Mend)
			}
		}
		for _, check := range []string{"binary_log", "channel_retry", "channel_heartbeat", "event_scheduler", "semi_sync_plugin", "super_read_only"} {
			if !checks[check] {
				t.Errorf("%s: %s is not found", version, check)
			}
		}
	}
}

// TestNoStatementOutsideOfADialectIsOfOneRelease reads this package's own text: what is no dialect's is for all servers, or
// stands where only one maker's get to.
func TestNoStatementOutsideOfADialectIsOfOneRelease(t *testing.T) {
	dialects := []string{"mariadb.go", "mariadb_acts.go", "mysql80.go", "mysql84.go"}
	oracles := []string{"mysql_common.go", "examine_oracle.go", "clone.go", "inject.go", "grants.go"} // MySQL alone gets there
	files, err := filepath.Glob("*.go")
	must(t, err)
	seen := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || slices.Contains(dialects, file) {
			continue
		}
		first := first80
		if file == "clone.go" {
			first = 80017 // before it there is no plugin to be installed, which is refused first
		}
		for _, text := range statementsIn(t, file) {
			seen++
			bad := unknown(text, false, first, newestKnown)
			if !slices.Contains(oracles, file) {
				bad = append(bad, unknown(text, true, 0, 0)...)
			}
			if len(bad) > 0 {
				t.Errorf("%s: not every server knows %q in %s", file, bad, text)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d statements were found: this test looks for the wrong thing", seen)
	}
}

// TestTheLabSpeaksWordsOfEveryServerThatItStarts: MYSQLD may name an older one than the tests have run on.
func TestTheLabSpeaksWordsOfEveryServerThatItStarts(t *testing.T) {
	statements := statementsIn(t, "../internal/lab/mysqld.go")
	for _, text := range statements {
		if bad := unknown(text, false, 80026, newestKnown); len(bad) > 0 {
			t.Errorf("not every server knows %q in %s", bad, text)
		}
	}
	if len(statements) < 15 {
		t.Errorf("only %d statements were found", len(statements))
	}
}

var verb = regexp.MustCompile(`^(SELECT|SHOW|SET|START|STOP|RESET|CHANGE|KILL|INSTALL|CLONE|BEGIN|COMMIT|ALTER|PURGE) `)

// statementsIn are the literals of a file that begin like SQL.
func statementsIn(t *testing.T, file string) (statements []string) {
	t.Helper()
	source, err := os.ReadFile(file)
	must(t, err)
	parsed, err := parser.ParseFile(token.NewFileSet(), file, source, 0)
	must(t, err)
	ast.Inspect(parsed, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		text, err := strconv.Unquote(lit.Value)
		must(t, err)
		if verb.MatchString(text) {
			statements = append(statements, text)
		}
		return true
	})
	return statements
}

// TestTheServerKnowsEveryWordOfItsDialect sends all of it. What a server alone, without a source, refuses is named; a word that
// it does not know, a table or a variable is an error of the dialect.
func TestTheServerKnowsEveryWordOfItsDialect(t *testing.T) {
	s := alone(t, lab.ServerOptions{})
	conn, err := dial(testContext(t), addr(s), rootConfig())
	must(t, err)
	defer conn.close()
	must(t, conn.exec(testContext(t), actSession))
	r, err := conn.read(testContext(t))
	must(t, err)
	refused := map[int]bool{1094: true, 1539: true, 1200: true} // no such session, no such event, no source
	for _, st := range statementsOf(t, conn.dialect, r.semiSync, "") {
		_, err := conn.query(testContext(t), st.sql)
		if err != nil && !refused[Number(err)] {
			t.Errorf("%s: [%s]: %v", st.by, st.sql, err)
		}
	}
	for _, grant := range slices.Concat(Grants(string(s.Flavor())), RescueGrants(string(s.Flavor()), true), cloneGrantsOf(t, s)) {
		if err := s.Exec(testContext(t), grant); err != nil {
			t.Errorf("[%s]: %v", grant, err)
		}
	}
}

func cloneGrantsOf(t *testing.T, s *lab.Server) []string {
	switch {
	case s.Flavor() == lab.MariaDB:
		return nil
	case isOf(t, s, tagsSince):
		return append(CloneGrants(), TagGrants()...)
	default:
		return CloneGrants()
	}
}

func rootConfig() Config {
	c := testConfig()
	c.User, c.Password = lab.RootUser.Name, lab.RootUser.Password
	return c
}
