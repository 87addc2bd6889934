package sidecar

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/failover"
)

// TestAProxyIsClosedInTheFenceTimeWheneverItFreezes: a sidecar is cut off, and the admin
// interface of its proxy freezes at any instant of the last looks before its lease ends,
// and of the fence time. However the looks stand to the end of the lease, the proxy is
// closed, or cut off, when the fence time is over: the leader goes on then.
func TestAProxyIsClosedInTheFenceTimeWheneverItFreezes(t *testing.T) {
	const phases, step = 5, 20 * time.Millisecond
	lease := DefaultConfig().Lease
	for name, told := range map[string]bool{"in line": false, "told to close just then": true} {
		t.Run(name, func(t *testing.T) {
			var late []string
			for phase := range time.Duration(phases) {
				for before := lookEvery + step; before > -lease.FenceTime.D(); before -= step {
					frozen(t, Cut{"packet filter", true}, func(t *testing.T, f follower, p *frozenProxy, l *fakeLadder, after func(time.Duration)) {
						l.takes = lease.FenceTime.D() / 2 // as long as the configuration may say
						after(phase * lookEvery / phases)
						f.peer.set(false)
						after(lease.Heartbeat.D()) // what was granted meanwhile is counted
						until, _ := f.lease.promise()
						over := func() time.Duration { return f.lease.clock().Boot - until }
						after(-before - over())
						if told {
							f.begin(t, failover.KindFailover)
						}
						p.freeze(true)
						after(lease.FenceTime.D() - over())
						if made := f.made(); !strings.Contains(made, "cut main") && !strings.Contains(made, "fence hard, end sessions") {
							late = append(late, fmt.Sprintf("frozen %s before the lease ended, looks %s later: when the fence time is over, only this was done: %q", before, phase*lookEvery/phases, made))
						}
					})
				}
			}
			if len(late) > 0 {
				t.Errorf("%d times, such as: %s\n%s", len(late), late[0], late[len(late)-1])
			}
		})
	}
}
