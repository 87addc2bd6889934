package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// mysqlEngine is Oracle's MySQL, or Percona Server, 8.0.26 and later: from then on options and plugins have the names below.
type mysqlEngine struct{}

// redoLogCapacity is that of the template and of every boot; it came with 8.0.30.
const redoLogCapacity = "--loose-innodb-redo-log-capacity=8M"

func (mysqlEngine) flavor() Flavor { return MySQL }

// program is the server that MYSQLD names, else one on PATH, else the one that scripts/mysql fetched.
func (mysqlEngine) program() (string, error) {
	if named := os.Getenv("MYSQLD"); named != "" {
		return named, nil
	}
	if path, err := find("mysqld"); err == nil {
		if version, err := exec.Command(path, "--no-defaults", "--version").Output(); err == nil && !strings.Contains(string(version), "MariaDB") {
			return path, nil
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "remora", "mysql-unstable", "mysqld")
	if _, err := os.Stat(path); err != nil {
		return "", errors.New("find mysqld: it is neither in MYSQLD nor on PATH; scripts/mysql fetches Debian's")
	}
	return path, nil
}

func (mysqlEngine) recipe() string { return redoLogCapacity + strings.Join(mysqlSetup(), "\n") }

func (mysqlEngine) args(s *Server, data string) []string {
	args := append(commonArgs(s, data), "--log-replica-updates=ON",
		"--replica-net-timeout=4", "--mysqlx=OFF", redoLogCapacity, "--table-definition-cache=400",
		"--replica-parallel-workers="+strconv.Itoa(orDefault(s.opts.Appliers, 1)))
	gtids := "ON"
	if s.opts.NoGTID {
		gtids = "OFF" // 9.7 has them on by default
	}
	args = append(args, "--gtid-mode="+gtids, "--enforce-gtid-consistency="+gtids)
	if !s.opts.Resumes {
		args = append(args, "--skip-replica-start")
	}
	if !s.opts.Writable {
		args = append(args, "--super-read-only=ON")
	}
	if s.opts.SemiSync {
		timeout := orDefault(s.opts.SemiSyncTimeout, 10*time.Second)
		args = append(args, "--rpl-semi-sync-replica-enabled=1", "--rpl-semi-sync-source-wait-point=AFTER_SYNC",
			"--rpl-semi-sync-source-timeout="+strconv.FormatInt(timeout.Milliseconds(), 10))
	}
	return args
}

// logStatus says where the binary log ends in words of all releases; SHOW has them by one name before 8.2 and by another
// from 8.4 on.
const logStatus = "SELECT LOCAL->>'$.binary_log_file' AS File, LOCAL->>'$.binary_log_position' AS Position FROM performance_schema.log_status"

func (mysqlEngine) words() words {
	return words{
		open: "SET GLOBAL read_only=0", close: "SET GLOBAL super_read_only=1",
		stop: "STOP REPLICA", start: "START REPLICA",
		stopReceiver: "STOP REPLICA IO_THREAD", startReceiver: "START REPLICA IO_THREAD",
		stopApplier: "STOP REPLICA SQL_THREAD", startApplier: "START REPLICA SQL_THREAD",
		status: "SHOW REPLICA STATUS", io: "Replica_IO_Running", sql: "Replica_SQL_Running",
		ioError: "Last_IO_Error", sqlError: "Last_SQL_Error", delay: "SQL_Delay", sourcePort: "Source_Port", received: "Retrieved_Gtid_Set",
		position: "SELECT @@GLOBAL.gtid_executed AS pos",
		applied:  "SELECT WAIT_FOR_EXECUTED_GTID_SET('%s', 0.02) AS waited, @@GLOBAL.gtid_executed AS pos",
		logEnd:   logStatus, awaitLog: "SOURCE_POS_WAIT",
		semiSync: "rpl_semi_sync_source_enabled", clients: "Rpl_semi_sync_source_clients", waiting: "Rpl_semi_sync_source_wait_sessions",
		closed: "SELECT @@super_read_only AS closed",
	}
}

func (mysqlEngine) follow(source *Server, delay int) string {
	position := "SOURCE_AUTO_POSITION=1"
	if source.opts.NoGTID {
		position = "SOURCE_AUTO_POSITION=0, SOURCE_LOG_FILE='" + firstLog + "', SOURCE_LOG_POS=4"
	}
	return fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST='%s', SOURCE_PORT=%d, SOURCE_USER='%s', SOURCE_PASSWORD='%s', "+
		position+", SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=0, SOURCE_HEARTBEAT_PERIOD=0.5, SOURCE_DELAY=%d, "+
		"SOURCE_SSL=0, GET_SOURCE_PUBLIC_KEY=1",
		source.Host, source.Port, ReplUser.Name, ReplUser.Password, delay)
}

// initialise boots the server twice: --initialize-insecure allows no accounts to be made.
func (mysqlEngine) initialise(ctx context.Context, mysqld, data string) error {
	me, err := user.Current()
	if err != nil {
		return err
	}
	common := []string{"--no-defaults", "--user=" + me.Username, "--datadir=" + data, "--skip-log-bin", redoLogCapacity}
	if out, err := exec.CommandContext(ctx, mysqld, append(common, "--initialize-insecure")...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s --initialize-insecure: %w\n%s", mysqld, err, out)
	}
	setup := filepath.Join(filepath.Dir(data), "setup.sql")
	if err := os.WriteFile(setup, []byte(strings.Join(mysqlSetup(), "\n")+"\n"), 0o600); err != nil {
		return err
	}
	boot := exec.CommandContext(ctx, mysqld, append(common, "--skip-networking", "--mysqlx=OFF", "--socket=setup.sock", "--init-file="+setup)...)
	if out, err := boot.CombinedOutput(); err != nil {
		return fmt.Errorf("create the accounts: %w\n%s", err, out)
	} else if strings.Contains(string(out), "[ERROR]") { // it goes on after a statement that failed
		return fmt.Errorf("create the accounts:\n%s", out)
	}
	return os.Remove(filepath.Join(data, "auto.cnf")) // each server has an identity of its own
}

// mysqlSetup are the statements that make accounts and install plugins, and end the server.
func mysqlSetup() []string {
	var lines []string
	for _, u := range Users() {
		lines = append(lines, fmt.Sprintf("CREATE USER '%s'@'%%' IDENTIFIED BY '%s';", u.Name, u.Password))
		for _, g := range mysqlGrants(u) {
			line := fmt.Sprintf("GRANT %s TO '%s'@'%%'", g, u.Name)
			if u.Name == RootUser.Name {
				line += " WITH GRANT OPTION"
			}
			lines = append(lines, line+";")
		}
	}
	return append(lines,
		"INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so';",
		"INSTALL PLUGIN rpl_semi_sync_replica SONAME 'semisync_replica.so';",
		"INSTALL PLUGIN clone SONAME 'mysql_clone.so';",
		"DROP USER 'root'@'localhost';", // it has no password
		"SHUTDOWN;")
}
