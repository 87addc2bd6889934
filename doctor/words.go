package doctor

import "fmt"

// What mends a server is said in words that its release knows: MySQL renamed most of them
// within 8.0, and one that a server does not know keeps it, in its option file, from starting.

// since says that a server of MySQL's is of a release or a later one.
func (s *Server) since(release string) bool { return !older(s.State.Version, release) }

// spelled is the old word, which MariaDB knows too, or the one that MySQL has since 8.0.26.
func (s *Server) spelled(old, renamed string) string {
	if s.mariadb() || !s.since("8.0.26") {
		return old
	}
	return renamed
}

// sideDisabled is what an event is disabled on, so that it runs on the primary alone.
func (s *Server) sideDisabled() string {
	if s.mariadb() || !s.since("8.2.0") {
		return "SLAVE"
	}
	return "REPLICA"
}

// change is the statement that gives a channel another option; it stops both threads
// for a moment, which not every option needs.
func (s *Server) change(option, value, channel string) string {
	switch {
	case s.mariadb():
		name := ""
		if channel != "" {
			name = " '" + channel + "'"
		}
		return fmt.Sprintf("STOP SLAVE%[1]s; CHANGE MASTER%[1]s TO MASTER_%[2]s = %[3]s; START SLAVE%[1]s", name, option, value)
	case s.since("8.2.0"):
		return fmt.Sprintf("STOP REPLICA FOR CHANNEL '%[1]s'; CHANGE REPLICATION SOURCE TO SOURCE_%[2]s = %[3]s FOR CHANNEL '%[1]s'; START REPLICA FOR CHANNEL '%[1]s'", channel, option, value)
	default:
		word := "MASTER_"
		if option == autoFailover {
			word = "SOURCE_" // it is younger than the new words
		}
		return fmt.Sprintf("STOP SLAVE FOR CHANNEL '%[1]s'; CHANGE MASTER TO %[4]s%[2]s = %[3]s FOR CHANNEL '%[1]s'; START SLAVE FOR CHANNEL '%[1]s'", channel, option, value, word)
	}
}

// autoFailover is the option by which a replica changes its source by itself.
const autoFailover = "CONNECTION_AUTO_FAILOVER"

// installSemiSync is the statement that installs the plugin for one side: "source" or
// "replica".
func (s *Server) installSemiSync(side string) string {
	if !s.since("8.0.26") {
		side = map[string]string{"source": "master", "replica": "slave"}[side]
	}
	return fmt.Sprintf("INSTALL PLUGIN rpl_semi_sync_%[1]s SONAME 'semisync_%[1]s.so'", side)
}
