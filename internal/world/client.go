package world

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/remora-ha/remora/topology"
)

// client writes all the time through one proxy: each write swaps the register
// for a number of its own and learns what it held before.
type client struct {
	w     *World
	id    int
	proxy *proxy
	rng   *rand.Rand
}

// attempt is one write as its client saw it.
type attempt struct {
	id       int // what was written
	client   int
	began    time.Time
	ended    time.Time // zero: the outcome is unknown
	before   int
	server   topology.Addr
	rejected bool // certainly not written
}

// patience of a client for one write, and for a proxy that holds it.
const clientPatience = 3 * time.Second

func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil {
		c.write(ctx)
		sleep(ctx, c.w.timing.Think/2+time.Duration(c.rng.Int64N(int64(c.w.timing.Think))))
	}
}

// errHeld is ProxySQL's answer when no writer came within its patience.
var errHeld = errors.New("9001: max connect timeout reached while reaching the hostgroup")

func (c *client) write(ctx context.Context) {
	a := c.w.history.begin(c.id)
	before, by, foreign, err := c.proxy.execute(ctx, a.id)
	switch {
	case err == nil:
		c.w.history.acknowledge(a, before, by)
		if !foreign {
			c.w.checks.acknowledged(a.id, c.w.server(by))
		}
	case errors.Is(err, errHeld), errors.Is(err, errReadOnly), errors.Is(err, errRefused):
		c.w.history.reject(a)
	}
}

// execute sends a client's write to the writer, when there is one; `foreign` says
// that an operator's hand routed it.
func (x *proxy) execute(ctx context.Context, id int) (before int, by topology.Addr, foreign bool, err error) {
	bounded, cancel := context.WithTimeout(ctx, clientPatience)
	defer cancel()
	st, err := x.choose(bounded)
	if err != nil {
		return 0, "", false, err
	}
	s := st.server
	defer func() {
		x.w.mu.Lock()
		delete(x.using, st)
		x.w.mu.Unlock()
	}()
	type answer struct {
		before int
		err    error
	}
	answers := make(chan answer, 1)
	// The server goes on with it when nobody waits any more.
	x.w.running.Go(func() {
		if x.w.net.pass(x.w.ctx, x.host, s.host, SQLPort) != nil {
			return
		}
		before, err := s.write(id)
		if x.w.net.pass(x.w.ctx, s.host, x.host, SQLPort) == nil {
			answers <- answer{before, err}
		}
	})
	select {
	case got := <-answers:
		if err := x.awake(bounded); err != nil {
			return 0, "", false, err
		}
		select {
		case <-st.ended:
			return 0, "", false, errLost
		default:
			return got.before, s.addr, st.foreign, got.err
		}
	case <-st.ended:
		return 0, "", false, errLost
	case <-bounded.Done():
		return 0, "", false, errLost
	}
}

// awake waits until the proxy's process runs.
func (x *proxy) awake(ctx context.Context) error {
	for {
		x.w.mu.Lock()
		thaw := x.thaw
		x.w.mu.Unlock()
		if thaw == nil {
			return nil
		}
		select {
		case <-thaw:
		case <-ctx.Done():
			return errLost
		}
	}
}

// choose holds a statement until there is a writer.
func (x *proxy) choose(ctx context.Context) (*statement, error) {
	for {
		x.w.mu.Lock()
		up, thaw, changed, writers := x.up, x.thaw, x.changed, x.writers()
		if up && thaw == nil && len(writers) == 1 { // of two, max_num_online_servers hands out none
			st := &statement{server: x.w.server(writers[0]), foreign: x.foreign, ended: make(chan struct{})}
			x.using[st] = true
			x.w.mu.Unlock()
			return st, nil
		}
		x.w.mu.Unlock()
		if !up {
			return nil, errRefused
		}
		select {
		case <-changed:
		case <-thaw:
		case <-ctx.Done():
			return nil, errHeld
		}
	}
}

// history is all that clients tried; guarded by the world's mutex.
type history struct {
	w        *World
	attempts []*attempt
}

func (h *history) begin(client int) *attempt {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	a := &attempt{id: len(h.attempts) + 1, client: client, began: time.Now()}
	h.attempts = append(h.attempts, a)
	return a
}

func (h *history) acknowledge(a *attempt, before int, by topology.Addr) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	a.ended, a.before, a.server = time.Now(), before, by
}

func (h *history) reject(a *attempt) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	a.rejected = true
}

// acknowledged says how many writes were.
func (h *history) acknowledged() int {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	n := 0
	for _, a := range h.attempts {
		if !a.ended.IsZero() {
			n++
		}
	}
	return n
}

// unknown is the output of a write whose outcome nobody knows.
const unknown = -1

// register is the model that porcupine holds the history to: a swap stores its
// input and gives what was there.
var register = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		before := output.(int)
		return before == unknown || before == state.(int), input
	},
}

// linearizable checks the history of acknowledged writes. One of unknown outcome
// may have happened at any time after it began; where nobody read it and it is in
// no history, it never did.
func (h *history) linearizable(happened func(id int) bool) bool {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	var ops []porcupine.Operation
	end := time.Now()
	for _, a := range h.attempts {
		op := porcupine.Operation{ClientId: a.client, Input: a.id, Output: a.before, Call: a.began.UnixNano(), Return: a.ended.UnixNano()}
		if a.ended.IsZero() {
			if a.rejected || !happened(a.id) {
				continue
			}
			// A client has one operation at a time; what hangs is a client's of its own.
			op.ClientId, op.Output, op.Return = 1000+a.id, unknown, end.UnixNano()
		}
		ops = append(ops, op)
	}
	return porcupine.CheckOperations(register, ops)
}
