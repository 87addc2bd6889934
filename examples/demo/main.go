// Command demo shows Remora's main job on real servers: three sidecars keep a
// MariaDB or MySQL cluster writable through three proxies, first in a planned switchover,
// then when the primary is killed, then when it comes back. It measures what the
// clients see, writes demo-report.json, and fails when a promise was broken.
//
// With a terminal it then stays up for you to try things, until Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

func main() {
	report := flag.String("report", "demo-report.json", "where the measurements are written")
	writers := flag.Int("writers", 9, "writing clients, spread over the proxies")
	standIn := flag.Bool("stand-in", false, "use the stand-in even where a ProxySQL is found")
	stay := flag.Bool("stay", term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())), "stay up at the end, until Ctrl-C")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	d := &demo{out: newOutput(os.Stdout), report: *report, writers: *writers, standIn: *standIn, stay: *stay}
	err := d.run(ctx)
	stop()
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "demo: interrupted; everything it started has ended")
		os.Exit(130)
	case err != nil:
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

type demo struct {
	out     *output
	report  string
	writers int
	standIn bool
	stay    bool

	fleet   *fleet.Fleet
	load    *lab.Load
	haproxy *lab.Load // writes through the HAProxys; nil without Consul
	steps   []step
}

func (d *demo) run(ctx context.Context) (err error) {
	if err := lab.Install(ctx, os.Stdout); err != nil {
		return err
	}
	_, noConsul := lab.ConsulBinary(ctx, os.Stdout)
	if noConsul != nil {
		d.out.say("Without Consul and HAProxy: %v", noConsul)
	}
	d.out.say("Starting 3 %s servers, 3 proxies, 3 sidecars, Consul and 3 HAProxys (the first time the programs are built, which takes a minute) …", lab.DefaultFlavor())
	l, err := lab.New(ctx, lab.Options{})
	if err != nil {
		return err
	}
	defer func() {
		d.out.endLive()
		err = errors.Join(err, l.Close())
	}()
	bounded, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	began := time.Now()
	d.fleet, err = fleet.Start(bounded, l, fleet.Options{
		Topology: lab.Spec{Server: lab.ServerOptions{SemiSync: true, DropUnacked: true, Appliers: 4}}, StandIn: d.standIn, Policy: "anti_flap: 0s",
		HAProxy: noConsul == nil,
	})
	if err != nil {
		return interrupted(ctx, err)
	}
	flavor, err := flavor(bounded, d.fleet)
	if err != nil {
		return err
	}
	d.out.say("All is up after %s: %s; proxies: %s.", time.Since(began).Round(time.Millisecond), flavor, describe(d.fleet.ProxyKind()))
	d.out.fleet(d.fleet)

	if d.load, err = l.Load(bounded, lab.LoadOptions{Addrs: d.fleet.ClientAddrs(), Writers: d.writers, Pace: 5 * time.Millisecond}); err != nil {
		return interrupted(ctx, err)
	}
	if noConsul == nil {
		d.haproxy, err = l.Load(bounded, lab.LoadOptions{Addrs: d.fleet.HAProxyAddrs(), Writers: 3, Pace: 20 * time.Millisecond})
		if err != nil {
			return interrupted(ctx, err)
		}
	}
	d.out.live(ctx, d.load)
	if err := d.play(bounded); err != nil {
		return interrupted(ctx, err)
	}
	d.out.endLive()
	ok := d.out.summary(d.steps, d.fleet.ProxyKind())
	if err := writeReport(d.report, d.fleet.ProxyKind(), flavor, d.steps, ok); err != nil {
		return err
	}
	d.out.say("Measurements: %s", d.report)
	if d.stay {
		d.out.commands(d.fleet)
		d.out.live(ctx, d.load)
		<-ctx.Done()
		return nil
	}
	if !ok {
		return errors.New("a promise was broken; see the table above")
	}
	return nil
}

// interrupted prefers the user's Ctrl-C to the errors that it causes.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// play runs the three scenes.
func (d *demo) play(ctx context.Context) error {
	d.out.scene("1. A planned switchover, sent to the second sidecar:  remora switchover %s", fleet.Cluster)
	r, err := d.fleet.Switchover(ctx, d.load, 1, "")
	if err != nil {
		return err
	}
	if err := d.add(ctx, r, promise{pause: 2 * time.Second, noErrors: true}); err != nil {
		return err
	}

	d.out.scene("2. kill -9 of the primary, %s", r.To.Name)
	r, err = d.fleet.Blow(ctx, d.load, "kill", func(p *lab.Server) error { return p.Kill() }, nil)
	if err != nil {
		return err
	}
	if err := d.add(ctx, r, promise{pause: 2 * time.Second}); err != nil {
		return err
	}

	d.out.scene("3. %s comes back", r.From.Name)
	back := fleet.Planned("return", r.From, r.To)
	took, err := d.fleet.Return(ctx, r.From)
	if err != nil {
		return err
	}
	if back, err = back.Through(ctx, d.load); err != nil {
		return err
	}
	d.out.say("%s replicates from %s %s after its start.", r.From.Name, r.To.Name, took.Round(time.Millisecond))
	if r.From.Flavor() == lab.MySQL {
		d.out.say("MySQL keeps what it had written when it was killed, also what no replica got and no client was told of. Where there was such, the server was kept out, and then set up anew.")
	}
	return d.add(ctx, back, promise{pause: 2 * time.Second, noErrors: true})
}

// add judges a scene: what was acknowledged until now must be on the primary.
func (d *demo) add(ctx context.Context, r fleet.Result, p promise) error {
	primary, err := d.fleet.Primary(ctx)
	if err != nil {
		return err
	}
	v, err := d.load.Verify(ctx, primary.DB())
	if err != nil {
		return err
	}
	d.judge(newStep("proxysql", r, v, p))
	if d.haproxy == nil {
		return nil
	}
	if r, err = r.Through(ctx, d.haproxy); err != nil {
		return fmt.Errorf("through HAProxy: %w", err)
	}
	if v, err = d.haproxy.Verify(ctx, primary.DB()); err != nil {
		return err
	}
	// HAProxy holds no statement back: who writes during a switchover gets an error.
	p.noErrors, p.pause = false, p.pause+time.Second
	d.judge(newStep("haproxy", r, v, p))
	return nil
}

func (d *demo) judge(s step) {
	d.steps = append(d.steps, s)
	d.out.step(s)
}
