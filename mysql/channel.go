package mysql

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/remora-ha/remora/topology"
)

// channelNames are the words in the columns of SHOW REPLICA STATUS, which MySQL
// renamed and MariaDB did not.
type channelNames struct{ source, replica string }

var (
	oldNames = channelNames{source: "Master", replica: "Slave"}
	newNames = channelNames{source: "Source", replica: "Replica"}
)

// filterColumns are alike in all servers.
var filterColumns = []string{
	"Replicate_Do_DB", "Replicate_Ignore_DB", "Replicate_Do_Table", "Replicate_Ignore_Table",
	"Replicate_Wild_Do_Table", "Replicate_Wild_Ignore_Table", "Replicate_Rewrite_DB",
	"Replicate_Do_Domain_Ids", "Replicate_Ignore_Domain_Ids", "Replicate_Ignore_Server_Ids",
}

// newChannel reads what all servers say alike; nil when no source is configured.
func newChannel(line row, names channelNames) *channel {
	src, rep := names.source, names.replica
	if line[src+"_Host"] == "" {
		return nil
	}
	c := &channel{
		Source: topology.Source{
			Addr: line.addr(src+"_Host", src+"_Port"),
			IO:   thread(line[rep+"_IO_Running"]), SQL: thread(line[rep+"_SQL_Running"]),
			IOError: line["Last_IO_Error"], SQLError: line["Last_SQL_Error"],
			IOErrno: line.integer("Last_IO_Errno"), SQLErrno: line.integer("Last_SQL_Errno"),
			Filters: filters(line),
		},
		sqlState:  line.get(rep+"_SQL_Running_State", rep+"_SQL_State"),
		logFile:   line[src+"_Log_File"],
		received:  line[src+"_Log_File"] + ":" + line["Read_"+src+"_Log_Pos"],
		executed:  line["Relay_"+src+"_Log_File"] + ":" + line["Exec_"+src+"_Log_Pos"],
		relayFile: line["Relay_Log_File"], relayPos: line.integer("Relay_Log_Pos"),
		user: line[src+"_User"], tls: line.on(src + "_SSL_Allowed"), connectRetry: line.integer("Connect_Retry"),
	}
	if n, err := strconv.Atoi(line[src+"_Retry_Count"]); err == nil {
		c.retries = &n
	}
	// The name of the source's log is forgotten when a replica is pointed anew, and learnt at the first connection.
	c.Untried = c.logFile == "" && c.IO == topology.ThreadNo && c.IOErrno == 0
	if lag, ok := line.seconds("Seconds_Behind_" + src); ok {
		c.Lag = &lag
	}
	c.Delay, _ = line.seconds("SQL_Delay")
	return c
}

func thread(v string) topology.Thread {
	switch v {
	case "Yes":
		return topology.ThreadYes
	case "No":
		return topology.ThreadNo
	case "Connecting", "Preparing": // MariaDB says Preparing before the first attempt
		return topology.ThreadConnecting
	default:
		return ""
	}
}

// filters is one text for all replication filters: equal texts are equal filters.
func filters(line row) string {
	var set []string
	for _, name := range filterColumns {
		if v := line[name]; v != "" {
			set = append(set, strings.ToLower(strings.TrimPrefix(name, "Replicate_"))+"="+v)
		}
	}
	return strings.Join(set, " ")
}

// attached reads SHOW SLAVE HOSTS or SHOW REPLICAS. A replica that does not report
// its host cannot be named and is left out.
func attached(lines result) []topology.Addr {
	var addrs []topology.Addr
	for _, line := range lines {
		addrs = append(addrs, line.addr("Host", "Port"))
	}
	return topology.SortAddrs(addrs)
}

func isOff(v string) bool {
	switch strings.ToUpper(v) {
	case "", "0", "OFF", "NO", "FALSE":
		return true
	}
	return false
}

// milliseconds reads a time-out; one that no Duration can hold is forever.
func milliseconds(text string) topology.Duration {
	n, err := strconv.ParseUint(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && n > uint64(math.MaxInt64/time.Millisecond):
		return topology.Forever
	case err != nil:
		return 0
	}
	return topology.Duration(n) * topology.Duration(time.Millisecond)
}
