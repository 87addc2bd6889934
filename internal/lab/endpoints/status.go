package endpoints

import (
	"strconv"
	"strings"
	"time"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// variable is a global variable; ok is false for one that this server does not have.
func variable(in *Instance, name string) (value string, ok bool) {
	switch strings.ToLower(name) {
	case "version":
		return version, true
	case "server_id":
		return strconv.Itoa(in.number), true
	case "server_uuid":
		return in.uuid, true
	case "read_only":
		return onOff(!in.open), true
	case "super_read_only":
		return onOff(!in.open && in.super), true
	case "log_bin", "log_replica_updates", "log_slave_updates", "gtid_mode":
		return "ON", true
	case "binlog_format":
		return "ROW", true
	case "report_host":
		return in.host, true
	case "report_port", "port":
		return strconv.Itoa(in.fleet.portNumber()), true
	case "max_connections":
		return "1000", true
	case "gtid_executed":
		return in.gtids.text, true
	case "gtid_purged":
		return "", true
	case "enforce_gtid_consistency":
		return "ON", true
	}
	return "", false
}

func (f *Fleet) portNumber() int {
	if f == nil {
		return 0
	}
	return f.port
}

func statusValue(in *Instance, name string) (value string, ok bool) {
	switch strings.ToLower(name) {
	case "uptime":
		return strconv.Itoa(int(time.Since(in.born) / time.Second)), true
	case "threads_connected":
		return strconv.Itoa(len(in.conns)), true
	}
	return "", false
}

func onOff(on bool) string {
	if on {
		return "ON"
	}
	return "OFF"
}

func isReplica(in *Instance) bool { return in.source != nil }

func replicaStatus() command {
	columns := make([]column, len(replicaColumns))
	for i, name := range replicaColumns {
		columns[i] = column{name, replicaValues[name]}
		if columns[i].value == nil {
			columns[i].value = fixed("")
		}
	}
	c := table(columns, isReplica)
	c.reads = true
	return c
}

func yesNo(yes bool) string {
	if yes {
		return "Yes"
	}
	return "No"
}

// heartbeats answers a SELECT from performance_schema's tables of replication connections.
func heartbeats(list string) command {
	exprs, names := selected(list)
	columns := make([]column, len(names))
	for i, expr := range exprs {
		if _, bare, found := strings.Cut(expr, "."); found {
			expr = bare
		}
		columns[i] = column{names[i], connectionValues[strings.ToUpper(expr)]}
		if columns[i].value == nil {
			columns[i].value = func(*Instance) (string, bool) { return "", true }
		}
	}
	return table(columns, isReplica)
}

// showReplicas lists those that replicate from an instance now.
func showReplicas() command {
	columns := wire.NewColumns("Server_Id", "Host", "Port", "Source_Id", "Replica_UUID")
	return command{run: func(in *Instance, a *wire.Answer, more bool) *wire.Error {
		a.Columns(columns)
		for _, r := range in.cluster.Instances {
			if r.down || r.source == nil || r.source.addr != in.Addr || r.source.ioRunning() != "Yes" {
				continue
			}
			a.Row()
			a.Number(int64(r.number))
			a.Text(r.host)
			a.Number(int64(r.fleet.port))
			a.Number(int64(in.number))
			a.Text(r.uuid)
			a.EndRow()
		}
		a.EndRows(more)
		return nil
	}}
}
