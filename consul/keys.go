package consul

import (
	"strconv"
	"strings"

	"github.com/remora-ha/remora/topology"
)

// documentKey is the document's name below the cluster's key. Orchestrator has no
// such key, and templates made for it ask for theirs by name.
const documentKey = "/remora"

// keyset names a cluster's keys.
type keyset string // prefix and alias

func newKeyset(prefix, cluster string) keyset { return keyset(prefix + "/" + cluster) }

func (k keyset) document() string { return string(k) + documentKey }
func (k keyset) address() string  { return string(k) }
func (k keyset) hostname() string { return string(k) + "/hostname" }
func (k keyset) port() string     { return string(k) + "/port" }
func (k keyset) ipv4() string     { return string(k) + "/ipv4" }
func (k keyset) ipv6() string     { return string(k) + "/ipv6" }

// all are the keys, the document's first.
func (k keyset) all() []string {
	return []string{k.document(), k.address(), k.hostname(), k.port(), k.ipv4(), k.ipv6()}
}

// ips are the addresses of a host; the zero value with known set is a host that
// has none.
type ips struct {
	v4, v6 string
	known  bool
}

// entry is a key's content as stored.
type entry struct {
	value string
	flags uint64
	index uint64 // ModifyIndex
}

// want is the content that a cluster's keys shall have. The keys of a primary are
// left out where the document has none: they stay as they are. Where its IP
// addresses are not known now, those stored for the same host stay.
func want(k keyset, d topology.Document, addrs ips, have map[string]entry) map[string]string {
	w := map[string]string{k.document(): encode(d)}
	if old, ok := have[k.document()]; ok && sameBut(d, old.value) {
		w[k.document()] = old.value
	}
	if d.Primary == nil {
		return w
	}
	if !addrs.known && have[k.hostname()].value == d.Primary.Host {
		addrs.v4, addrs.v6 = have[k.ipv4()].value, have[k.ipv6()].value
	}
	w[k.address()] = string(d.Primary.Address)
	w[k.hostname()] = d.Primary.Host
	w[k.port()] = strconv.Itoa(d.Primary.Port)
	w[k.ipv4()] = addrs.v4
	w[k.ipv6()] = addrs.v6
	return w
}

// storedEpoch is the highest that a cluster's keys tell of; 0 where they tell of none.
func storedEpoch(k keyset, have map[string]entry) uint64 {
	var epoch uint64
	for _, key := range k.all() {
		epoch = max(epoch, have[key].flags)
	}
	if d, ok := decode(have[k.document()].value); ok && d.Cluster == k.cluster() {
		epoch = max(epoch, d.Epoch)
	}
	return epoch
}

func (k keyset) cluster() string { return string(k)[strings.LastIndex(string(k), "/")+1:] }
