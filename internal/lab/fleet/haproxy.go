package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// outsideNode is what belongs to one node's HAProxy.
type outsideNode struct {
	file, stats    string
	writer, reader string // host:port that clients connect to
}

func (f *Fleet) startConsul(ctx context.Context) error {
	binary, err := lab.ConsulBinary(ctx, os.Stderr)
	if err != nil {
		return err
	}
	if f.Consul, err = f.Lab.Consul(ctx, lab.ConsulOptions{Name: "consul", Binary: binary}); err != nil {
		return err
	}
	for i := range f.Proxies {
		n := outsideNode{file: filepath.Join(f.Lab.Dir(), fmt.Sprintf("haproxy%d.cfg", i+1))}
		for _, addr := range []*string{&n.stats, &n.writer, &n.reader} {
			if *addr, err = f.Lab.Addr(); err != nil {
				return err
			}
		}
		f.nodes = append(f.nodes, n)
	}
	return nil
}

// outside is the part of a node's configuration that is about Consul and HAProxy.
func (f *Fleet) outside(i int) string {
	if f.Consul == nil {
		return ""
	}
	n, dir := f.nodes[i], f.haproxyDir(i)
	port := func(addr string) string { return addr[strings.LastIndex(addr, ":")+1:] }
	return fmt.Sprintf(`consul:
  - {name: lab, addresses: [%q], wait: 2s}
templates:
  - source: embedded:haproxy.cfg.ctmpl
    destination: %q
    check: [haproxy, -c, -q, -f, "{file}"]
    # Before HAProxy's first start there is nobody to tell.
    reload: [/bin/sh, -c, "test ! -s %[3]s/pid || kill -USR2 $(cat %[3]s/pid)"]
    haproxy_socket: %[3]s/master.sock
    env:
      REMORA_HAPROXY_PORTS: %[4]s=%[5]s/%[6]s
      REMORA_HAPROXY_STATS: %[7]q
      REMORA_HAPROXY_SOCKET: %[3]s/stats.sock
`, f.Consul.Addr, n.file, dir, Cluster, port(n.writer), port(n.reader), n.stats)
}

// join is what a node says in place of the list of nodes.
func (f *Fleet) join(i int) string {
	return fmt.Sprintf("join: {service: remora, expect: %d, raft: %q, api: %q}\n", len(f.APIs), f.rafts[i], f.APIs[i])
}

func (f *Fleet) haproxyDir(i int) string { return filepath.Join(f.Lab.Dir(), haproxyName(i)) }

func haproxyName(i int) string { return fmt.Sprintf("haproxy%d", i+1) }

// startHAProxys waits for each node's first configuration and starts its HAProxy.
func (f *Fleet) startHAProxys(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for i, n := range f.nodes {
		err := lab.Eventually(bounded, n.file+" is rendered with a writer", 20*time.Millisecond, func() (bool, string) {
			writer, epoch, err := f.Rendered(i)
			return err == nil && writer != "none", fmt.Sprintf("epoch %s, writer %s, %v", epoch, writer, err)
		})
		if err != nil {
			return fmt.Errorf("%w\n%s", err, f.logs())
		}
		h, err := f.Lab.HAProxy(ctx, lab.HAProxyOptions{Name: haproxyName(i), File: n.file})
		if err != nil {
			return err
		}
		f.HAProxys = append(f.HAProxys, h)
	}
	return nil
}

// Rendered is what the configuration of a node's HAProxy says that it was made
// from: the epoch, and the writer or "none".
func (f *Fleet) Rendered(i int) (writer, epoch string, err error) {
	raw, err := os.ReadFile(f.nodes[i].file)
	if err != nil {
		return "", "", err
	}
	_, line, _ := strings.Cut(string(raw), "# cluster "+Cluster+" epoch ")
	line, _, _ = strings.Cut(line, "\n")
	epoch, writer, found := strings.Cut(line, " writer ")
	if !found {
		return "", "", fmt.Errorf("%s names no cluster", f.nodes[i].file)
	}
	return writer, epoch, nil
}

// HAProxyAddrs are where clients that write connect to the HAProxys.
func (f *Fleet) HAProxyAddrs() []string {
	addrs := make([]string, len(f.nodes))
	for i, n := range f.nodes {
		addrs[i] = n.writer
	}
	return addrs
}

// Published is the cluster's document in Consul.
func (f *Fleet) Published(ctx context.Context) (d topology.Document, err error) {
	status, answer, err := f.Consul.Call(ctx, http.MethodGet, "/v1/kv/mysql/master/"+Cluster+"/remora?raw", "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("consul answers %d: %s", status, answer)
	}
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal([]byte(answer), &d)
}
