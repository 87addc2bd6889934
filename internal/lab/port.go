package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
)

// ports hands out TCP ports that no one else takes meanwhile. Port 0 would come from the range that the kernel also
// gives to outgoing connections, so the port of a killed server could be gone when it returns; and ProxySQL listens
// with SO_REUSEPORT, so that a collision would go unseen. Hence a port below that range, held for the lab's lifetime
// by an abstract socket named after it: these live in the network namespace, as ports do, and go with their process.
type ports struct {
	mu     sync.Mutex
	claims []net.Listener
}

func newPorts() *ports { return &ports{} }

func (p *ports) claim() (int, error) {
	low, high := portRange()
	for range 200 {
		port := low + rand.IntN(high-low)
		claim, err := net.Listen("unix", "@remora-lab/port/"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		if !free(port) {
			_ = claim.Close()
			continue
		}
		p.mu.Lock()
		p.claims = append(p.claims, claim)
		p.mu.Unlock()
		return port, nil
	}
	return 0, fmt.Errorf("find a free port between %d and %d: 200 tries were taken", low, high)
}

func (p *ports) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.claims {
		_ = c.Close()
	}
	p.claims = nil
}

// free tells whether nothing listens on the port, on loopback or on all addresses.
func free(port int) bool {
	for _, host := range []string{"127.0.0.1", "0.0.0.0"} {
		l, err := net.Listen("tcp4", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return false
		}
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return false
		}
	}
	return true
}

// portRange is below the kernel's range of ephemeral ports where there is room, else a fixed one.
func portRange() (low, high int) {
	low, high = 15000, 32000
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return low, high
	}
	var first, last int
	if _, err := fmt.Sscan(string(b), &first, &last); err != nil {
		return low, high
	}
	switch {
	case first >= low+2000:
		high = min(high, first)
	case first >= 7000:
		low, high = 5000, first
	case last <= 62000:
		low, high = last+1, 65000
	}
	return low, high
}
