package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Flavor is whose database server it is.
type Flavor string

// The flavors.
const (
	MariaDB Flavor = "mariadb"
	MySQL   Flavor = "mysql"
)

// String is the name as its makers write it.
func (f Flavor) String() string {
	switch f {
	case MariaDB:
		return "MariaDB"
	case MySQL:
		return "MySQL"
	}
	return string(f)
}

// DefaultFlavor is the one that REMORA_FLAVOR in the environment names, else MariaDB.
func DefaultFlavor() Flavor {
	if named := os.Getenv("REMORA_FLAVOR"); named != "" {
		return Flavor(named)
	}
	return MariaDB
}

// engine is how a flavor's servers are made and spoken to.
type engine interface {
	flavor() Flavor
	// program is the path of the server.
	program() (string, error)
	// recipe is what a template depends on beside the server's version.
	recipe() string
	// initialise makes a data directory with the lab's accounts.
	initialise(ctx context.Context, program, data string) error
	// args start a server; --no-defaults comes first.
	args(s *Server, data string) []string
	words() words
	// follow makes a stopped replica of a source, from its own position on; where the source is without GTIDs, from the
	// beginning of its binary log.
	follow(source *Server, delay int) string
}

// words are a flavor's statements and names.
type words struct {
	open, close   string // applications may write, or may not
	stop, start   string // both replication threads
	stopReceiver  string
	startReceiver string
	stopApplier   string
	startApplier  string
	status        string // one row for a replica, with the columns that follow
	io, sql       string
	ioError       string
	sqlError      string
	delay         string
	sourcePort    string
	received      string
	position      string // column pos: all that the server has
	applied       string // of a position, put in for %s; column waited is 0 when it has it, or the query takes 20 ms; column pos
	logEnd        string // columns File, Position: where the own binary log ends
	awaitLog      string // the function that waits for a place in the source's binary log
	semiSync      string // the variable of the primary's side
	clients       string // the status variable that counts who acknowledges
	waiting       string // the one that counts sessions which wait for that
	closed        string // column closed: 1 where applications may not write
}

func engineOf(f Flavor) (engine, error) {
	if f == "" {
		f = DefaultFlavor()
	}
	switch f {
	case MariaDB:
		return mariadbEngine{}, nil
	case MySQL:
		return mysqlEngine{}, nil
	}
	return nil, fmt.Errorf("flavor %q (of REMORA_FLAVOR, where none is asked for): it can be %q or %q", string(f), string(MariaDB), string(MySQL))
}

// firstLog is the first binary log of each server.
const firstLog = "binlog.000001"

// commonArgs are those that all flavors understand.
func commonArgs(s *Server, data string) []string {
	return []string{
		"--no-defaults", "--datadir=" + data, "--tmpdir=" + filepath.Dir(data),
		// Relative to the data directory: the path of a socket may not be long.
		"--socket=mysql.sock", "--pid-file=pid",
		"--bind-address=" + s.Host, "--port=" + strconv.Itoa(s.Port),
		"--report-host=" + s.Host, "--report-port=" + strconv.Itoa(s.Port),
		"--server-id=" + strconv.Itoa(s.ServerID),
		"--log-bin=binlog", "--relay-log=relay",
		"--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1",
		"--skip-name-resolve", "--max-connections=" + strconv.Itoa(orDefault(s.opts.MaxConnections, 200)),
		"--innodb-buffer-pool-size=16M", "--innodb-log-buffer-size=2M", "--key-buffer-size=64K",
		"--table-open-cache=200", "--innodb-fast-shutdown=2",
		"--innodb-buffer-pool-dump-at-shutdown=0", "--innodb-buffer-pool-load-at-startup=0",
	}
}
