package mysql

import "github.com/remora-ha/remora/internal/gtid"

// mysql84 is MySQL 8.4 and 9.x (and the innovation releases between), where the
// old words are gone.
type mysql84 struct{ oracle }

var parts84 = oracleParts("SHOW REPLICA STATUS", "SHOW REPLICAS")

func (mysql84) parts() []part { return parts84 }

func (d mysql84) parse(results map[string]result) (*reading, error) {
	return d.parseAs(newNames, results)
}

func (mysql84) stop(c string) statement { return plain("STOP REPLICA%s", oracleChannelName(c)) }

func (mysql84) stopReceiver(c string) statement {
	return plain("STOP REPLICA IO_THREAD%s", oracleChannelName(c))
}

func (mysql84) start(c string) statement { return plain("START REPLICA%s", oracleChannelName(c)) }

func (mysql84) startApplier(c string) statement {
	return plain("START REPLICA SQL_THREAD%s", oracleChannelName(c))
}

func (mysql84) forget(c string) statement { return plain("RESET REPLICA ALL%s", oracleChannelName(c)) }

func (mysql84) restart(position gtid.Set) []statement {
	return oracleRestart("RESET BINARY LOGS AND GTIDS", position)
}

func (d mysql84) point(p pointing) statement {
	return d.pointAs("CHANGE REPLICATION SOURCE", "SOURCE", sourceRetries, p)
}

func (mysql84) logEnd() string { return "SHOW BINARY LOG STATUS" }

// sleepingEvents: the word became REPLICA_SIDE_DISABLED within the series.
func (mysql84) sleepingEvents() string {
	return "SELECT EVENT_SCHEMA AS db, EVENT_NAME AS name, DEFINER AS definer FROM information_schema.EVENTS" +
		" WHERE STATUS IN ('REPLICA_SIDE_DISABLED','SLAVESIDE_DISABLED')"
}
