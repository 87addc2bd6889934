package standin

import (
	"bytes"
	"regexp"
	"strings"
)

// kind is what the router must know of a statement before it runs.
type kind int

const (
	plain kind = iota
	useSchema
	setVariables
	setOpaque // a SET that cannot be repeated on another connection
	endTransaction
)

// statement is a text with what the router makes of it.
type statement struct {
	kind kind
	text []byte
	// schema is the argument of USE, assignments those of SET.
	schema      string
	assignments []assignment
}

// assignment is a session variable that can be set again on another connection.
type assignment struct{ name, sql string }

var (
	assignPattern = regexp.MustCompile(`(?is)^(?:(?:session|local)\s+|@@(?:session\.|local\.)?)?([a-z_]+)\s*:?=\s*(.+)$`)
	namesPattern  = regexp.MustCompile(`(?i)^(?:names|character\s+set|charset)\s+\S+(?:\s+collate\s+\S+)?$`)
)

// repeatable are the variables that ProxySQL tracks itself.
var repeatable = map[string]bool{
	"autocommit": true, "sql_mode": true, "time_zone": true, "tx_isolation": true, "transaction_isolation": true,
	"character_set_results": true, "character_set_client": true, "character_set_connection": true,
	"collation_connection": true, "foreign_key_checks": true, "unique_checks": true, "sql_select_limit": true,
	"group_concat_max_len": true, "innodb_lock_wait_timeout": true, "lock_wait_timeout": true, "max_join_size": true,
	"net_write_timeout": true, "sql_safe_updates": true, "long_query_time": true, "max_execution_time": true,
	"max_statement_time": true, "wsrep_sync_wait": true, "sql_auto_is_null": true, "tx_read_only": true,
}

// parse looks at a statement just as far as routing demands.
func parse(text []byte) statement {
	body := skipBlank(text)
	s := statement{kind: plain, text: text}
	switch {
	case hasWord(body, "SET"):
		s.assignments = parseSet(trimEnd(body[3:]))
		if s.kind = setVariables; s.assignments == nil {
			s.kind = setOpaque
		}
	case hasWord(body, "USE"):
		s.kind, s.schema = useSchema, strings.Trim(trimEnd(body[3:]), "`")
	case hasWord(body, "COMMIT"), hasWord(body, "ROLLBACK"):
		if rest := trimEnd(body); strings.EqualFold(rest, "COMMIT") || strings.EqualFold(rest, "ROLLBACK") {
			s.kind = endTransaction
		}
	}
	return s
}

func parseSet(text string) []assignment {
	if namesPattern.MatchString(text) {
		return []assignment{{name: "names", sql: "SET " + text}}
	}
	var list []assignment
	for _, part := range splitList(text) {
		m := assignPattern.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil || strings.ContainsAny(m[2], "(@") || !repeatable[strings.ToLower(m[1])] {
			return nil
		}
		name := strings.ToLower(m[1])
		list = append(list, assignment{name: name, sql: "SET " + name + "=" + strings.TrimSpace(m[2])})
	}
	return list
}

// isTrue reads the value of a boolean assignment.
func (a assignment) isTrue() bool {
	_, value, _ := strings.Cut(a.sql, "=")
	return value == "1" || strings.EqualFold(value, "on") || strings.EqualFold(value, "true")
}

// pins says what a statement leaves on its connection that binds the session to it.
func pins(text []byte) pin {
	var p pin
	body := skipBlank(text)
	switch {
	case hasWord(body, "PREPARE"):
		p |= pinPrepared
	case hasWords(body, "CREATE", "TEMPORARY", "TABLE"):
		p |= pinTemporaryTable
	case hasWords(body, "LOCK", "TABLE"), hasWords(body, "LOCK", "TABLES"), hasWords(body, "FLUSH", "TABLES", "WITH"):
		p |= pinTables
	case hasWord(body, "SAVEPOINT"):
		p |= pinSavepoint
	}
	if bytes.IndexByte(body, '@') >= 0 && mentionsVariable(body) {
		p |= pinUserVariable
	}
	if bytes.IndexByte(body, '(') >= 0 && containsFold(body, "GET_LOCK(") {
		p |= pinLock
	}
	if containsFold(body, "SQL_CALC_FOUND_ROWS") {
		p |= pinFoundRows
	}
	return p
}

// harmless are the variables that mysql-keep_multiplexing_variables exempts.
var harmless = regexp.MustCompile(
	`(?i)^select\s+@@(?:session\.|global\.)?(?:tx_isolation|transaction_isolation|version)(?:\s+limit\s+\d+)?\s*;?\s*$`)

// mentionsVariable reports an @ outside of quotes and comments.
func mentionsVariable(body []byte) bool {
	for i := 0; i < len(body); i++ {
		switch c := body[i]; c {
		case '@':
			return !harmless.Match(body)
		case '\'', '"', '`':
			i = skipQuoted(body, i)
		case '/':
			if bytes.HasPrefix(body[i:], []byte("/*")) {
				if end := bytes.Index(body[i:], []byte("*/")); end > 0 {
					i += end + 1
				}
			}
		}
	}
	return false
}

// skipQuoted returns the index of the quote that closes the one at i.
func skipQuoted(body []byte, i int) int {
	quote := body[i]
	for i++; i < len(body); i++ {
		switch {
		case body[i] == '\\' && quote != '`':
			i++
		case body[i] == quote:
			return i
		}
	}
	return i
}

func skipBlank(text []byte) []byte {
	for {
		text = bytes.TrimLeft(text, " \t\r\n;(")
		switch {
		case bytes.HasPrefix(text, []byte("/*")) && !bytes.HasPrefix(text, []byte("/*!")):
			end := bytes.Index(text, []byte("*/"))
			if end < 0 {
				return nil
			}
			text = text[end+2:]
		case bytes.HasPrefix(text, []byte("-- ")), bytes.HasPrefix(text, []byte("#")):
			end := bytes.IndexByte(text, '\n')
			if end < 0 {
				return nil
			}
			text = text[end+1:]
		default:
			return text
		}
	}
}

func trimEnd(text []byte) string { return strings.Trim(string(text), " \t\r\n;") }

// hasWord reports whether a text begins with a word, whatever its case.
func hasWord(text []byte, word string) bool {
	if len(text) < len(word) || !strings.EqualFold(string(text[:len(word)]), word) {
		return false
	}
	if len(text) == len(word) {
		return true
	}
	c := text[len(word)]
	return c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z')
}

func hasWords(text []byte, words ...string) bool {
	for _, w := range words {
		if !hasWord(text, w) {
			return false
		}
		text = bytes.TrimLeft(text[len(w):], " \t\r\n")
	}
	return true
}

// containsFold looks for an ASCII text, whatever its case, without allocating.
func containsFold(text []byte, want string) bool {
	first := want[0]
	for i := 0; i+len(want) <= len(text); i++ {
		if text[i]|0x20 == first|0x20 && strings.EqualFold(string(text[i:i+len(want)]), want) {
			return true
		}
	}
	return false
}

// splitList splits at commas outside of quotes and parentheses.
func splitList(text string) []string {
	var parts []string
	depth, start := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\'', '"', '`':
			i = skipQuoted([]byte(text), i)
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, text[start:i])
				start = i + 1
			}
		}
	}
	return append(parts, text[start:])
}
