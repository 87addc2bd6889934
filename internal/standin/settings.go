package standin

import (
	"maps"
	"strconv"
	"strings"
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
	number := func(name string) int { return leadingNumber(raw[name]) }
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

// accept merges the values of the memory layer that have a prefix into the runtime. A value that is refused stays as it
// was; ProxySQL then puts the old one back into memory, so those are returned.
func (s *settings) accept(prefix string, memory map[string]string, defaults map[string]variable) (*settings, map[string]string) {
	raw := maps.Clone(s.raw)
	refused := make(map[string]string)
	for name, value := range memory {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		value, ok := defaults[name].accept(value)
		if !ok || name == "admin-version" {
			refused[name] = raw[name]
			continue
		}
		raw[name] = value
	}
	return newSettings(raw), refused
}

// accept judges a value by the kind of the variable.
func (v variable) accept(value string) (string, bool) {
	switch {
	case v.value == "true" || v.value == "false":
		switch strings.ToLower(value) {
		case "true", "1":
			return "true", true
		case "false", "0":
			return "false", true
		}
		return "", false
	case v.bounded:
		n := leadingNumber(value)
		return strconv.Itoa(n), n >= v.min && n <= v.max
	}
	return value, true
}

// leadingNumber reads as much of a number as there is, as C's atoi does.
func leadingNumber(text string) int {
	text = strings.TrimSpace(text)
	end := 0
	for end < len(text) && (text[end] >= '0' && text[end] <= '9' || end == 0 && text[end] == '-') {
		end++
	}
	n, _ := strconv.Atoi(text[:end]) // nothing is zero
	return n
}
