package standin

import (
	"strconv"
	"time"
)

// settings are the runtime variables that the stand-in heeds, read once at LOAD.
type settings struct {
	raw map[string]string

	serverVersion      string
	defaultSchema      string
	connectTimeout     time.Duration
	connectTimeoutMax  time.Duration
	connectRetries     int
	connectRetriesWait time.Duration
	queryRetries       int
	shunOnFailures     int
	shunRecovery       int64 // seconds
	maxConnections     int
	maxStatements      int
	stickyInserts      int
	stickyInsertsFor   time.Duration
	multiplexing       bool
	handleWarnings     bool
	pollOnFailure      time.Duration
	adminCredentials   string
	statsCredentials   string
}

func newSettings(raw map[string]string) *settings {
	number := func(name string) int {
		n, _ := strconv.Atoi(raw[name]) // LOAD lets only numbers in where one is expected
		return n
	}
	millis := func(name string) time.Duration { return time.Duration(number(name)) * time.Millisecond }
	return &settings{
		raw:                raw,
		serverVersion:      raw["mysql-server_version"],
		defaultSchema:      raw["mysql-default_schema"],
		connectTimeout:     millis("mysql-connect_timeout_server"),
		connectTimeoutMax:  millis("mysql-connect_timeout_server_max"),
		connectRetries:     number("mysql-connect_retries_on_failure"),
		connectRetriesWait: millis("mysql-connect_retries_delay"),
		queryRetries:       number("mysql-query_retries_on_failure"),
		shunOnFailures:     number("mysql-shun_on_failures"),
		shunRecovery:       int64(number("mysql-shun_recovery_time_sec")),
		maxConnections:     number("mysql-max_connections"),
		maxStatements:      number("mysql-max_stmts_per_connection"),
		stickyInserts:      number("mysql-auto_increment_delay_multiplex"),
		stickyInsertsFor:   millis("mysql-auto_increment_delay_multiplex_timeout_ms"),
		multiplexing:       raw["mysql-multiplexing"] == "true",
		handleWarnings:     number("mysql-handle_warnings") == 1,
		pollOnFailure:      millis("mysql-poll_timeout_on_failure"),
		adminCredentials:   raw["admin-admin_credentials"],
		statsCredentials:   raw["admin-stats_credentials"],
	}
}

// accept merges the values of the memory layer that have a prefix into the runtime. A value of the wrong kind is
// refused: the real one then puts the old value back into memory, so the refused are returned with it.
func (s *settings) accept(prefix string, memory, defaults map[string]string) (*settings, map[string]string) {
	raw := make(map[string]string, len(s.raw))
	for name, value := range s.raw {
		raw[name] = value
	}
	refused := make(map[string]string)
	for name, value := range memory {
		if len(name) < len(prefix) || name[:len(prefix)] != prefix {
			continue
		}
		value, ok := normalize(value, defaults[name])
		if !ok || name == "admin-version" {
			refused[name] = raw[name]
			continue
		}
		raw[name] = value
	}
	return newSettings(raw), refused
}

// normalize judges a value by the kind of the default.
func normalize(value, example string) (string, bool) {
	switch example {
	case "true", "false":
		switch value {
		case "true", "1":
			return "true", true
		case "false", "0":
			return "false", true
		}
		return "", false
	}
	if _, err := strconv.Atoi(example); err == nil {
		_, err := strconv.Atoi(value)
		return value, err == nil
	}
	return value, true
}
