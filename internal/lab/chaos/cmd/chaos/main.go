// Command chaos plays faults against a whole installation and judges what was promised; `make chaos` runs it.
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
	"github.com/remora-ha/remora/internal/lab/chaos"
)

func main() {
	os.Exit(run())
}

func run() int {
	t := flag.Duration("t", 30*time.Minute, "how long faults are begun")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()%1e9), "of the order of the faults")
	only := flag.String("only", "", "names of faults to draw from, separated by commas; all by default")
	list := flag.Bool("list", false, "list the faults")
	writers := flag.Int("writers", 9, "writing clients, spread over the nodes")
	standIn := flag.Bool("stand-in", false, "use the stand-in even where a ProxySQL is found")
	async := flag.Bool("async", false, "replicate without semi-sync: what the promises are worth without it")
	report := flag.String("report", "chaos-report", "where the report is written, as .json and .svg")
	verbose := flag.Bool("v", false, "tell of every process")
	flag.Parse()
	if *list {
		for _, f := range chaos.Faults() {
			fmt.Printf("%-34s  %s\n", f[0], f[1])
		}
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	opts := chaos.Options{T: *t, Seed: *seed, Writers: *writers, StandIn: *standIn, Async: *async, Out: os.Stdout}
	for name := range strings.SplitSeq(*only, ",") {
		if name = strings.TrimSpace(name); name != "" {
			opts.Only = append(opts.Only, name)
		}
	}
	broken, err := play(ctx, opts, *report, *verbose)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "chaos: interrupted; everything it started has ended")
		return 130
	case err != nil:
		fmt.Fprintf(os.Stderr, "chaos: %v\n", err)
		return 1
	case broken:
		return 1
	default:
		return 0
	}
}

func play(ctx context.Context, opts chaos.Options, name string, verbose bool) (broken bool, err error) {
	labOpts := lab.Options{}
	if verbose {
		labOpts.Logf = func(format string, args ...any) {
			fmt.Printf("          %s "+format+"\n", append([]any{time.Now().Format("15:04:05.000")}, args...)...)
		}
	}
	l, err := lab.New(ctx, labOpts)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	report, err := chaos.Run(ctx, l, opts)
	if err != nil {
		return false, err
	}
	fmt.Printf("\n%s", report)
	if len(report.Broken) > 0 {
		if kept, err := keepLogs(l, name+"-logs"); err != nil {
			fmt.Fprintf(os.Stderr, "chaos: the logs could not be kept: %v\n", err)
		} else {
			fmt.Printf("The logs of all processes: %s\n", kept)
		}
	}
	files, err := report.Write(name)
	fmt.Println("Report:", strings.Join(files, ", "))
	return len(report.Broken) > 0, err
}

// keepLogs copies what the processes printed, as the lab's directory goes with it.
func keepLogs(l *lab.Lab, dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, p := range l.Processes() {
		text, err := os.ReadFile(p.LogFile())
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(dir+"/"+p.Name+".log", text, 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}
