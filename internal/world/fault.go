package world

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/remora-ha/remora/topology"
)

// Fault is one thing that goes wrong, from an instant after the start for a time.
// It is data: what it does depends on nothing but itself and the world it meets.
type Fault struct {
	At, For time.Duration
	Kind    FaultKind
	Who     []string // hosts of servers, or nodes
	Whom    []string // partitions: the other side
	Traffic Traffic
	OneWay  bool
	Delay   time.Duration
	Loss    float64
}

// FaultKind says what goes wrong.
type FaultKind string

// The kinds of faults. "primary" and "leader" as Who are found when it begins.
const (
	Crash       FaultKind = "crash"            // a server dies and is started again
	PowerLoss   FaultKind = "power loss"       // so does its machine: what was not synced is gone
	LoseDisk    FaultKind = "lose the disk"    // it comes back empty
	Freeze      FaultKind = "freeze"           // SIGSTOP
	Lag         FaultKind = "lag"              // its SQL thread stands still
	Nonsense    FaultKind = "answer nonsense"  // what answers is no server
	Crowded     FaultKind = "refuse log-ins"   // too many connections
	FailActs    FaultKind = "fail acts"        // it cannot be read, and does nothing
	Kill        FaultKind = "kill the sidecar" // SIGKILL
	FreezeNode  FaultKind = "freeze the sidecar"
	Suspend     FaultKind = "suspend"
	SetClock    FaultKind = "set the clock of"
	HangDisk    FaultKind = "hang the disk of" // of a sidecar
	KillProxy   FaultKind = "kill the proxy"   // by its angel it is back at once, or later
	FreezeProxy FaultKind = "freeze the proxy"
	KillHost    FaultKind = "power off" // sidecar and proxy of a node
	Partition   FaultKind = "cut off"
	Slow        FaultKind = "slow down"
	Switchover  FaultKind = "switch over"      // no fault: an operator asks for it
	CloseServer FaultKind = "set read_only on" // an operator's hand
	OpenServer  FaultKind = "clear read_only on"
	StopReplica FaultKind = "stop replication of"
	Errant      FaultKind = "write an errant transaction on"
	EditProxy   FaultKind = "edit the rows of" // the proxy sends writes to Whom
)

// String says it in a line: "3.2s: freeze a for 4s".
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: %s %s", f.At, f.Kind, strings.Join(f.Who, ","))
	if len(f.Whom) > 0 {
		way := "from"
		if f.OneWay {
			way = "one way to"
		}
		fmt.Fprintf(&b, " %s %s", way, strings.Join(f.Whom, ","))
	}
	if f.Traffic != AllTraffic {
		fmt.Fprintf(&b, " (%s)", f.Traffic)
	}
	if f.Delay > 0 || f.Loss > 0 {
		fmt.Fprintf(&b, " by %v, losing %.0f%%", f.Delay, 100*f.Loss)
	}
	if f.For > 0 {
		fmt.Fprintf(&b, " for %v", f.For)
	}
	return b.String()
}

// strike begins a fault; the returned function ends it.
func (w *World) strike(f Fault, n int) (heal func()) {
	w.event("fault: %s", f)
	var ends []func()
	for _, who := range f.Who {
		ends = append(ends, w.strikeOne(f, n, who))
	}
	switch f.Kind {
	case Partition:
		return w.partition(f)
	case Slow:
		return w.slowDown(f)
	}
	return func() {
		for _, end := range slices.Backward(ends) {
			end()
		}
	}
}

// strikeOne is the part of a fault that concerns one server or node.
func (w *World) strikeOne(f Fault, n int, who string) (end func()) {
	s, x := w.serverNamed(who), w.nodeNamed(who)
	switch {
	case s != nil:
		return w.strikeServer(f, n, s)
	case x != nil:
		return w.strikeNode(f, x)
	}
	return func() {}
}

func (w *World) strikeServer(f Fault, n int, s *server) func() {
	set := func(fault serverFault) func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		s.fault = fault
		return func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			s.fault = ""
		}
	}
	switch f.Kind {
	case Crash, PowerLoss, LoseDisk:
		// A primary that came back empty would be two faults: nobody promises its data.
		empty := f.Kind == LoseDisk && !w.checks.leads(s)
		s.crash(f.Kind == PowerLoss)
		return func() { s.restart(empty) }
	case Freeze:
		w.net.freeze(s.host, true)
		return func() { w.net.freeze(s.host, false) }
	case Lag:
		s.stall(f.For)
	case Nonsense:
		return set(answersNonsense)
	case Crowded:
		return set(refusesLogins)
	case FailActs:
		return set(failsActs)
	case Switchover:
		id := fmt.Sprintf("operator-%d", n)
		w.running.Go(func() {
			err := w.Switchover(id, s.addr)
			w.event("the switchover to %s: %v", s.addr, err)
		})
	default:
		s.touch(f.Kind)
	}
	return func() {}
}

