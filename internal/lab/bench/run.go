package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/remora-ha/remora/internal/lab"
)

// Options say what is measured.
type Options struct {
	What    []Measurement
	N       int          // how often each is played; 0 for its own number
	Flavors []lab.Flavor // of the database servers; none for the default one
	StandIn bool         // take the stand-in also where a ProxySQL is found
	Out     io.Writer    // where progress is told
	Name    string       // of the files that the report is written to, without .json and .svg
	Logf    func(format string, args ...any)
}

// Run is one measurement that is being played.
type Run struct {
	*Result
	N       int
	Flavor  lab.Flavor
	StandIn bool

	opts Options
}

// Say tells of the progress.
func (r *Run) Say(format string, args ...any) {
	fmt.Fprintf(r.opts.Out, time.Now().Format("15:04:05")+" "+r.Name+": "+format+"\n", args...)
}

// Play plays measurements one after the other. The report is written after each, so that it is there whatever comes; one that
// fails does not keep the next from being played. An error says that ctx has ended, or that no report could be written.
func Play(ctx context.Context, opts Options) (*Report, error) {
	report := &Report{Machine: machine(), Began: time.Now()}
	if len(opts.Flavors) == 0 {
		opts.Flavors = []lab.Flavor{lab.DefaultFlavor()}
	}
	for i, flavor := range opts.Flavors {
		for _, m := range opts.What {
			if m.NoServers && i > 0 {
				continue
			}
			if ctx.Err() != nil {
				return report, context.Cause(ctx)
			}
			report.Results = append(report.Results, playOne(ctx, opts, m, flavor))
			report.Ended = time.Now()
			if err := report.Write(opts.Name); err != nil {
				return report, err
			}
		}
	}
	return report, nil
}

func playOne(ctx context.Context, opts Options, m Measurement, flavor lab.Flavor) *Result {
	run := &Run{
		Result: &Result{Name: m.Name, About: m.About, Began: time.Now(), Load: loadAverage()},
		N:      m.Times, Flavor: flavor, StandIn: opts.StandIn, opts: opts,
	}
	if opts.N > 0 {
		run.N = opts.N
	}
	err := m.Run(ctx, run)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if err != nil {
		run.Error = err.Error()
	}
	run.end()
	fmt.Fprintln(opts.Out, run.Result)
	return run.Result
}

// InLab runs something in a lab of its own.
func (r *Run) InLab(ctx context.Context, do func(context.Context, *lab.Lab) error) (err error) {
	l, err := lab.New(ctx, lab.Options{Logf: r.opts.Logf})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return do(ctx, l)
}
