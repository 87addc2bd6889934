package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// scene is who is who at the moment of a fault, by number; a server's host has the node of the same number.
type scene struct {
	f               *fleet.Fleet
	primary, leader int
	random          *rand.Rand
}

// blow is a fault that was chosen and can be carried out: what is cut, and what is done to processes.
type blow struct {
	detail string
	cuts   []lab.Cut
	strike func() error
	heal   func(ctx context.Context) error
	// away are the nodes whose clients the fault takes away from their proxy's servers; they are no measure of how the others
	// fared.
	away []int
}

// fault is a kind of fault.
type fault struct {
	name  string
	means string
	// alone says that it is drawn for no round of two faults, as it takes all writes away by itself.
	alone bool
	make  func(s *scene) blow
}

// db, node and host are places on the network.
func (s *scene) db(i int) *lab.Host   { return s.f.Network.Hosts[len(s.f.Nodes)+i] }
func (s *scene) node(i int) *lab.Host { return s.f.Nodes[i] }
func (s *scene) host(i int) []*lab.Host {
	if i < len(s.f.Nodes) {
		return []*lab.Host{s.node(i), s.db(i)}
	}
	return []*lab.Host{s.db(i)}
}

func (s *scene) dbs() []*lab.Host { return s.f.Network.Hosts[len(s.f.Nodes):] }

// replica, follower and any are drawn.
func (s *scene) replica() int {
	return s.draw(len(s.f.DB.Servers), func(i int) bool { return i != s.primary })
}

func (s *scene) follower() int {
	return s.draw(len(s.f.Nodes), func(i int) bool { return i != s.leader })
}

func (s *scene) anyNode() int { return s.random.IntN(len(s.f.Nodes)) }

func (s *scene) draw(n int, fit func(int) bool) int {
	all := make([]int, 0, n)
	for i := range n {
		if fit(i) {
			all = append(all, i)
		}
	}
	return all[s.random.IntN(len(all))]
}

// killed, frozen and full are what is done to one process or disk.
func killed(p *lab.Process) blow {
	return blow{detail: p.Name + " killed", strike: p.Kill, heal: func(ctx context.Context) error {
		if p.Running() { // as another fault of the round killed it too
			return nil
		}
		return p.Start(ctx)
	}}
}

func frozen(p *lab.Process) blow {
	return blow{detail: p.Name + " frozen", strike: func() error {
		if !p.Running() {
			return nil
		}
		return p.Freeze()
	}, heal: func(context.Context) error { return p.Thaw() }}
}

func full(name string, d *lab.Disk) blow {
	return blow{detail: "the disk of " + name + " full", strike: d.Fill, heal: func(context.Context) error { return d.Free() }}
}

// cut describes itself.
func cut(cuts ...lab.Cut) blow {
	words := make([]string, len(cuts))
	for i, c := range cuts {
		words[i] = c.String()
	}
	return blow{detail: strings.Join(words, ", "), cuts: cuts}
}

// apart cuts both ways.
func apart(a, b []*lab.Host) blow {
	return blow{detail: fmt.Sprintf("%s cut from %s", lab.HostNames(a), lab.HostNames(b)), cuts: lab.Apart(a, b)}
}

// isolated cuts hosts off from all others.
func (s *scene) isolated(hosts ...*lab.Host) blow {
	b := apart(hosts, s.f.Network.Others(hosts...))
	b.detail = lab.HostNames(hosts) + " cut from all others"
	return b
}

// leftTo cuts the primary off from all but one node.
func (s *scene) leftTo(node int) blow {
	db := s.db(s.primary)
	b := apart([]*lab.Host{db}, s.f.Network.Others(db, s.node(node)))
	b.detail = fmt.Sprintf("%s cut from all but %s", db.Name, s.node(node).Name)
	return b
}

// unplugged takes a host's cable out.
func (s *scene) unplugged(h *lab.Host) blow {
	return blow{
		detail: h.Name + " unplugged",
		strike: func() error { return s.f.Network.Unplug(context.Background(), h) },
		heal:   func(ctx context.Context) error { return s.f.Network.Plug(ctx, h) },
	}
}

// rejected answers what is cut with resets.
func (b blow) rejected() blow {
	b.cuts = slices.Clone(b.cuts)
	for i := range b.cuts {
		b.cuts[i].Reject = true
	}
	b.detail += ", with resets"
	return b
}

func (b blow) without(nodes ...int) blow {
	b.away = append(slices.Clone(b.away), nodes...)
	return b
}

// together are several at once, in order.
func together(blows ...blow) blow {
	var all blow
	var details []string
	for _, b := range blows {
		details = append(details, b.detail)
		all.cuts = append(all.cuts, b.cuts...)
		all.away = append(all.away, b.away...)
	}
	all.detail = strings.Join(details, "; ")
	all.strike = func() error {
		for _, b := range blows {
			if b.strike == nil {
				continue
			}
			if err := b.strike(); err != nil {
				return err
			}
		}
		return nil
	}
	all.heal = func(ctx context.Context) error {
		for _, b := range blows {
			if b.heal == nil {
				continue
			}
			if err := b.heal(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	return all
}
