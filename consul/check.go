package consul

import (
	"context"
	"errors"
	"math"

	"github.com/hashicorp/consul/api"

	"github.com/remora-ha/remora/doctor"
)

// never is an index that no key has: a write that depends on it is always rolled back.
const never = math.MaxInt64

// Check says whether the clusters' keys could be read and written, and which epochs are
// stored. It changes nothing: the write depends on an index that no key ever has, and
// Consul looks at the token's rights before it looks at that.
func (p *Publisher) Check(ctx context.Context, clusters []string) doctor.Store {
	s := doctor.Store{Name: p.cfg.Name, Agent: p.cfg.Address, Epochs: map[string]uint64{}}
	if s.Name == "" {
		s.Name = p.cfg.Address
	}
	ctx, end := p.bound(ctx)
	defer end()
	for _, cluster := range clusters {
		epoch, err := p.checkCluster(ctx, newKeyset(p.cfg.prefix(), cluster))
		if err != nil {
			err = p.explain("check the keys of "+cluster, err)
			s.Error, s.Denied = err.Error(), errors.Is(err, ErrDenied)
			return s
		}
		if epoch > 0 {
			s.Epochs[cluster] = epoch
		}
	}
	return s
}

// checkCluster reads a cluster's keys and tries the write that is never carried out.
func (p *Publisher) checkCluster(ctx context.Context, k keyset) (epoch uint64, err error) {
	have, err := p.read(ctx, k)
	if err != nil {
		return 0, err
	}
	var ops api.TxnOps
	for _, key := range k.all() {
		ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVCAS, Key: key, Index: never}})
	}
	switch err := p.write(ctx, ops); {
	case err == nil:
		return 0, errors.New("a write that depends on an impossible index was carried out: this is not Consul")
	case !errors.Is(err, ErrConflict):
		return 0, err
	}
	return storedEpoch(k, have), nil
}
