// Command scale measures what large fleets cost; `make bench WHAT=watch` and `make bench WHAT=rack` run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/scale"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run() error {
	var opts scale.Options
	what := flag.String("what", "watch,rack", "what to measure: watch, rack")
	out := flag.String("out", "bench-report", "where the report is written, as .json")
	verbose := flag.Bool("v", false, "tell of every process")
	flag.IntVar(&opts.Clusters, "clusters", 0, "replication clusters (3000; for rack 100)")
	flag.IntVar(&opts.Instances, "instances", 0, "instances of all clusters (10000; for rack 3 a cluster)")
	flag.IntVar(&opts.Sidecars, "sidecars", 0, "sidecars (5)")
	flag.DurationVar(&opts.Interval, "interval", 0, "between two probes of an instance (1s)")
	flag.DurationVar(&opts.Timeout, "timeout", 0, "of one probe (500ms)")
	flag.DurationVar(&opts.For, "for", 0, "how long the cost at rest is measured (30s)")
	flag.IntVar(&opts.Kills, "kills", 0, "deaths that are timed (20)")
	flag.BoolVar(&opts.Idle, "idle", false, "no cluster writes")
	flag.BoolVar(&opts.StandIn, "stand-in", false, "use the stand-in even where a ProxySQL is found")
	flag.StringVar(&opts.Policy, "policy", "", "YAML for the top level's policy")
	flag.StringVar(&opts.Binary, "binary", "", "the remora program; built when empty")
	flag.Parse()
	opts.Out = os.Stdout
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	var reports []*scale.Report
	for name := range strings.SplitSeq(*what, ",") {
		r, err := play(ctx, name, opts, *verbose)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Printf("\n%s\n", r)
		reports = append(reports, r)
	}
	file := *out + ".json"
	fmt.Println("Report:", file)
	return scale.Write(file, reports)
}

func play(ctx context.Context, name string, opts scale.Options, verbose bool) (r *scale.Report, err error) {
	measure, ok := map[string]func(context.Context, *lab.Lab, scale.Options) (*scale.Report, error){"watch": scale.Watch, "rack": scale.Rack}[name]
	if !ok {
		return nil, errors.New("no such measurement; it can be watch or rack")
	}
	var labOpts lab.Options
	if verbose {
		labOpts.Logf = func(format string, args ...any) {
			fmt.Printf("%s  "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
		}
	}
	l, err := lab.New(ctx, labOpts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return measure(ctx, l, opts)
}
