package mysql

import (
	"regexp"
	"slices"
	"strings"

	"github.com/remora-ha/remora/doctor"
)

// granted are an account's privileges: by what they hold for, `*.*` or an object.
type granted map[string][]string

var (
	grantLine = regexp.MustCompile(`^GRANT (.+?) ON (?:TABLE )?(\S+) TO `)
	columns   = regexp.MustCompile(`\([^)]*\)`)
)

// parseGrants reads SHOW GRANTS. Only the privileges and what they hold for are kept:
// a line may hold the hash of a password.
func parseGrants(lines result) granted {
	g := granted{}
	for _, line := range lines {
		for _, text := range line { // one column, named after the account
			if m := grantLine.FindStringSubmatch(text); m != nil {
				on := strings.ReplaceAll(m[2], "`", "")
				for p := range strings.SplitSeq(columns.ReplaceAllString(m[1], ""), ",") {
					g[on] = append(g[on], strings.ToUpper(strings.TrimSpace(p)))
				}
			}
		}
	}
	return g
}

// has says whether a privilege is held for everything.
func (g granted) has(privilege string) bool { return g.holds("*.*", privilege) }

// on says whether a privilege is held for a table.
func (g granted) on(schema, table, privilege string) bool {
	return g.has(privilege) || g.holds(schema+".*", privilege) || g.holds(schema+"."+table, privilege)
}

func (g granted) holds(object, privilege string) bool {
	return slices.Contains(g[object], privilege) || slices.Contains(g[object], "ALL PRIVILEGES")
}

// broader are privileges that hold what another one does.
var broader = map[string]string{
	// MySQL: what SUPER was split into.
	"REPLICATION_SLAVE_ADMIN": "SUPER", "SYSTEM_VARIABLES_ADMIN": "SUPER", "CONNECTION_ADMIN": "SUPER", "SET_USER_ID": "SUPER",
	// MariaDB before 10.11, where READ_ONLY ADMIN is part of SUPER.
	"READ_ONLY ADMIN": "SUPER",
	// MariaDB before 10.5.9, which has no SLAVE MONITOR; later ones spell it both ways.
	"SLAVE MONITOR": "REPLICA MONITOR", "BINLOG MONITOR": "REPLICATION CLIENT",
}

// lacking are those of a list that are not held for everything.
func (g granted) lacking(privileges []string) []string {
	var list []string
	for _, p := range privileges {
		if !g.has(p) && (broader[p] == "" || !g.has(broader[p])) {
			list = append(list, p)
		}
	}
	return list
}

// account says what Remora's account lacks, by use, and the statement that gives it.
func (g granted) account(me string, r *reading) doctor.Account {
	user, host := me, "%"
	if i := strings.LastIndexByte(me, '@'); i >= 0 {
		user, host = me[:i], me[i+1:]
	}
	a := doctor.Account{Host: host, Missing: map[doctor.Use][]string{}, Grant: map[doctor.Use]string{}}
	need := map[doctor.Use][]string{
		doctor.UseAlways: mariadbPrivileges, doctor.UseRescue: mariadbRescue, doctor.UseEvents: mariadbEvents, doctor.UsePositions: mariadbPositions,
	}
	if !r.mariadb() {
		always, events := oraclePrivileges, oracleEvents
		if r.release() < 80016 {
			always = slices.DeleteFunc(slices.Clone(always), func(p string) bool { return p == "SYSTEM_USER" })
		}
		if r.release() < 80200 {
			events = oracleEventsBefore82
		}
		need = map[doctor.Use][]string{doctor.UseAlways: always, doctor.UseRescue: oracleRescue, doctor.UseClone: oracleClone, doctor.UseEvents: events}
	}
	for use, privileges := range need {
		if lacks := g.lacking(privileges); len(lacks) > 0 {
			a.Missing[use] = lacks
			a.Grant[use] = "GRANT " + strings.Join(lacks, ", ") + " ON *.* TO " + accountName(user, host)
		}
	}
	if r.mariadb() {
		return a
	}
	for _, table := range oracleTables {
		if !g.on("performance_schema", table, "SELECT") {
			object := "performance_schema." + table
			a.Missing[doctor.UseAlways] = append(a.Missing[doctor.UseAlways], "SELECT on "+object)
			statement := "GRANT SELECT ON " + object + " TO " + accountName(user, host)
			a.Grant[doctor.UseAlways] = strings.TrimPrefix(a.Grant[doctor.UseAlways]+"; "+statement, "; ")
		}
	}
	return a
}
