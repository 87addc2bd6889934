package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrNoNetwork tells that the caller may not make network namespaces.
var ErrNoNetwork = errors.New("making network namespaces needs root, with CAP_SYS_ADMIN")

// Host is a machine on a Network: a network namespace with an address and a loopback interface of its own. A nil *Host is
// the machine that the lab runs on, on loopback.
type Host struct {
	Name string
	// IP is its address on the network.
	IP string

	ns   *namespace
	link string // the other end of its cable, at the bridge
}

// Network joins hosts by a bridge in a namespace of its own. Nothing on it reaches the machine's network, and nothing
// there is touched. It goes with the lab, and when the lab's process is killed, with that.
type Network struct {
	Hosts []*Host

	lab *Lab
	hub *namespace
	mu  sync.Mutex // one change of the rules at a time
}

// Network makes hosts that reach each other. It needs root and the packages of MissingForNetwork.
func (l *Lab) Network(ctx context.Context, names ...string) (*Network, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("make a network of %d hosts: %w", len(names), ErrNoNetwork)
	}
	if len(names) > 200 {
		return nil, fmt.Errorf("make a network of %d hosts: it has room for 200", len(names))
	}
	n := &Network{lab: l}
	if err := n.build(ctx, names); err != nil {
		n.close()
		return nil, fmt.Errorf("make a network of %d hosts: %w", len(names), err)
	}
	return n, l.onClose(func() error { n.close(); return nil })
}

func (n *Network) build(ctx context.Context, names []string) (err error) {
	if n.hub, err = newNamespace(); err != nil {
		return err
	}
	wires := []string{"link set lo up", "link add br0 type bridge", "link set br0 up"}
	for i, name := range names {
		h := &Host{Name: name, IP: "10.77.0." + strconv.Itoa(i+1), link: "port" + strconv.Itoa(i+1)}
		if h.ns, err = newNamespace(); err != nil {
			return err
		}
		n.Hosts = append(n.Hosts, h)
		wires = append(wires, fmt.Sprintf("link add %s type veth peer name eth0 netns %s", h.link, h.ns.path()),
			fmt.Sprintf("link set %s master br0 up", h.link))
	}
	if err := n.hub.run(ctx, strings.Join(wires, "\n"), "ip", "-batch", "-"); err != nil {
		return err
	}
	for _, h := range n.Hosts {
		wires := "link set lo up\naddr add " + h.IP + "/24 dev eth0\nlink set eth0 up"
		if err := h.ns.run(ctx, wires, "ip", "-batch", "-"); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	return nil
}

// close lets go of the namespaces; they end with the last process in them.
func (n *Network) close() {
	for _, h := range n.Hosts {
		_ = h.ns.file.Close()
	}
	if n.hub != nil {
		_ = n.hub.file.Close()
	}
}

// run runs a command inside, with text for its input.
func (ns *namespace) run(ctx context.Context, input, program string, args ...string) error {
	path, err := find(program)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
	if err := ns.do(cmd.Start); err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s\nfor:\n%s", program, err, strings.TrimSpace(out.String()), input)
	}
	return nil
}

// Dial connects from the host to an address.
func (h *Host) Dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	dial := func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
		return err
	}
	if h == nil {
		return conn, dial()
	}
	return conn, h.ns.do(dial)
}

// Addr is a port of the host as others reach it.
func (h *Host) Addr(port int) string { return net.JoinHostPort(h.ip(), strconv.Itoa(port)) }

func (h *Host) ip() string {
	if h == nil {
		return "127.0.0.1"
	}
	return h.IP
}

// start starts a command on the host, from a thread that is locked.
func (h *Host) start(cmd *exec.Cmd) error {
	if h == nil {
		return cmd.Start()
	}
	return h.ns.visit(cmd.Start)
}
