package consensus

import (
	"fmt"

	"github.com/hashicorp/raft"
)

// transport is raft's transport over a stream.
type transport struct {
	*raft.NetworkTransport
}

func newTransport(cfg Config, s *stream) *transport {
	return &transport{
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream:                s,
			MaxPool:               3,
			Timeout:               cfg.IOTimeout,
			Logger:                hclogger(cfg.Log),
			ServerAddressProvider: addressBook(cfg.Peers),
		}),
	}
}

// addressBook gives the configured address of a node, for the one in the log is
// that of the day when the cluster was new.
type addressBook []Peer

// ServerAddr implements raft.ServerAddressProvider.
func (b addressBook) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	for _, p := range b {
		if p.Name == string(id) {
			return raft.ServerAddress(p.Addr), nil
		}
	}
	return "", fmt.Errorf("node %q is not configured", id)
}
