package endpoints

import (
	"strconv"
	"strings"
	"time"
)

// replicaColumns are those of SHOW REPLICA STATUS in MySQL 8.4, in its order.
var replicaColumns = strings.Fields(`Replica_IO_State Source_Host Source_User Source_Port Connect_Retry Source_Log_File Read_Source_Log_Pos
	Relay_Log_File Relay_Log_Pos Relay_Source_Log_File Replica_IO_Running Replica_SQL_Running Replicate_Do_DB Replicate_Ignore_DB
	Replicate_Do_Table Replicate_Ignore_Table Replicate_Wild_Do_Table Replicate_Wild_Ignore_Table Last_Errno Last_Error Skip_Counter
	Exec_Source_Log_Pos Relay_Log_Space Until_Condition Until_Log_File Until_Log_Pos Source_SSL_Allowed Source_SSL_CA_File
	Source_SSL_CA_Path Source_SSL_Cert Source_SSL_Cipher Source_SSL_Key Seconds_Behind_Source Source_SSL_Verify_Server_Cert
	Last_IO_Errno Last_IO_Error Last_SQL_Errno Last_SQL_Error Replicate_Ignore_Server_Ids Source_Server_Id Source_UUID
	Source_Info_File SQL_Delay SQL_Remaining_Delay Replica_SQL_Running_State Source_Retry_Count Source_Bind Last_IO_Error_Timestamp
	Last_SQL_Error_Timestamp Source_SSL_Crl Source_SSL_Crlpath Retrieved_Gtid_Set Executed_Gtid_Set Auto_Position
	Replicate_Rewrite_DB Channel_Name Source_TLS_Version Source_public_key_path Get_Source_public_key Network_Namespace`)

// replicaValues are what those columns hold; the others are empty.
var replicaValues = map[string]func(*Instance) (string, bool){
	"Replica_IO_State":          of((*source).ioState),
	"Source_Host":               of((*source).host),
	"Source_Port":               of((*source).port),
	"Source_User":               of(func(s *source) string { return s.user }),
	"Connect_Retry":             of(func(s *source) string { return s.retry }),
	"Source_Log_File":           of((*source).logFile),
	"Relay_Source_Log_File":     of((*source).logFile),
	"Relay_Log_File":            fixed("relay.000002"),
	"Read_Source_Log_Pos":       of((*source).position),
	"Exec_Source_Log_Pos":       of((*source).position),
	"Relay_Log_Pos":             of((*source).position),
	"Replica_IO_Running":        of((*source).ioRunning),
	"Replica_SQL_Running":       of(func(s *source) string { return yesNo(s.sql) }),
	"Replica_SQL_Running_State": of((*source).sqlState),
	"Seconds_Behind_Source": func(in *Instance) (string, bool) {
		return "0", !in.source.sql || in.source.ioRunning() != "Yes"
	},
	"Last_IO_Errno":                 of(func(s *source) string { return strconv.Itoa(s.ioErrno()) }),
	"Last_IO_Error":                 of((*source).ioError),
	"Last_Errno":                    fixed("0"),
	"Last_SQL_Errno":                fixed("0"),
	"Skip_Counter":                  fixed("0"),
	"SQL_Delay":                     fixed("0"),
	"Until_Log_Pos":                 fixed("0"),
	"Get_Source_public_key":         fixed("0"),
	"SQL_Remaining_Delay":           func(*Instance) (string, bool) { return "", true },
	"Source_SSL_Allowed":            fixed("No"),
	"Source_SSL_Verify_Server_Cert": fixed("No"),
	"Until_Condition":               fixed("None"),
	"Source_Info_File":              fixed("mysql.slave_master_info"),
	"Source_Retry_Count":            fixed("86400"),
	"Relay_Log_Space":               fixed("1048576"),
	"Retrieved_Gtid_Set":            of(func(s *source) string { return s.received.text }),
	"Executed_Gtid_Set":             func(in *Instance) (string, bool) { return in.gtids.text, false },
	"Auto_Position":                 fixed("1"),
}

// connectionValues are columns of performance_schema's tables of replication connections; the others are NULL.
var connectionValues = map[string]func(*Instance) (string, bool){
	"CHANNEL_NAME":              fixed(""),
	"QUEUEING_TRANSACTION":      fixed(""),
	"HEARTBEAT_INTERVAL":        of(func(s *source) string { return s.heartbeat }),
	"COUNT_RECEIVED_HEARTBEATS": of(func(s *source) string { return strconv.FormatInt(s.countBeats(time.Now()), 10) }),
	"LAST_HEARTBEAT_TIMESTAMP":  of(func(s *source) string { return s.lastBeat(time.Now()) }),
	"LAST_QUEUED_TRANSACTION":   of(func(s *source) string { return s.received.last() }),
	"SERVICE_STATE": of(func(s *source) string {
		return map[string]string{"Yes": "ON", "No": "OFF", "Connecting": "CONNECTING"}[s.ioRunning()]
	}),
	"HOST": of((*source).host),
	"PORT": of((*source).port),
	"USER": of(func(s *source) string { return s.user }),
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

func (s *source) ioState() string {
	if s.ioRunning() == "Yes" {
		return "Waiting for source to send event"
	}
	return ""
}

func (s *source) sqlState() string {
	if s.sql {
		return "Replica has read all relay log; waiting for more updates"
	}
	return ""
}

func (s *source) ioErrno() int {
	if s.io && s.lost {
		return 2003
	}
	return 0
}

func (s *source) ioError() string {
	if s.ioErrno() == 0 {
		return ""
	}
	return "Error reconnecting to source '" + s.user + "@" + s.addr + "'. This was attempt 1/86400, with a delay of 1 seconds" +
		" between attempts. Message: Can't connect to MySQL server on '" + s.addr + "' (111)"
}

func (s *source) logFile() string {
	if s.known {
		return "binlog.000001"
	}
	return ""
}

func (s *source) position() string { return strconv.FormatInt(4+1000*s.received.total(), 10) }

func (s *source) countBeats(now time.Time) int64 {
	if !s.known || s.lost {
		return s.beats
	}
	return s.beats + int64(now.Sub(s.linked)/beat)
}

func (s *source) lastBeat(now time.Time) string {
	if !s.known {
		return "0000-00-00 00:00:00.000000"
	}
	if s.lost {
		now = s.lostAt
	}
	return s.linked.Add(now.Sub(s.linked).Truncate(beat)).UTC().Format("2006-01-02 15:04:05.000000")
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
