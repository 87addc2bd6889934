package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/remora-ha/remora/api"
)

// app is one run of the command line. What it takes from the machine is in its
// fields, so that a test gives other ones.
type app struct {
	in        io.Reader
	out, err  io.Writer
	getenv    func(string) string
	color     bool // stdout is a terminal that shows colors
	live      bool // stdout is a terminal: --watch redraws
	asks      bool // stdin and stderr are terminals: questions get an answer
	zone      *time.Location
	newID     func() string
	transport http.RoundTripper
	user      func() string

	flags flags
}

// flags are those that every command takes.
type flags struct {
	nodes     []string
	config    string
	tokenFile string
	timeout   time.Duration
	json      bool
}

func newApp() *app {
	live := term.IsTerminal(int(os.Stdout.Fd()))
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // a sidecar is spoken to directly, not through a web proxy
	return &app{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv,
		live:  live,
		color: live && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		asks:  term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())),
		zone:  time.Local, newID: rand.Text, transport: transport, user: osUser,
	}
}

// osUser names who asks: under sudo, who called it.
func osUser() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if by := os.Getenv("SUDO_USER"); by != "" && by != name {
		name += " (sudo by " + by + ")"
	}
	if name == "" {
		return "unknown"
	}
	return name
}

// run executes the command line and returns its exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	a.report(err)
	return codeOf(err)
}

// report says an error: the sentence on stderr, and with --json a refusal on
// stdout as well, for machines.
func (a *app) report(err error) {
	if err == nil {
		return
	}
	p := a.page()
	p.color = p.color && a.asks // stderr has to be a terminal too
	viewError(p, err)
	_, _ = io.WriteString(a.err, p.b.String())
	if refused := isRefusal(err); refused != nil && a.flags.json {
		_ = a.printJSON(refused.ErrorReply) // without a stdout, stderr has said it
	}
}

// viewError shows an error: the sentence, what belongs to it, and a refusal's
// reasons.
func viewError(p *page, err error) {
	text := err.Error()
	if text == "" {
		return
	}
	head, rest, _ := strings.Cut(text, "\n")
	p.row(0, cell{"remora:", bad}, cell{head, plain})
	for line := range strings.SplitSeq(rest, "\n") {
		if line != "" {
			p.say(2, plain, "%s", line)
		}
	}
	if refused := isRefusal(err); refused != nil {
		viewChecks(p, refused.Checks)
		viewRefusals(p, 2, refused.Refusals)
	}
}

// isRefusal finds the refusal in an error, nil when it is another one.
func isRefusal(err error) *api.Error {
	var e *api.Error
	if errors.As(err, &e) && e.Status == http.StatusConflict {
		return e
	}
	return nil
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "remora",
		Short: "High availability for MySQL and MariaDB behind ProxySQL",
		Long: `Remora keeps replication clusters of MySQL and MariaDB writable behind ProxySQL.

One sidecar (remora run) rides along each ProxySQL. The other commands ask a
running sidecar, any of them: what only the leader can answer is passed on.`,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w\nsee `%s --help`", err, c.CommandPath())
	})
	f := root.PersistentFlags()
	f.StringArrayVar(&a.flags.nodes, "node", nil, "`HOST:PORT` of a sidecar's API; repeat it to name several, tried in order (default $REMORA_NODES, separated by commas; else the nodes of the configuration; else "+defaultNode+")")
	f.StringVar(&a.flags.config, "config", "", "configuration `FILE` (default $REMORA_CONFIG)")
	f.StringVar(&a.flags.tokenFile, "token-file", "", "`FILE` that holds the API token (default: $REMORA_TOKEN; else what the configuration says)")
	f.DurationVar(&a.flags.timeout, "timeout", defaultTimeout, "how long one node may take to answer")
	f.BoolVar(&a.flags.json, "json", false, "print JSON, for machines")
	root.AddCommand(
		a.runCommand(), a.configCommand(),
		a.statusCommand(), a.topologyCommand(), a.recoveriesCommand(), a.hooksCommand(), a.snapshotCommand(), a.analyzeCommand(),
		a.switchoverCommand(), a.failoverCommand(), a.ackCommand(), a.downtimeCommand(), a.forgetCommand(), a.rejoinCommand(), a.nodeCommand(), a.leaderCommand(),
		a.doctorCommand(), a.kvCommand(), a.renderCommand(), a.watchdogCommand(), a.versionCommand(), exitCodesTopic(),
	)
	return root
}

// takes demands exactly the named arguments; those in brackets may be left out.
func takes(names ...string) cobra.PositionalArgs {
	least := 0
	for _, n := range names {
		if !strings.HasPrefix(n, "[") {
			least++
		}
	}
	return func(c *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= len(names) {
			return nil
		}
		want := strings.Join(names, " ")
		if want == "" {
			want = "no argument"
		}
		return fmt.Errorf("%s takes %s, %d given\nusage: %s", c.CommandPath(), want, len(args), c.UseLine())
	}
}

// group is a command that only holds others.
func group(use, short string, members ...*cobra.Command) *cobra.Command {
	var names []string
	for _, m := range members {
		names = append(names, m.Name())
	}
	c := &cobra.Command{
		Use: use, Short: short,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q for %q; it has %s", args[0], c.CommandPath(), strings.Join(names, " and "))
			}
			return c.Help()
		},
	}
	c.AddCommand(members...)
	return c
}

// pause waits; it ends early with ctx, and says whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		// Where both are due at once there is no time for another attempt.
		deadline, bounded := ctx.Deadline()
		return !bounded || time.Now().Before(deadline)
	}
}

// over says whether ctx has ended.
func over(ctx context.Context) bool { return ctx.Err() != nil }

func (a *app) page() *page { return &page{color: a.color, zone: a.zone} }

// show writes what the view draws.
func (a *app) show(view func(*page)) error {
	p := a.page()
	view(p)
	_, err := io.WriteString(a.out, p.b.String())
	return err
}

func (a *app) printJSON(v any) error { return a.encodeJSON(v, "  ") }

func (a *app) encodeJSON(v any, indent string) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	return enc.Encode(v)
}

// give prints v for machines or for people, as was asked.
func (a *app) give(v any, view func(*page)) error {
	if a.flags.json {
		return a.printJSON(v)
	}
	return a.show(view)
}
