package doctor

import (
	"strings"
	"time"

	"github.com/remora-ha/remora/failover"
)

// spareConnections are what Remora opens on a server beside one for each sidecar,
// for acts and for this examination.
const spareConnections = 4

// accountChecks are about log-ins, rights and encryption.
var accountChecks = []Check{
	{
		Name: "privileges",
		Why:  "What the account may not do fails in the middle of a failover, or is not seen at all.",
		look: servers(func(c *Cluster, s *Server, add adder) {
			lacks := func(use Use, severity Severity, what string) {
				if list := s.Account.Missing[use]; len(list) > 0 {
					add(severity, s.Account.Grant[use], "Remora's account lacks %s%s", strings.Join(list, ", "), what)
				}
			}
			lacks(UseAlways, Error, "")
			if c.Policy.Repair.SaveExtra {
				lacks(UseRescue, Warning, ", to save what the primary lacks (repair.save_extra)")
			}
			if c.byPosition() {
				lacks(UsePositions, Error, ", to fail over without GTID")
			}
			if c.Want.Events {
				lacks(UseEvents, Warning, ", to enable events on a promotion (mysql.enable_events)")
			}
			if c.Policy.Rejoin == failover.RejoinClone && c.Policy.Clone.Command == "" && !s.mariadb() {
				lacks(UseClone, Warning, ", to clone a server (rejoin: clone)")
			}
		}),
	},
	{
		Name: "replication_account",
		Why:  "Without it no server can replicate from this one once it is the primary.",
		look: servers(func(_ *Cluster, s *Server, add adder) {
			if s.Replication == nil {
				return
			}
			if len(s.Replication) == 0 {
				add(Error, "CREATE USER and GRANT REPLICATION SLAVE, as docs/privileges.md says, on the primary", "mysql.replication_user does not exist there")
			}
			for _, a := range s.Replication {
				if list := a.Missing[UseReplicate]; len(list) > 0 {
					add(Error, a.Grant[UseReplicate], "the replication account of host %s lacks %s", a.Host, strings.Join(list, ", "))
				}
			}
		}),
	},
	{
		Name: "account_limits",
		Why:  "Each sidecar keeps one connection to each server, and a failover needs a few more at once.",
		look: servers(func(c *Cluster, s *Server, add adder) {
			if need := c.Want.Sidecars + spareConnections; s.Account.Limit > 0 && s.Account.Limit < need {
				add(Error, "ALTER USER … WITH MAX_USER_CONNECTIONS 0", "max_user_connections of Remora's account is %d, and it needs up to %d", s.Account.Limit, need)
			}
		}),
	},
	{
		Name: "tls",
		Why:  "Passwords and data cross the network in clear, or a certificate that ends stops replication everywhere at once.",
		look: func(f *Facts) []hit {
			return servers(func(c *Cluster, s *Server, add adder) {
				if c.Want.TLS == "preferred" && s.Cipher == "" {
					add(Advice, "ssl_cert and ssl_key in the option file", "Remora's connection is not encrypted, as the server offers no TLS")
				}
				for _, ch := range s.Channels {
					if c.Want.ReplicationTLS && !ch.TLS {
						add(Warning, s.change("SSL", "1", ch.Name), "%sit replicates without TLS, and mysql.replication_tls is on", of(ch.Name))
					}
					if !c.Want.ReplicationTLS && ch.TLS {
						add(Warning, "mysql.replication_tls: on in Remora's configuration", "%sit replicates with TLS, and mysql.replication_tls is off: a server that was primary comes back without", of(ch.Name))
					}
				}
				if end := s.CertificateUntil; !end.IsZero() && s.Cipher != "" && end.Sub(f.Taken) < certificateSoon {
					add(Warning, "a new certificate, then ALTER INSTANCE RELOAD TLS (MariaDB: FLUSH SSL)", "its certificate ends on %s", end.UTC().Format(time.DateOnly))
				}
			})(f)
		},
	},
}
