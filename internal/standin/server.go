package standin

import (
	"net"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// status is the state of a server in a hostgroup, numbered as ProxySQL does.
type status int

const (
	online status = iota
	shunned
	offlineSoft
	offlineHard
)

var statusNames = [...]string{"ONLINE", "SHUNNED", "OFFLINE_SOFT", "OFFLINE_HARD"}

func (s status) String() string { return statusNames[s] }

func parseStatus(text string) status {
	for i, name := range statusNames {
		if strings.EqualFold(name, text) {
			return status(i)
		}
	}
	return offlineHard // ProxySQL, too, takes what it does not know for the safest
}

// serverID is the primary key of mysql_servers. It never changes, so that it may be read without a lock.
type serverID struct {
	hostgroup int
	host      string
	port      int
}

func (id serverID) address() string { return net.JoinHostPort(id.host, strconv.Itoa(id.port)) }

// attributes are the other columns of mysql_servers.
type attributes struct {
	gtidPort          int
	status            status
	weight            int
	compression       int
	maxConnections    int
	maxReplicationLag int
	useSSL            int
	maxLatency        int
	comment           string
}

// serverRow is a row of mysql_servers.
type serverRow struct {
	serverID
	attributes
}

// server is a server in a hostgroup with its connections; but for its id and what is atomic, its fields belong to the
// lock of the hostgroups.
type server struct {
	serverRow

	// offline is set while replies of the server must not be heeded: OFFLINE_HARD, or too many online in its group.
	offline atomic.Bool

	used map[*backend]struct{}
	free []*backend

	// autoShunned tells a server that errors took out, and time may bring back, from one that was loaded as SHUNNED.
	autoShunned  bool
	lastError    int64
	errorsAtLast int

	connectOK, connectErr, maxUsed int
	queries, sent, received        atomic.Uint64
}

// profile says which sessions may share a connection: what was settled when it was opened.
type profile struct {
	user         string
	collation    byte
	capabilities wire.Capability
}

// backend is one connection to a server, free or used by a session. A used one belongs to its session alone.
type backend struct {
	server  *server
	profile profile
	conn    *wire.Conn // nil until it is dialled

	schema     string
	variables  string
	autocommit bool
	status     uint16
	statements map[string]uint32

	// pinned says why the connection cannot go back to the pool.
	pinned pin
	// token counts the statements for which an insert with a generated key keeps the connection.
	token    int
	warnings bool
	prepared bool
}

// pin is a set of reasons to keep a connection for one session.
type pin uint8

const (
	pinUserVariable pin = 1 << iota
	pinTemporaryTable
	pinLock
	pinTables
	pinPrepared
	pinFoundRows
	pinSavepoint
	pinRule
)

func (b *backend) inTransaction() bool { return b.status&wire.StatusInTrans != 0 }

// shareable reports whether nothing of the session remains on the connection.
func (b *backend) shareable() bool { return b.pinned == 0 && !b.warnings && !b.inTransaction() }

func (b *backend) close() {
	if b.conn != nil {
		_ = b.conn.Close()
	}
}
