package consul

import (
	"github.com/hashicorp/consul/api"

	"github.com/remora-ha/remora/topology"
)

// compare lists the keys whose value differs, in the order of the keyset.
func compare(k keyset, want map[string]string, have map[string]entry) []topology.Change {
	var changes []topology.Change
	for _, key := range k.all() {
		w, wanted := want[key]
		h, ok := have[key]
		if wanted && (!ok || h.value != w) {
			changes = append(changes, topology.Change{Cluster: k.cluster(), Key: key, Have: h.value, Missing: !ok, Want: w})
		}
	}
	return changes
}

// diff is the transaction that gives a cluster's keys the wanted content, marked
// with the epoch; nil when nothing has to be written. Its first operation fails it
// when the document is no longer the one that was read, or is there now and was not.
func diff(k keyset, epoch uint64, want map[string]string, have map[string]entry) api.TxnOps {
	var ops api.TxnOps
	add := func(verb api.KVOp, key string, index uint64) {
		op := &api.KVTxnOp{Verb: verb, Key: key, Index: index}
		if verb != api.KVCheckIndex {
			op.Value, op.Flags = []byte(want[key]), epoch
		}
		ops = append(ops, &api.TxnOp{KV: op})
	}
	differs := func(key string) bool {
		w, wanted := want[key]
		h, ok := have[key]
		return wanted && (!ok || h.value != w || h.flags != epoch)
	}
	doc := k.document()
	if differs(doc) {
		add(api.KVCAS, doc, have[doc].index) // index 0: only where there is none
	} else {
		add(api.KVCheckIndex, doc, have[doc].index)
	}
	for _, key := range k.all()[1:] {
		if differs(key) {
			add(api.KVSet, key, 0)
		}
	}
	if len(ops) == 1 && ops[0].KV.Verb == api.KVCheckIndex {
		return nil
	}
	return ops
}
