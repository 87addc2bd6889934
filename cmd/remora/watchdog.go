package main

import (
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/remora-ha/remora/sidecar"
)

func (a *app) watchdogCommand() *cobra.Command {
	var cfg sidecar.WatchdogConfig
	c := &cobra.Command{
		Use:   "watchdog --lease-file FILE --password-file FILE",
		Short: "Close the writers of a ProxySQL whose sidecar is dead or hangs",
		Long: `Reads the file that a sidecar writes with its lease (lease.file in its
configuration). While that is stale for longer than the grace, the writer
hostgroups that it names, and those given, are closed in ProxySQL. Nothing is ever
opened: the sidecar does that when it has a lease again.

With --config, which names the sidecar's configuration, its proxysql.when_hung is
climbed where ProxySQL's admin interface does not close them.

It needs nothing of its environment. It runs until SIGINT or SIGTERM; with --once
it looks one time, for ProxySQL's scheduler, and exits with 1 when the writers had
to be closed and could not be.`,
		Example: `  remora watchdog --lease-file /run/remora/lease --password-file /etc/remora/proxysql
  remora watchdog --once --lease-file=/run/remora/lease --password-file=/etc/remora/proxysql --hostgroup=10`,
		DisableFlagsInUseLine: true,
		Args:                  takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			log := slog.New(slog.NewTextHandler(a.err, nil))
			if c.Flags().Changed("config") { // it needs nothing of its environment
				file, err := readClientConfig(a.flags.config)
				if err != nil {
					return err
				}
				cfg.WhenHung = file.ProxySQL.WhenHung
			}
			return sidecar.Watchdog(c.Context(), cfg, log)
		},
	}
	fl := c.Flags()
	fl.StringVar(&cfg.LeaseFile, "lease-file", "", "the `FILE` that the sidecar writes")
	fl.StringVar(&cfg.Admin, "admin", "127.0.0.1:6032", "`HOST:PORT` of ProxySQL's admin interface")
	fl.StringVar(&cfg.User, "user", "admin", "`NAME` to log in with there")
	fl.StringVar(&cfg.Password.File, "password-file", "", "`FILE` that holds its password")
	fl.DurationVar(&cfg.Grace, "grace", 100*time.Millisecond, "how long the file may be stale")
	fl.DurationVar(&cfg.Interval, "interval", 100*time.Millisecond, "how often the file is looked at")
	fl.IntSliceVar(&cfg.Hostgroups, "hostgroup", nil, "writer hostgroup `N` to close also when the file cannot be read; may be repeated")
	fl.BoolVar(&cfg.Now, "now", false, "look one time, and close the writers though the lease holds: the sidecar has failed")
	fl.BoolVar(&cfg.Once, "once", false, "look one time")
	return c
}
