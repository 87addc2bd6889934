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

// replicaColumns are those of MySQL 8.4, in its order.
var replicaColumns = strings.Fields(`Replica_IO_State Source_Host Source_User Source_Port Connect_Retry Source_Log_File Read_Source_Log_Pos
	Relay_Log_File Relay_Log_Pos Relay_Source_Log_File Replica_IO_Running Replica_SQL_Running Replicate_Do_DB Replicate_Ignore_DB
	Replicate_Do_Table Replicate_Ignore_Table Replicate_Wild_Do_Table Replicate_Wild_Ignore_Table Last_Errno Last_Error Skip_Counter
	Exec_Source_Log_Pos Relay_Log_Space Until_Condition Until_Log_File Until_Log_Pos Source_SSL_Allowed Source_SSL_CA_File
	Source_SSL_CA_Path Source_SSL_Cert Source_SSL_Cipher Source_SSL_Key Seconds_Behind_Source Source_SSL_Verify_Server_Cert
	Last_IO_Errno Last_IO_Error Last_SQL_Errno Last_SQL_Error Replicate_Ignore_Server_Ids Source_Server_Id Source_UUID
	Source_Info_File SQL_Delay SQL_Remaining_Delay Replica_SQL_Running_State Source_Retry_Count Source_Bind Last_IO_Error_Timestamp
	Last_SQL_Error_Timestamp Source_SSL_Crl Source_SSL_Crlpath Retrieved_Gtid_Set Executed_Gtid_Set Auto_Position
	Replicate_Rewrite_DB Channel_Name Source_TLS_Version Source_public_key_path Get_Source_public_key Network_Namespace`)

func replicaStatus() command {
	c := table{names: replicaColumns, rows: sources, value: replicaValue}.command()
	c.reads = true
	return c
}

func sources(in *Instance) int {
	if in.source == nil {
		return 0
	}
	return 1
}

// replicaValue is a column of SHOW REPLICA STATUS.
func replicaValue(in *Instance, _ int, column string) (text string, null bool) {
	s := in.source
	switch column {
	case "Source_Host":
		return s.host(), false
	case "Source_Port":
		return s.port(), false
	case "Source_User":
		return s.user, false
	case "Connect_Retry":
		return s.retry, false
	case "Source_Log_File", "Relay_Source_Log_File":
		if !s.known {
			return "", false
		}
		return "binlog.000001", false
	case "Relay_Log_File":
		return "relay.000002", false
	case "Read_Source_Log_Pos", "Exec_Source_Log_Pos", "Relay_Log_Pos":
		return strconv.FormatInt(4+1000*s.received.total(), 10), false
	case "Replica_IO_Running":
		return s.ioRunning(), false
	case "Replica_SQL_Running":
		return yesNo(s.sql), false
	case "Replica_SQL_Running_State":
		if !s.sql {
			return "", false
		}
		return "Replica has read all relay log; waiting for more updates", false
	case "Seconds_Behind_Source":
		return "0", !s.sql || s.ioRunning() != "Yes"
	case "Last_IO_Errno":
		if s.io && s.lost {
			return "2003", false
		}
		return "0", false
	case "Last_IO_Error":
		if s.io && s.lost {
			return "Error reconnecting to source '" + s.user + "@" + s.addr + "'. This was attempt 1/86400, with a delay of 1 seconds" +
				" between attempts. Message: Can't connect to MySQL server on '" + s.addr + "' (111)", false
		}
		return "", false
	case "Source_SSL_Allowed", "Source_SSL_Verify_Server_Cert":
		return "No", false
	case "Last_Errno", "Last_SQL_Errno", "Skip_Counter", "SQL_Delay", "Until_Log_Pos", "Get_Source_public_key":
		return "0", false
	case "SQL_Remaining_Delay":
		return "", true
	case "Until_Condition":
		return "None", false
	case "Source_Info_File":
		return "mysql.slave_master_info", false
	case "Source_Retry_Count":
		return "86400", false
	case "Relay_Log_Space":
		return "1048576", false
	case "Retrieved_Gtid_Set":
		return s.received.text, false
	case "Executed_Gtid_Set":
		return in.gtids.text, false
	case "Auto_Position":
		return "1", false
	case "Replica_IO_State":
		if s.ioRunning() == "Yes" {
			return "Waiting for source to send event", false
		}
		return "", false
	}
	return "", false
}

func yesNo(yes bool) string {
	if yes {
		return "Yes"
	}
	return "No"
}

func (s *source) host() string { return s.addr[:strings.LastIndexByte(s.addr, ':')] }
func (s *source) port() string { return s.addr[strings.LastIndexByte(s.addr, ':')+1:] }

func (s *source) ioRunning() string {
	switch {
	case !s.io:
		return "No"
	case !s.known || s.lost:
		return "Connecting"
	}
	return "Yes"
}

func (s *source) countBeats(now time.Time) int64 {
	if !s.known || s.lost {
		return s.beats
	}
	return s.beats + int64(now.Sub(s.linked)/beat)
}

// total counts the transactions of a set.
func (g *gtids) total() (n int64) {
	for _, w := range g.of {
		n += w.upTo
	}
	return n
}

// last is the newest transaction of a set, empty for none.
func (g *gtids) last() string {
	if len(g.of) == 0 {
		return ""
	}
	w := g.of[len(g.of)-1]
	return w.uuid + ":" + strconv.FormatInt(w.upTo, 10)
}

// heartbeats answers a SELECT from performance_schema's tables of replication connections.
func heartbeats(list string) command {
	exprs, names := selected(list)
	of := map[string]string{}
	for i, name := range names {
		_, column, found := strings.Cut(exprs[i], ".")
		if !found {
			column = exprs[i]
		}
		of[name] = strings.ToUpper(column)
	}
	return table{names: names, rows: sources, value: func(in *Instance, _ int, name string) (string, bool) {
		return connectionValue(in.source, of[name])
	}}.command()
}

func connectionValue(s *source, column string) (text string, null bool) {
	const stamp = "2006-01-02 15:04:05.000000"
	switch column {
	case "CHANNEL_NAME", "QUEUEING_TRANSACTION":
		return "", false
	case "HEARTBEAT_INTERVAL":
		return s.heartbeat, false
	case "COUNT_RECEIVED_HEARTBEATS":
		return strconv.FormatInt(s.countBeats(time.Now()), 10), false
	case "LAST_HEARTBEAT_TIMESTAMP":
		if !s.known {
			return "0000-00-00 00:00:00.000000", false
		}
		at := s.lostAt
		if !s.lost {
			at = time.Now()
		}
		return s.linked.Add(at.Sub(s.linked).Truncate(beat)).UTC().Format(stamp), false
	case "LAST_QUEUED_TRANSACTION":
		return s.received.last(), false
	case "SERVICE_STATE":
		return map[string]string{"Yes": "ON", "No": "OFF", "Connecting": "CONNECTING"}[s.ioRunning()], false
	case "HOST":
		return s.host(), false
	case "PORT":
		return s.port(), false
	case "USER":
		return s.user, false
	}
	return "", true
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
