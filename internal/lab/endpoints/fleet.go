package endpoints

import (
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Fleet is all instances of all clusters. Its methods are safe for concurrent use.
type Fleet struct {
	listener net.Listener // of all: each could have its own, but files are few
	port     int

	mu        sync.RWMutex // guards the model
	clusters  []*Cluster
	instances map[string]*Instance // by address

	commands commands
	busy     sync.WaitGroup
	count    counters
}

type counters struct{ readings, pings, in, out, logins atomic.Int64 }

// Counts are totals since the start, of all instances.
type Counts struct {
	Readings int64 // answers that held the state of replication
	Pings    int64
	Logins   int64
	In, Out  int64 // bytes of commands received and of answers sent, without the log-in and what TCP adds
}

// Cluster is one replication topology.
type Cluster struct {
	Name      string
	Instances []*Instance // the first is the primary at the start
}

// Start makes clusters of a primary and its replicas, all that listen: c0000 with sizes[0] instances, c0001 with sizes[1],
// and so on. They are on 127.64.0.1, 127.64.0.2, … with one port for all. Close ends them.
func Start(sizes []int) (*Fleet, error) {
	total := 0
	for _, n := range sizes {
		total += n
	}
	if total > maxInstances {
		return nil, fmt.Errorf("start %d endpoints: there are addresses for %d", total, maxInstances)
	}
	f := &Fleet{instances: make(map[string]*Instance, total)}
	var err error
	if f.listener, err = listen(); err != nil {
		return nil, fmt.Errorf("start %d endpoints: %w", total, err)
	}
	f.port = f.listener.Addr().(*net.TCPAddr).Port
	f.build(sizes)
	f.busy.Go(f.accept)
	return f, nil
}

func (f *Fleet) build(sizes []int) {
	number := 0
	for i, n := range sizes {
		c := &Cluster{Name: fmt.Sprintf("c%04d", i)}
		f.clusters = append(f.clusters, c)
		for range n {
			number++
			in := f.add(c, number)
			if len(c.Instances) > 0 {
				in.follow(c.Instances[0], true)
			} else {
				in.open = true
				in.own(1) // a server without any GTID looks like one that was never set up
			}
			c.Instances = append(c.Instances, in)
		}
		c.replicate()
	}
}

// add makes an instance, which is closed for writes.
func (f *Fleet) add(c *Cluster, number int) *Instance {
	host := fmt.Sprintf("127.64.%d.%d", number>>8, number&0xff)
	in := &Instance{
		Addr: net.JoinHostPort(host, strconv.Itoa(f.port)), fleet: f, cluster: c, host: host, number: number,
		uuid: fmt.Sprintf("%08x-0000-4000-8000-000000000000", number), conns: map[net.Conn]struct{}{}, born: time.Now(),
	}
	f.instances[in.Addr] = in
	return in
}

const maxInstances = 60_000 // what the third and fourth number of an address tell apart

// Clusters are all clusters, in the order of their names.
func (f *Fleet) Clusters() []*Cluster { return f.clusters }

// Counts are what was served so far.
func (f *Fleet) Counts() Counts {
	return Counts{Readings: f.count.readings.Load(), Pings: f.count.pings.Load(), Logins: f.count.logins.Load(), In: f.count.in.Load(), Out: f.count.out.Load()}
}

// Unknown lists the statements that no endpoint understood, the first hundred of them.
func (f *Fleet) Unknown() []string { return f.commands.unknown.list() }

// Write lets n transactions be written to every cluster's open instances; those that are down write nothing.
func (f *Fleet) Write(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.clusters {
		for _, in := range c.Instances {
			if in.open && !in.down {
				in.own(n)
			}
		}
		c.replicate()
	}
}

// Close ends all instances and waits until everything of theirs has ended.
func (f *Fleet) Close() error {
	f.mu.Lock()
	for _, in := range f.instances {
		in.end()
	}
	f.mu.Unlock()
	err := f.listener.Close()
	f.busy.Wait()
	return err
}

// RaiseFileLimit lets this process, and those that it starts, have that many files open. Beyond the hard limit it takes CAP_SYS_RESOURCE.
func RaiseFileLimit(n uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if limit.Cur >= n {
		return nil
	}
	wanted := syscall.Rlimit{Cur: n, Max: max(n, limit.Max)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &wanted); err != nil {
		return fmt.Errorf("raise the limit of open files from %d to %d (raise the hard limit, or take fewer instances): %w", limit.Max, n, err)
	}
	return nil
}

// beat is how often a source that is idle says that it lives.
const beat = 500 * time.Millisecond
