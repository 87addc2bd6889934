package lab

import (
	"context"
	"fmt"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"time"
)

// mariadbEngine is MariaDB 10.5 and later.
type mariadbEngine struct{}

// redoLogSize is that of the template and of every boot: a server that finds another one would resize it first.
const redoLogSize = "--innodb-log-file-size=4M"

func (mariadbEngine) flavor() Flavor { return MariaDB }

func (mariadbEngine) program() (string, error) {
	path, err := find("mariadbd")
	if err != nil {
		return "", fmt.Errorf("%w (Debian package %s)", err, serverPackage)
	}
	return path, nil
}

func (mariadbEngine) recipe() string { return redoLogSize + strings.Join(createUsers(Users()), "\n") }

func (mariadbEngine) args(s *Server, data string) []string {
	args := append(commonArgs(s, data), "--log-slave-updates=1", "--binlog-format=ROW", "--gtid-strict-mode=1", "--slave-net-timeout=4",
		redoLogSize, "--aria-pagecache-buffer-size=1M")
	if !s.opts.Resumes {
		args = append(args, "--skip-slave-start")
	}
	if !s.opts.Writable {
		args = append(args, "--read-only=1")
	}
	if s.opts.SemiSync {
		timeout := orDefault(s.opts.SemiSyncTimeout, 10*time.Second)
		args = append(args, "--rpl-semi-sync-slave-enabled=1", "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
			"--rpl-semi-sync-master-timeout="+strconv.FormatInt(timeout.Milliseconds(), 10))
	}
	if s.opts.DropUnacked {
		args = append(args, "--init-rpl-role=SLAVE") // with rpl_semi_sync_slave_enabled it means just that
	}
	if s.opts.Appliers > 0 {
		args = append(args, "--slave-parallel-mode=conservative", "--slave-parallel-threads="+strconv.Itoa(s.opts.Appliers))
	}
	return args
}

func (mariadbEngine) words() words {
	return words{
		open: "SET GLOBAL read_only=0", close: "SET GLOBAL read_only=1",
		stop: "STOP SLAVE", start: "START SLAVE",
		stopReceiver: "STOP SLAVE IO_THREAD", startReceiver: "START SLAVE IO_THREAD",
		stopApplier: "STOP SLAVE SQL_THREAD", startApplier: "START SLAVE SQL_THREAD",
		status: "SHOW SLAVE STATUS", io: "Slave_IO_Running", sql: "Slave_SQL_Running",
		ioError: "Last_IO_Error", sqlError: "Last_SQL_Error", delay: "SQL_Delay", sourcePort: "Master_Port", received: "Gtid_IO_Pos",
		position: "SELECT @@gtid_current_pos AS pos",
		applied:  "SELECT MASTER_GTID_WAIT('%s', 0.02) AS waited, @@gtid_current_pos AS pos",
		logEnd:   "SHOW MASTER STATUS", awaitLog: "MASTER_POS_WAIT",
		semiSync: "rpl_semi_sync_master_enabled", clients: "Rpl_semi_sync_master_clients", waiting: "Rpl_semi_sync_master_wait_sessions",
		closed: "SELECT @@read_only AS closed",
	}
}

func (mariadbEngine) follow(source *Server, delay int) string {
	position := "MASTER_USE_GTID=slave_pos"
	if source.opts.NoGTID {
		position = "MASTER_USE_GTID=no, MASTER_LOG_FILE='" + firstLog + "', MASTER_LOG_POS=4"
	}
	return fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=%d, MASTER_USER='%s', MASTER_PASSWORD='%s', "+
		position+", MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=0.5, MASTER_DELAY=%d",
		source.Host, source.Port, ReplUser.Name, ReplUser.Password, delay)
}

func (mariadbEngine) initialise(ctx context.Context, mariadbd, data string) error {
	install, err := find("mariadb-install-db")
	if err != nil {
		return err
	}
	me, err := user.Current()
	if err != nil {
		return err
	}
	common := []string{"--no-defaults", "--user=" + me.Username, "--datadir=" + data, redoLogSize}
	args := append(append([]string(nil), common...), "--auth-root-authentication-method=normal", "--skip-test-db",
		"--skip-name-resolve", "--force")
	if out, err := exec.CommandContext(ctx, install, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", install, err, out)
	}
	boot := exec.CommandContext(ctx, mariadbd, append(common, "--bootstrap")...)
	boot.Stdin = strings.NewReader(strings.Join(createUsers(Users()), "\n") + "\n")
	if out, err := boot.CombinedOutput(); err != nil {
		return fmt.Errorf("create the accounts: %w\n%s", err, out)
	} else if strings.Contains(string(out), "ERROR") { // bootstrap goes on after a statement that failed
		return fmt.Errorf("create the accounts:\n%s", out)
	}
	return nil
}
