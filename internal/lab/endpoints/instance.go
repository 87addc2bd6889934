package endpoints

import (
	"fmt"
	"net"
	"strings"
	"time"
)

// Instance is one simulated server. What follows its address is guarded by its fleet's lock.
type Instance struct {
	// Addr is "host:port".
	Addr string

	fleet   *Fleet
	host    string
	cluster *Cluster
	number  int // its server id
	uuid    string

	conns map[net.Conn]struct{}
	down  bool
	born  time.Time // since when it is up

	open   bool // it takes writes
	super  bool // closed for SUPER as well; without meaning while it is open
	gtids  gtids
	source *source // nil for none
}

// source is what a replica knows of its source.
type source struct {
	addr      string
	user      string
	io, sql   bool // what was started
	known     bool // something came from it
	linked    time.Time
	beats     int64 // heartbeats of earlier links
	lost      bool  // the link broke
	lostAt    time.Time
	received  gtids
	retry     string
	heartbeat string
}

// gtids are the transactions 1 to n of each server that wrote, in the order in which they first appeared.
type gtids struct {
	of   []written
	text string
}

type written struct {
	uuid string
	upTo int64
}

func (g *gtids) raise(uuid string, upTo int64) {
	for i := range g.of {
		if g.of[i].uuid == uuid {
			if g.of[i].upTo < upTo {
				g.of[i].upTo, g.text = upTo, ""
			}
			return
		}
	}
	g.of, g.text = append(g.of, written{uuid, upTo}), ""
}

func (g *gtids) add(other *gtids) {
	for _, w := range other.of {
		g.raise(w.uuid, w.upTo)
	}
}

// write renders the set once for all readings until it changes.
func (g *gtids) write() {
	if g.text != "" || len(g.of) == 0 {
		return
	}
	parts := make([]string, len(g.of))
	for i, w := range g.of {
		parts[i] = fmt.Sprintf("%s:1-%d", w.uuid, w.upTo)
		if w.upTo == 1 {
			parts[i] = w.uuid + ":1"
		}
	}
	g.text = strings.Join(parts, ",\n")
}

// own adds transactions of its own.
func (in *Instance) own(n int64) {
	for _, w := range in.gtids.of {
		if w.uuid == in.uuid {
			n += w.upTo
			break
		}
	}
	in.gtids.raise(in.uuid, n)
}

// follow makes it a replica of another.
func (in *Instance) follow(of *Instance, run bool) {
	in.super = true
	in.source = &source{addr: of.Addr, user: "repl", io: run, sql: run, retry: "1", heartbeat: "0.500"}
}

// replicate moves what was written along the chains of a cluster.
func (c *Cluster) replicate() {
	for range c.Instances { // as deep as a chain can be
		moved := false
		for _, in := range c.Instances {
			moved = in.receive() || moved
		}
		if !moved {
			return
		}
	}
}

// receive takes what its source has and says whether anything came. It notes when the link breaks and when it is there again.
func (in *Instance) receive() bool {
	s := in.source
	in.gtids.write()
	if s == nil || in.down {
		return false
	}
	of := in.fleet.instances[s.addr]
	up := of != nil && !of.down
	switch {
	case !s.io || !up:
		if s.known && !s.lost {
			s.lost, s.lostAt = true, time.Now()
			s.beats += int64(s.lostAt.Sub(s.linked) / beat)
		}
	case !s.known || s.lost:
		s.known, s.lost, s.linked = true, false, time.Now()
	}
	before, had := in.gtids.text, s.received.text
	if s.io && up {
		s.received.add(&of.gtids)
		s.received.write()
	}
	if s.sql {
		in.gtids.add(&s.received)
		in.gtids.write()
	}
	return before != in.gtids.text || had != s.received.text
}

// Kill ends the instance as SIGKILL would: its connections break, new ones are reset, what it wrote stays.
func (in *Instance) Kill() {
	in.fleet.mu.Lock()
	defer in.fleet.mu.Unlock()
	in.end()
	in.cluster.replicate()
}

// Revive starts it again, closed for writes, with the source that it had.
func (in *Instance) Revive() {
	in.fleet.mu.Lock()
	defer in.fleet.mu.Unlock()
	if !in.down {
		return
	}
	in.down, in.born = false, time.Now()
	in.open, in.super = false, true
	in.cluster.replicate()
}

// Writable says whether it is up and takes writes.
func (in *Instance) Writable() bool {
	in.fleet.mu.RLock()
	defer in.fleet.mu.RUnlock()
	return in.open && !in.down
}

// Source is the address that it replicates from, empty for none.
func (in *Instance) Source() string {
	in.fleet.mu.RLock()
	defer in.fleet.mu.RUnlock()
	if in.source == nil {
		return ""
	}
	return in.source.addr
}

func (in *Instance) end() {
	if in.down {
		return
	}
	in.down = true
	for conn := range in.conns {
		_ = conn.Close()
	}
	clear(in.conns)
}
