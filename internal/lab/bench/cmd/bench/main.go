// Command bench measures what clients see of Remora; `make bench` runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/bench"
)

func main() {
	os.Exit(run())
}

func run() int {
	what := flag.String("what", "", "names of measurements, separated by commas; all by default")
	n := flag.Int("n", 0, "how often each is played; 0 for its own number")
	flavors := flag.String("flavor", "", "mariadb, mysql or both, separated by commas; what REMORA_FLAVOR names by default, else mariadb")
	out := flag.String("out", "bench-report", "where the report is written, as .json and .svg")
	standIn := flag.Bool("stand-in", false, "use the stand-in even where a ProxySQL is found")
	list := flag.Bool("list", false, "list the measurements")
	verbose := flag.Bool("v", false, "tell of every process")
	flag.Parse()
	if *list {
		for _, m := range bench.Measurements() {
			fmt.Printf("%-20s %3d times  %s\n", m.Name, m.Times, m.About)
		}
		return 0
	}
	opts := bench.Options{N: *n, StandIn: *standIn, Out: os.Stdout, Name: *out}
	var err error
	if opts.What, err = bench.Select(words(*what)); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		return 2
	}
	for _, f := range words(*flavors) {
		opts.Flavors = append(opts.Flavors, lab.Flavor(f))
	}
	if *verbose {
		opts.Logf = func(format string, args ...any) {
			fmt.Printf("%s "+format+"\n", append([]any{time.Now().Format("15:04:05.000")}, args...)...)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	report, err := bench.Play(ctx, opts)
	fmt.Printf("Report: %s.json, %s.svg\n", *out, *out)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "bench: interrupted; everything it started has ended")
		return 130
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		return 1
	case !report.Kept():
		return 1
	default:
		return 0
	}
}

func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
