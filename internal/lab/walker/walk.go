package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/sidecar"
)

// How far into a step the process ends itself where it is to end "during" one: an
// act on a server takes some round trips, a commit about a millisecond.
const (
	intoAct    = 3 * time.Millisecond
	intoCommit = 500 * time.Microsecond
	// untilStopped is how long the kernel may take to stop all threads.
	untilStopped = 20 * time.Millisecond
)

// walk counts the steps of a recovery.
type walk struct {
	order string // the file

	mu     sync.Mutex
	armed  bool
	struck bool // the step to end at has begun; others may go on beside it
	steps  int
	at     int // the step to end at; 0: the one that is called name
	name   string
	moment string // "after", "during" or "before"
}

// watch puts itself between the sidecar and what it changes.
func (w *walk) watch(p *sidecar.Ports) {
	p.Consensus = commits{p.Consensus, w}
	for name, s := range p.Servers {
		p.Servers[name] = acts{s, w}
	}
}

// acts are the acts on servers.
type acts struct {
	sidecar.Servers
	walk *walk
}

// Do implements sidecar.Servers.
func (a acts) Do(ctx context.Context, step failover.Step) error {
	return a.walk.step(step.String(), intoAct, func() error { return a.Servers.Do(ctx, step) })
}

// commits are the commits of a recovery.
type commits struct {
	sidecar.Consensus
	walk *walk
}

// Apply implements sidecar.Consensus.
func (c commits) Apply(ctx context.Context, cmd ledger.Command) (res ledger.Result, err error) {
	what := ""
	switch {
	case cmd.Begin != nil:
		c.walk.begin()
		what = "begin"
	case cmd.Retarget != nil:
		what = "commit retarget"
	case cmd.Anchor != nil:
		what = "commit anchor"
	case cmd.Abort != nil:
		what = "commit abort"
	case cmd.CommitRoute != nil:
		what = "commit route"
	case cmd.Conclude != nil:
		what = "commit " + string(cmd.Conclude.Outcome)
	default:
		return c.Consensus.Apply(ctx, cmd)
	}
	err = c.walk.step(what, intoCommit, func() error {
		res, err = c.Consensus.Apply(ctx, cmd)
		return err
	})
	if cmd.Conclude != nil && err == nil {
		c.walk.end()
	}
	return res, err
}

// begin takes the order, if there is one.
func (w *walk) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	raw, err := os.ReadFile(w.order)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		w.moment, w.name, _ = strings.Cut(strings.TrimSpace(string(raw)), " ")
		w.at, _ = strconv.Atoi(w.name)
	}
	if err == nil {
		err = os.Remove(w.order)
	}
	if err != nil {
		panic(fmt.Sprintf("take the order: %v", err))
	}
	w.armed, w.struck, w.steps = true, false, 0
}

// step does one step, and ends the process where that was ordered.
func (w *walk) step(what string, into time.Duration, do func() error) error {
	w.mu.Lock()
	last, moment := false, w.moment
	if w.armed {
		w.steps++
		last = w.steps == w.at || what == w.name
		w.struck = w.struck || last
		w.note(what)
	}
	w.mu.Unlock()
	switch {
	case !last:
		return do()
	case moment == "before":
		w.note("stopped")
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		time.Sleep(untilStopped)
		err := do()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.note(fmt.Sprintf("awake: %v", err))
		w.armed = false // what it does from now on is no part of this recovery
		return err
	case moment == "during":
		go func() { _ = do() }()
		time.Sleep(into)
	default:
		_ = do()
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // nobody learns what came of it
}

// end notes that the recovery is over, and had no such step.
func (w *walk) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.armed && !w.struck {
		w.note("end")
		w.armed = false
	}
}

// note writes a line; what is written survives the process.
func (w *walk) note(line string) {
	f, err := os.OpenFile(w.order+".steps", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = fmt.Fprintln(f, line)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		panic(fmt.Sprintf("note a step: %v", err))
	}
}
