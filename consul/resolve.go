package consul

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/remora-ha/remora/topology"
)

const (
	resolveTime = 50 * time.Millisecond // names must not hold up a failover
	resolveAge  = time.Minute           // an answer is asked for again after it
)

// resolver remembers the addresses of hosts, so that a failover need not wait for
// the name of its new primary: it was a reader before.
type resolver struct {
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	mu    sync.Mutex
	cache map[string]resolved
}

type resolved struct {
	ips
	at time.Time
}

func newResolver() *resolver {
	return &resolver{cache: map[string]resolved{}, lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}
}

// resolve gives the addresses of the document's primary, and learns its readers'.
// An old answer is better than none.
func (r *resolver) resolve(ctx context.Context, d topology.Document) ips {
	hosts := map[string]bool{}
	for _, s := range d.Readers {
		hosts[s.Host] = true
	}
	if d.Primary != nil {
		hosts[d.Primary.Host] = true
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	var group sync.WaitGroup
	for host := range hosts {
		if r.fresh(host) {
			continue
		}
		group.Go(func() {
			if addrs, err := r.lookup(ctx, host); err == nil && len(addrs) > 0 {
				r.learn(host, addrs)
			}
		})
	}
	group.Wait()
	if d.Primary == nil {
		return ips{}
	}
	if ip, err := netip.ParseAddr(d.Primary.Host); err == nil {
		return choose([]netip.Addr{ip})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cache[d.Primary.Host].ips
}

func (r *resolver) fresh(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.cache[host]
	return ok && time.Since(known.at) < resolveAge
}

func (r *resolver) learn(host string, addrs []netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cache[host] = resolved{choose(addrs), time.Now()}
}

// choose takes the lowest of each kind, for resolvers shuffle.
func choose(addrs []netip.Addr) ips {
	chosen := ips{known: true}
	var v4, v6 netip.Addr
	for _, a := range addrs {
		a = a.Unmap().WithZone("")
		switch {
		case a.Is4() && (!v4.IsValid() || a.Less(v4)):
			v4, chosen.v4 = a, a.String()
		case a.Is6() && (!v6.IsValid() || a.Less(v6)):
			v6, chosen.v6 = a, a.String()
		}
	}
	return chosen
}
