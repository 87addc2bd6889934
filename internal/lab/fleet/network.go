package fleet

import (
	"context"
	"fmt"
	"net/http"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/internal/lab"
)

// apiToken guards the API where it listens on a network.
const apiToken = "lab-token"

// startNetwork makes a host for each node and each server: node1, node2, …, db0, db1, ….
func (f *Fleet) startNetwork(ctx context.Context, opts *Options) (err error) {
	servers := opts.Topology.Servers
	if servers == 0 {
		servers = 3
	}
	var names []string
	for i := range opts.Nodes {
		names = append(names, fmt.Sprintf("node%d", i+1))
	}
	for i := range servers {
		names = append(names, fmt.Sprintf("db%d", i))
	}
	if f.Network, err = f.Lab.Network(ctx, names...); err != nil {
		return err
	}
	f.Nodes = f.Network.Hosts[:opts.Nodes:opts.Nodes]
	opts.Topology.Hosts = f.Network.Hosts[opts.Nodes:]
	return nil
}

// listen is a node's API section: a listener that others reach, and so has a token, where it is on a network.
func (f *Fleet) listen(i int) string {
	if f.Network == nil {
		return ""
	}
	return fmt.Sprintf("api: {listen: %q, token: {env: REMORA_API_TOKEN}}\n", f.APIs[i])
}

// client speaks to a node from its own host, which no cut concerns.
func (f *Fleet) client(i int, addr string) *api.Client {
	host := f.Nodes[i]
	if host == nil {
		return api.NewClient(addr, "", nil)
	}
	return api.NewClient(addr, apiToken, &http.Transport{DialContext: host.Dial, DisableKeepAlives: true})
}

// Client speaks to a node from its own host, which no cut concerns.
func (f *Fleet) Client(i int) *api.Client { return f.clients[i] }

// Load starts clients beside each proxy, on its host.
func (f *Fleet) Load(ctx context.Context, opts lab.LoadOptions) (*lab.Load, error) {
	opts.Addrs, opts.Hosts = f.ClientAddrs(), f.Nodes
	return f.Lab.Load(ctx, opts)
}
