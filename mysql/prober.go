package mysql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/remora-ha/remora/topology"
)

// Prober reads one instance over one kept connection. Probe may be called from
// several goroutines; the calls run one after the other.
type Prober struct {
	addr     topology.Addr
	observer string
	cfg      Config
	onBreak  func()
	now      func() time.Time

	life context.Context // ends with Close
	end  context.CancelFunc

	turn chan struct{} // holds the right to probe: what follows is guarded by it

	session  *session
	failures int
	state    *topology.State
	stateAt  time.Time
	silences silences
	hailedAt time.Time
}

// deniedRetry is how long a connection is kept that may not see everything: a new
// one may have got the privilege meanwhile.
const deniedRetry = time.Minute

// errClosed is what a probe after Close ends with.
var errClosed = errors.New("the prober is closed")

// NewProber makes a prober of an instance for the sidecar named observer. It
// connects at the first probe.
//
// onBreak is called, from a goroutine of its own, each time the kept connection
// ends without our doing: the server was killed, shut down, or cut us off. It comes
// within microseconds of the end, also between probes, and it must not block; nil
// for none. It tells when to probe again, never what the matter is. A server that
// cuts off every connection calls it after each probe: space the probes.
func NewProber(addr topology.Addr, cfg Config, observer string, onBreak func()) *Prober {
	if onBreak == nil {
		onBreak = func() {}
	}
	p := &Prober{
		addr: addr, observer: observer, cfg: cfg.withDefaults(), onBreak: onBreak, now: time.Now,
		turn: make(chan struct{}, 1), silences: silences{},
	}
	p.life, p.end = context.WithCancel(context.Background())
	p.turn <- struct{}{}
	return p
}

// Probe reads the instance once and says what came of it. It returns by ctx's
// deadline (by Config.ProbeTimeout when there is none), whatever the server does;
// a kept connection that broke is replaced within the same call.
//
// The view holds the state of this reading, or when there is none, the last one
// that this prober got. A ctx that is cancelled, and trouble of our own (no file
// descriptors, unreadable certificates), leave Reach Unknown: nothing was learned.
// Failures counts the probes in a row without a sign of life.
func (p *Prober) Probe(ctx context.Context) topology.View { return p.look(ctx, false) }

// Ping asks the instance over the kept connection whether it answers, and for nothing else: the view then holds the state of
// the last reading, and StateAt says how old that is. Without a connection, or where the answer is not as it should
// be, it is a Probe.
func (p *Prober) Ping(ctx context.Context) topology.View { return p.look(ctx, true) }

// look probes; lightly where a sign of life will do.
func (p *Prober) look(ctx context.Context, light bool) topology.View {
	start := p.now()
	limit := p.cfg.ProbeTimeout.D()
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(p.life, cancel)()
	select {
	case <-p.turn:
		defer p.done()
	case <-ctx.Done():
		at := p.now()
		return topology.View{Observer: p.observer, Instance: p.addr, At: at,
			Took: topology.Duration(at.Sub(start)), Error: "another probe of the instance has not ended"}
	}
	r, err := p.read(ctx, light)
	v := topology.View{Observer: p.observer, Instance: p.addr, At: p.now(), Reach: reachOf(err)}
	v.Took = topology.Duration(v.At.Sub(start))
	switch {
	case err == nil:
		if r != nil {
			p.session.unhide(ctx, r)
			p.silences.note(v.At, r)
			p.state, p.stateAt = r.state, v.At
		}
		v.Error = p.session.missing()
	case v.Reach == topology.TimedOut && errors.Is(err, context.DeadlineExceeded):
		v.Error = fmt.Sprintf("no answer within %v", v.Took.D().Round(time.Millisecond))
	default:
		v.Error = err.Error()
	}
	switch {
	case v.Alive():
		p.failures = 0
	case v.Reach != topology.Unknown:
		p.failures++
	}
	v.Failures, v.State, v.StateAt = p.failures, p.state, p.stateAt
	return v
}

// read reads over the kept connection, or over a new one when there is none or it
// has broken. It is nil where the server answered to a ping, and that will do.
func (p *Prober) read(ctx context.Context, light bool) (r *reading, err error) {
	if p.life.Err() != nil {
		return nil, errClosed
	}
	if s := p.session; s != nil && (s.broken() || len(s.denied) > 0 && p.now().Sub(s.opened) > deniedRetry) {
		p.drop()
	}
	if s := p.session; s != nil {
		hailed := s.hailed
		if hailed {
			err = s.converse(ctx, s.answered)
		}
		switch {
		case err != nil || light && hailed:
		case light:
			err = s.ping(ctx)
		default:
			r, err = s.read(ctx)
		}
		if err == nil {
			return r, nil
		}
		p.drop()
		if ctx.Err() != nil {
			return nil, err
		}
		// The connection broke, or this server's mood changed (a shutdown, our
		// session killed): a new connection says what the matter is.
	}
	s, err := dial(ctx, p.addr, p.cfg)
	if err != nil {
		return nil, err
	}
	s.takeOver()
	s.opened, s.rare = p.now(), map[string]result{}
	p.session = s
	s.wire.onEnd(p.onBreak)
	if r, err = s.read(ctx); err != nil {
		p.drop()
		return nil, err
	}
	return r, nil
}

// drop throws the kept connection away, without a word to the server.
func (p *Prober) drop() {
	p.session.abandon()
	p.session = nil
}

// Close ends the connection. A probe on its way ends at once and learns nothing, as
// do later ones.
func (p *Prober) Close() {
	p.end()
	<-p.turn
	p.session.close()
	p.session = nil
	p.done()
}

// missing is a sentence on what this connection may not see.
func (s *session) missing() string {
	var sentences []string
	for _, name := range slices.Sorted(maps.Keys(s.denied)) {
		sentences = append(sentences, s.denied[name].Error())
	}
	return strings.Join(sentences, "; ")
}
