package main

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/remora-ha/remora/templates"
)

// renderFlags are those of `remora render`.
type renderFlags struct {
	cfg           templates.Config
	permissions   string
	check, reload string
	once, dryRun  bool
	wait          time.Duration
}

func (a *app) renderCommand() *cobra.Command {
	var f renderFlags
	c := &cobra.Command{
		Use:   "render --template SOURCE --destination FILE",
		Short: "Render a file from Consul with consul-template, and reload its reader",
		Long: `Renders a file from Consul's KV, where Remora publishes the routes, and keeps
doing so until SIGINT or SIGTERM. A new file is checked before it replaces the old
one; whatever fails, the old one stays and the next try comes.

The shipped templates are ` + templates.HAProxy + ` and
` + templates.ProxySQL + `. The token is read from --consul-token-file or from
CONSUL_HTTP_TOKEN. Commands are run by /bin/sh; $REMORA_FILE is the file's path.`,
		Example: `  remora render --template embedded:haproxy.cfg.ctmpl --destination /etc/haproxy/haproxy.cfg \
    --check 'haproxy -c -f "$REMORA_FILE"' --reload 'systemctl reload haproxy' \
    --haproxy-socket /run/haproxy-master.sock
  remora render --template my.ctmpl --destination my.cfg --dry-run`,
		DisableFlagsInUseLine: true,
		Args:                  takes(),
		RunE:                  func(c *cobra.Command, _ []string) error { return a.render(c, &f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.cfg.Source, "template", "", "the template: a `FILE`, or a shipped one")
	fl.StringVar(&f.cfg.Destination, "destination", "", "the `FILE` to write")
	fl.StringVar(&f.permissions, "permissions", "", "of the file, in octal `DIGITS` (default: as they are, else 0644)")
	fl.StringVar(&f.check, "check", "", "`COMMAND` that checks a new file, $REMORA_FILE, before it replaces the old one")
	fl.StringVar(&f.reload, "reload", "", "`COMMAND` that is run when the file was replaced")
	fl.DurationVar(&f.cfg.CheckTimeout, "check-timeout", templates.DefaultCommandTimeout, "how long the check may take")
	fl.DurationVar(&f.cfg.ReloadTimeout, "reload-timeout", templates.DefaultCommandTimeout, "how long the reload may take")
	fl.StringVar(&f.cfg.Prefix, "prefix", templates.DefaultPrefix, "`KEY` in Consul under which the clusters are")
	fl.StringToStringVar(&f.cfg.Env, "env", nil, "`NAME=VALUE` that the template sees in its environment; may be repeated")
	fl.StringVar(&f.cfg.Socket, "haproxy-socket", "", "HAProxy's socket, `PATH` of its master's or of its stats: a switch goes through it first")
	fl.StringVar(&f.cfg.Consul.Address, "consul", "", "`HOST:PORT` of Consul (default $CONSUL_HTTP_ADDR; else 127.0.0.1:8500)")
	fl.StringVar(&f.cfg.Consul.TokenFile, "consul-token-file", "", "`FILE` that holds Consul's token")
	fl.BoolVar(&f.cfg.Consul.TLS.Enabled, "consul-tls", false, "speak TLS with Consul")
	fl.StringVar(&f.cfg.Consul.TLS.CAFile, "consul-ca", "", "`FILE` of the authorities that Consul's certificate is checked against")
	fl.StringVar(&f.cfg.Consul.TLS.CertFile, "consul-cert", "", "`FILE` of the client's certificate")
	fl.StringVar(&f.cfg.Consul.TLS.KeyFile, "consul-key", "", "`FILE` of its key")
	fl.BoolVar(&f.once, "once", false, "render one time, and fail when that fails")
	fl.BoolVar(&f.dryRun, "dry-run", false, "render one time to standard output and check it; change nothing")
	fl.DurationVar(&f.wait, "wait", 10*time.Second, "with --once or --dry-run: how long to wait for Consul")
	return c
}

func (a *app) render(c *cobra.Command, f *renderFlags) error {
	if f.permissions != "" {
		mode, err := strconv.ParseUint(f.permissions, 8, 32)
		if err != nil {
			return fmt.Errorf("--permissions %q: give octal digits such as 0640", f.permissions)
		}
		f.cfg.Permissions = fs.FileMode(mode)
	}
	f.cfg.Check, f.cfg.Reload = shell(f.check), shell(f.reload)
	t := &f.cfg.Consul.TLS
	t.Enabled = t.Enabled || t.CAFile != "" || t.CertFile != ""
	f.cfg.Consul.Address = cmp.Or(f.cfg.Consul.Address, os.Getenv("CONSUL_HTTP_ADDR"))
	if f.cfg.Consul.TokenFile == "" {
		f.cfg.Consul.Token = os.Getenv("CONSUL_HTTP_TOKEN")
	}
	if f.once || f.dryRun {
		return a.renderOnce(c, f)
	}
	f.cfg.Log = slog.New(slog.NewTextHandler(a.err, nil))
	return templates.Render(c.Context(), f.cfg, false, false, nil)
}

func (a *app) renderOnce(c *cobra.Command, f *renderFlags) error {
	ctx, cancel := context.WithTimeout(c.Context(), f.wait)
	defer cancel()
	if err := templates.Render(ctx, f.cfg, true, f.dryRun, a.out); err != nil {
		return fmt.Errorf("rendering %w", err)
	}
	return nil
}

// shell makes a command line one for /bin/sh; none of an empty one.
func shell(command string) []string {
	if command == "" {
		return nil
	}
	return []string{"/bin/sh", "-c", command}
}