// touch is what an operator does by hand on a server.
func (s *server) touch(kind FaultKind) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if !s.up {
		return
	}
	switch kind {
	case CloseServer:
		s.endSessions()
		s.readOnly, s.closed = true, false
	case OpenServer:
		s.readOnly = false
	case StopReplica:
		s.sql = false
		s.stopIO()
	case Errant:
		if s.readOnly {
			s.append(&txn{origin: s.id, seq: s.nextSeq(), errant: true})
			s.synced = len(s.log)
		}
	}
	s.notify()
}

func (w *World) strikeNode(f Fault, x *node) func() {
	switch f.Kind {
	case Kill:
		x.kill()
		return x.restart
	case FreezeNode:
		x.freeze()
		return x.unfreeze
	case Suspend: // as FreezeNode, but the clocks tell it
		x.freeze()
		w.mu.Lock()
		x.slept += f.For
		w.mu.Unlock()
		return x.unfreeze
	case SetClock:
		w.mu.Lock()
		x.set += f.Delay
		w.mu.Unlock()
	case HangDisk:
		d := x.disk
		d.hang()
		return d.release
	case KillProxy:
		x.proxy.crash()
		return x.proxy.restart
	case FreezeProxy:
		x.proxy.freeze()
		return x.proxy.unfreeze
	case KillHost:
		x.kill()
		x.proxy.crash()
		return func() {
			x.proxy.restart()
			x.restart()
		}
	case EditProxy:
		x.proxy.edit(w.serverNamed(f.Whom[0]).addr)
	}
	return func() {}
}

// restart starts the sidecar again, unless somebody has.
func (n *node) restart() {
	n.life <- struct{}{}
	defer func() { <-n.life }()
	n.w.mu.Lock()
	runs := n.running != nil
	n.w.mu.Unlock()
	if runs || n.w.ctx.Err() != nil {
		return
	}
	if err := n.start(); err != nil {
		n.w.fail("%s does not start again: %v", n.name, err)
	}
}

// edit is an operator's UPDATE and LOAD: writes go to `to` alone.
func (x *proxy) edit(to topology.Addr) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if !x.up {
		return
	}
	for a := range x.rows {
		x.rows[a] = offlineHard
	}
	x.rows[to], x.foreign = online, true
	x.notify()
}

// hosts are where the named ones live: a server's, or all of a node's.
func (w *World) hosts(names []string) []string {
	var list []string
	for _, name := range names {
		if s := w.serverNamed(name); s != nil {
			list = append(list, s.host)
		} else if x := w.nodeNamed(name); x != nil {
			list = append(list, x.host, x.proxy.host)
		}
	}
	return list
}

// serverNamed finds a server by its host, "primary" being the routed one.
func (w *World) serverNamed(name string) *server {
	if name == "primary" {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.server(w.checks.now.Route.Writer)
	}
	return w.server(topology.Addr(name))
}

// nodeNamed finds a node, "leader" being the one that leads.
func (w *World) nodeNamed(name string) *node {
	if name == "leader" {
		return w.leading()
	}
	return w.node(name)
}

// partition cuts the packets between two sides.
func (w *World) partition(f Fault) func() {
	type way struct{ from, to string }
	var ways []way
	for _, a := range w.hosts(f.Who) {
		for _, b := range w.hosts(f.Whom) {
			ways = append(ways, way{a, b})
			if !f.OneWay {
				ways = append(ways, way{b, a})
			}
		}
	}
	for _, x := range ways {
		w.net.cut(x.from, x.to, f.Traffic, 1)
	}
	return func() {
		for _, x := range ways {
			w.net.cut(x.from, x.to, f.Traffic, -1)
		}
	}
}

// slowDown makes all ways between two sides slow and lossy.
func (w *World) slowDown(f Fault) func() {
	set := func(delay time.Duration, loss float64) {
		for _, a := range w.hosts(f.Who) {
			for _, b := range w.hosts(f.Whom) {
				w.net.slow(a, b, delay, loss)
				w.net.slow(b, a, delay, loss)
			}
		}
	}
	set(f.Delay, f.Loss)
	return func() { set(0, 0) }
}
