package world

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/remora-ha/remora/sidecar"
	"github.com/remora-ha/remora/topology"
)

// prober reads one server for one sidecar, as mysql.Prober does: a kept
// connection that breaks is told at once, failures are counted, and the silence
// of a source is the time since this prober saw something come from it.
type prober struct {
	p       *process
	server  *server
	onBreak func()

	failures int
	state    *topology.State
	stateAt  time.Time
	source   topology.Addr
	pulse    int
	pulseAt  time.Time
}

func (p *process) prober(_ string, addr topology.Addr, onBreak func()) sidecar.Prober {
	return &prober{p: p, server: p.node.w.server(addr), onBreak: onBreak}
}

// Probe implements sidecar.Prober.
func (x *prober) Probe(ctx context.Context) topology.View { return x.look(ctx, false) }

// Ping implements sidecar.Prober.
func (x *prober) Ping(ctx context.Context) topology.View { return x.look(ctx, true) }

// Hail implements sidecar.Prober: somebody waits for each sign of life.
func (x *prober) Hail() bool { return false }

// Heard implements sidecar.Prober.
func (x *prober) Heard() (time.Time, bool) { return time.Time{}, false }

// look reads the server, or only asks whether it answers: a kept connection tells that also where readings fail.
func (x *prober) look(ctx context.Context, light bool) topology.View {
	began := time.Now()
	v := topology.View{Observer: x.p.node.name, Instance: x.server.addr}
	st, reach, err := x.read(ctx, light)
	v.At, v.Reach = time.Now(), reach
	v.Took = topology.Duration(v.At.Sub(began))
	if err != nil {
		v.Error = err.Error()
	}
	if st != nil {
		x.state, x.stateAt = st, v.At
	}
	switch {
	case v.Alive():
		x.failures = 0
	case reach != topology.Unknown:
		x.failures++
	}
	v.Failures, v.State, v.StateAt = x.failures, x.state, x.stateAt
	return v
}

// read has no state where a sign of life did.
func (x *prober) read(ctx context.Context, light bool) (*topology.State, topology.Reach, error) {
	w, s, host := x.p.node.w, x.server, x.p.node.host
	if err := x.p.enter(ctx); err != nil {
		return nil, unreached(err), err
	}
	if err := w.net.pass(ctx, host, s.host, SQLPort); err != nil {
		return nil, unreached(err), err
	}
	w.mu.Lock()
	var st *topology.State
	up, fault := s.up, s.fault
	light = light && up && s.probers[x] && fault != answersNonsense
	if up && fault == "" && !light {
		st = s.state()
		x.listen(st)
		s.probers[x] = true
	}
	w.mu.Unlock()
	if err := w.net.pass(ctx, s.host, host, SQLPort); err != nil {
		return nil, unreached(err), err
	}
	switch {
	case light:
		return nil, topology.Answered, nil
	case !up:
		return nil, topology.Refused, errRefused
	case fault == answersNonsense:
		return nil, topology.Garbled, errors.New("what answers is not a server")
	case fault == refusesLogins:
		return nil, topology.Denied, errors.New("1040: too many connections")
	case st == nil: // it answers, and what it says cannot be had
		return nil, topology.Denied, fmt.Errorf("the server %s", fault)
	}
	return st, topology.Answered, nil
}

// unreached tells a time-out from a probe that was given up.
func unreached(err error) topology.Reach {
	if errors.Is(err, context.DeadlineExceeded) {
		return topology.TimedOut
	}
	return topology.Unknown
}

// listen fills the silence of the source.
func (x *prober) listen(st *topology.State) {
	if len(st.Sources) == 0 {
		x.source = ""
		return
	}
	src, now := &st.Sources[0], time.Now()
	known := x.source == src.Addr
	if !known || x.pulse != x.server.pulse {
		x.source, x.pulse, x.pulseAt = src.Addr, x.server.pulse, now
	}
	if known {
		silence := topology.Duration(now.Sub(x.pulseAt))
		src.Silence = &silence
	}
}

// broke tells that the kept connection ended; the caller holds the mutex.
func (x *prober) broke() {
	w := x.p.node.w
	w.running.Go(func() {
		if w.net.pass(x.p.ctx, x.server.host, x.p.node.host, SQLPort) == nil && x.p.enter(x.p.ctx) == nil {
			x.onBreak()
		}
	})
}

// Close implements sidecar.Prober.
func (x *prober) Close() {
	x.p.node.w.mu.Lock()
	defer x.p.node.w.mu.Unlock()
	delete(x.server.probers, x)
}
