package mysql

import "github.com/remora-ha/remora/internal/gtid"

// mysql80 is MySQL 8.0, in the words that all its releases know.
type mysql80 struct{ oracle }

var parts80 = oracleParts("SHOW SLAVE STATUS", "SHOW SLAVE HOSTS")

func (mysql80) parts() []part { return parts80 }

func (d mysql80) parse(results map[string]result) (*reading, error) {
	return d.parseAs(oldNames, results)
}

func (mysql80) stop(c string) statement { return plain("STOP SLAVE%s", oracleChannelName(c)) }

func (mysql80) stopReceiver(c string) statement {
	return plain("STOP SLAVE IO_THREAD%s", oracleChannelName(c))
}

func (mysql80) start(c string) statement { return plain("START SLAVE%s", oracleChannelName(c)) }

func (mysql80) startApplier(c string) statement {
	return plain("START SLAVE SQL_THREAD%s", oracleChannelName(c))
}

func (mysql80) forget(c string) statement { return plain("RESET SLAVE ALL%s", oracleChannelName(c)) }

func (mysql80) restart(position gtid.Set) []statement {
	return oracleRestart("RESET MASTER", position)
}

func (d mysql80) point(p pointing) statement {
	return d.pointAs("CHANGE MASTER", "MASTER", sourceRetries, p)
}

func (mysql80) logEnd() string { return "SHOW MASTER STATUS" }

func (mysql80) sleepingEvents() string { return sleepingEventsQuery("SLAVESIDE_DISABLED") }
