package standin

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// result is an answer, or an OK that may carry words.
type result struct {
	answer
	info string
}

var okResult = &result{}

// noOps are beginnings of statements that answer OK and do nothing.
var noOps = []string{
	"BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "SET character_set_results", "SET SQL_AUTO_IS_NULL", "SET NAMES",
	"SET AUTOCOMMIT", "USE ", "LOCK TABLES", "UNLOCK TABLES", "SET SQL_SAFE_UPDATES", "SET SESSION character_set_results",
	"/*!40", "/*!50", "/*!80", "SIGNAL MYSQL THREADS", "LOGENTRY ",
}

// execute runs one text of a client, with the mutex held.
func (s *adminSession) execute(ctx context.Context, text string) (*result, error) {
	a := s.admin
	command := collapse(text)
	if err := a.refresh(ctx, command, !s.stats); err != nil {
		return nil, err
	}
	if !s.stats {
		if r, err := s.special(ctx, command); r != nil || err != nil {
			return r, err
		}
	}
	for _, prefix := range noOps {
		if hasPrefixFold(command, prefix) {
			return okResult, nil
		}
	}
	sql := s.rewrite(command, text)
	if hasPrefixFold(command, "SET ") {
		var r *result
		if sql, r = a.assignment(ctx, command[len("SET "):]); r != nil {
			return r, nil
		}
	}
	if hasPrefixFold(command, "CHECKSUM ") {
		if r, err := a.checksum(ctx, command); r != nil || err != nil {
			return r, err
		}
	}
	if s.stats {
		if err := a.store.exec(ctx, "PRAGMA query_only=ON"); err != nil {
			return nil, err
		}
		defer func() { _ = a.store.exec(ctx, "PRAGMA query_only=OFF") }()
	}
	answer, err := a.store.query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return &result{answer: *answer}, nil
}

// special runs the commands that are no SQL; nil means that the text is none of them.
func (s *adminSession) special(ctx context.Context, command string) (*result, error) {
	a := s.admin
	switch {
	case hasPrefixFold(command, "LOAD "), hasPrefixFold(command, "SAVE "):
		return a.move(ctx, strings.ToUpper(command))
	case hasPrefixFold(command, "PROXYSQL "):
		return a.control(strings.ToUpper(command[len("PROXYSQL "):]))
	case hasPrefixFold(command, "KILL CONNECTION "):
		id, _ := strconv.ParseUint(command[len("KILL CONNECTION "):], 10, 32)
		if !a.router.kill(uint32(id)) {
			return nil, &wire.Error{Code: 1045, State: "28000", Message: fmt.Sprintf("ProxySQL Admin Error: Unknown thread id: %d", id)}
		}
		return okResult, nil
	}
	return nil, nil
}

func (a *admin) control(command string) (*result, error) {
	switch command {
	case "PAUSE":
		a.server.pause()
	case "RESUME":
		return okResult, a.server.resume()
	case "START":
		return okResult, a.server.startRouting()
	case "STOP":
		a.server.stopRouting()
	case "SHUTDOWN", "SHUTDOWN SLOW", "KILL":
		a.server.finish()
	case "FLUSH LOGS":
	default:
		return nil, nil // SQLite will say what it thinks of it
	}
	return okResult, nil
}

// assignment turns SET into an update of the memory layer; an unknown variable is told in an OK.
func (a *admin) assignment(ctx context.Context, text string) (string, *result) {
	name, value, _ := strings.Cut(text, "=")
	name = strings.TrimSpace(name)
	found, err := a.store.query(ctx, "SELECT 1 FROM global_variables WHERE variable_name="+quote(name))
	if err != nil || len(found.rows) == 0 {
		return "", &result{info: fmt.Sprintf("ERROR: Unknown global variable: '%s'.", name)}
	}
	return fmt.Sprintf("UPDATE global_variables SET variable_value=%s WHERE variable_name=%s", value, quote(name)), nil
}

// collapse trims a text, and makes one blank of each run of blanks, as the matching of commands expects it.
func collapse(text string) string {
	return strings.TrimRight(strings.Join(strings.Fields(text), " "), "; ")
}

func hasPrefixFold(text, prefix string) bool {
	return len(text) >= len(prefix) && strings.EqualFold(text[:len(prefix)], prefix)
}
