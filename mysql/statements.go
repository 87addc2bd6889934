package mysql

import (
	"fmt"
	"strings"
	"time"
)

// statementBuilder writes a statement together with the text that may be shown.
type statementBuilder struct{ sql, shown strings.Builder }

func (b *statementBuilder) add(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	b.sql.WriteString(s)
	b.shown.WriteString(s)
}

// secret adds a literal that is never shown.
func (b *statementBuilder) secret(before, value string) {
	b.sql.WriteString(before + quote(value))
	b.shown.WriteString(before + "***")
}

func (b *statementBuilder) statement() statement { return statement{b.sql.String(), b.shown.String()} }

func number(on bool) int {
	if on {
		return 1
	}
	return 0
}

// wholeSeconds rounds up, to at least one.
func wholeSeconds(d time.Duration) int {
	return max(1, int((d+time.Second-1)/time.Second))
}

// undoSettings make statements of a binary log's rows mean what was logged.
var undoSettings = []statement{
	plain("SET SESSION sql_log_bin=0"), plain("SET SESSION foreign_key_checks=0"), plain("SET SESSION time_zone='+00:00'"),
	plain("SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO'"), plain("SET NAMES utf8mb4"),
}

// sleepingEventsQuery lists events by the word that the server has for one that is
// off on a replica.
func sleepingEventsQuery(status string) string {
	return "SELECT EVENT_SCHEMA AS db, EVENT_NAME AS name, DEFINER AS definer FROM information_schema.EVENTS WHERE STATUS=" + quote(status)
}

// wakeEventStatement names the definer, or the event would run as Remora from then on.
func wakeEventStatement(db, name, definer string) statement {
	at := strings.LastIndex(definer, "@")
	if at < 0 {
		return plain("ALTER EVENT %s.%s ENABLE", quoteName(db), quoteName(name))
	}
	return plain("ALTER DEFINER=%s@%s EVENT %s.%s ENABLE",
		quoteName(definer[:at]), quoteName(definer[at+1:]), quoteName(db), quoteName(name))
}
