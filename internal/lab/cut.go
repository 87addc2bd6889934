package lab

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Cut is a fault of a network: packets from some hosts do not arrive at others. The other way is another cut. What a host
// sends to itself always arrives.
type Cut struct {
	From, To []*Host
	// Reject answers each packet of TCP with a reset where it is sent, as a router without a way does; otherwise it is
	// lost and nobody is told.
	Reject bool
}

// Apart cuts two groups of hosts off from each other, both ways.
func Apart(a, b []*Host) []Cut { return []Cut{{From: a, To: b}, {From: b, To: a}} }

func (c Cut) String() string {
	verb := "lost"
	if c.Reject {
		verb = "rejected"
	}
	return fmt.Sprintf("from %s to %s %s", HostNames(c.From), HostNames(c.To), verb)
}

// HostNames joins names for a sentence.
func HostNames(hosts []*Host) string {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Name
	}
	return strings.Join(names, "+")
}

// Others are the hosts that are not among some.
func (n *Network) Others(hosts ...*Host) []*Host {
	return slices.DeleteFunc(slices.Clone(n.Hosts), func(h *Host) bool { return slices.Contains(hosts, h) })
}

// Cut makes just these cuts, in place of all earlier ones; without any the network is whole. Established connections
// are cut as well. Every host changes at once, one after the other within some milliseconds.
func (n *Network) Cut(ctx context.Context, cuts ...Cut) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.Hosts {
		if err := h.ns.run(ctx, rules(h, cuts), "nft", "-f", "-"); err != nil {
			return fmt.Errorf("cut %v at %s: %w", cuts, h.Name, err)
		}
	}
	n.lab.opts.Logf("lab: cuts: %v", cuts)
	return nil
}

// rules are a host's whole packet filter, which nft applies at once or not at all: what is lost is dropped where it
// arrives, what is rejected is so where it is sent.
func rules(h *Host, cuts []Cut) string {
	var b strings.Builder
	b.WriteString("table inet remora\ndelete table inet remora\ntable inet remora {\n")
	b.WriteString(" chain in { type filter hook input priority 0;\n")
	for _, c := range cuts {
		if sources := others(c.From, h); !c.Reject && slices.Contains(c.To, h) && sources != "" {
			fmt.Fprintf(&b, "  iifname eth0 ip saddr { %s } drop\n", sources)
		}
	}
	b.WriteString(" }\n chain out { type filter hook output priority 0;\n")
	for _, c := range cuts {
		if targets := others(c.To, h); c.Reject && slices.Contains(c.From, h) && targets != "" {
			fmt.Fprintf(&b, "  oifname eth0 ip daddr { %s } meta l4proto tcp reject with tcp reset\n", targets)
		}
	}
	b.WriteString(" }\n}\n")
	return b.String()
}

// others are the addresses of hosts but for one.
func others(hosts []*Host, but *Host) string {
	var ips []string
	for _, h := range hosts {
		if h != but && !slices.Contains(ips, h.IP) {
			ips = append(ips, h.IP)
		}
	}
	return strings.Join(ips, ", ")
}

// Unplug takes a host's cable out; Plug puts it back.
func (n *Network) Unplug(ctx context.Context, h *Host) error { return n.cable(ctx, h, "down") }

// Plug puts a host's cable back.
func (n *Network) Plug(ctx context.Context, h *Host) error { return n.cable(ctx, h, "up") }

func (n *Network) cable(ctx context.Context, h *Host, state string) error {
	if err := n.hub.run(ctx, "link set "+h.link+" "+state, "ip", "-batch", "-"); err != nil {
		return fmt.Errorf("set the cable of %s %s: %w", h.Name, state, err)
	}
	n.lab.opts.Logf("lab: cable of %s: %s", h.Name, state)
	return nil
}
