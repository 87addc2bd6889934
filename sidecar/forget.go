package sidecar

import (
	"context"
	"fmt"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/ledger"
)

// ForgetNode takes a sidecar that is configured no more out of the ledger, once
// the last lease that it may have got is over: until then failovers wait for its
// proxy as they do for any other. From then on they do not, so its ProxySQL must
// have been stopped, or have a watchdog.
func (s *Sidecar) ForgetNode(ctx context.Context, name string) error {
	t := s.leading()
	if t == nil {
		return s.errFollower("forget node " + name)
	}
	if _, ok := s.member(name); ok {
		return &api.RefusedError{Sentence: fmt.Sprintf("forgetting node %s is refused: it is one of the `nodes` in %s's configuration, and would be "+
			"registered again; take it out there, on every node, and restart the sidecars", name, s.cfg.Node)}
	}
	if left := t.evidence.leaseLeft(name, s.ports.Clock().Boot); left > 0 {
		pause(ctx, left)
	}
	if left := t.evidence.leaseLeft(name, s.ports.Clock().Boot); left > 0 || ctx.Err() != nil {
		return fmt.Errorf("forget node %s: its lease may hold for another %s: ask again then", name, left)
	}
	res, err := t.commit(ctx, ledger.Command{ForgetNode: &ledger.ForgetNode{Name: name}})
	if res.Refused != "" {
		return &api.RefusedError{Sentence: res.Refused}
	}
	if err != nil {
		return fmt.Errorf("forget node %s: %w", name, err)
	}
	s.log.Info("a node is forgotten", "node", name)
	return nil
}

// NodeFenced takes an operator's word that the proxy of a silent node routes
// nothing: it was stopped, or its machine is off. It counts until the node is
// heard again, or another leader is elected.
func (s *Sidecar) NodeFenced(_ context.Context, name string) error {
	t := s.leading()
	if t == nil {
		return s.errFollower("node " + name + " is fenced")
	}
	_, registered := s.ports.Consensus.State().Nodes[name]
	if _, ok := s.member(name); !ok && !registered {
		return fmt.Errorf("node %q: %w; registered are %s", name, api.ErrNotFound, s.ports.Consensus.State().NodeNames())
	}
	if !t.evidence.setFenced(name, s.ports.Clock().Boot) {
		return &api.RefusedError{Sentence: fmt.Sprintf("the word that %s is fenced is not taken: it is heard, or was so a moment ago, and speaks for itself; "+
			"stop its sidecar, and ask again when its lease is over", name)}
	}
	s.log.Warn("an operator says that a silent node's proxy is fenced", "node", name)
	t.evidence.changed.notify()
	return nil
}
