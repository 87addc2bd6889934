package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/remora-ha/remora/topology"
)

// filterRung has the kernel reject what ProxySQL's user sends to a cluster's
// servers, all of them: which one a proxy that does not answer takes for the
// writer is not known. It needs nft and CAP_NET_ADMIN, and that ProxySQL runs as a
// user of its own, in this network namespace.
type filterRung struct {
	uid     int
	timeout time.Duration
}

func (filterRung) how() Cut { return Cut{"packet filter", true} }

func (r filterRung) cut(ctx context.Context, cluster string, servers []topology.Addr) error {
	rules, err := r.rules(ctx, cluster, servers)
	if err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	if err := (command{[]string{"nft", rules}, r.timeout}).run(ctx, "fence", cluster, servers); err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	return nil
}

func (r filterRung) release(ctx context.Context, cluster string) error {
	if err := (command{[]string{"nft", forgetTable(cluster)}, r.timeout}).run(ctx, "release", cluster, nil); err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	return nil
}

// forgetTable removes the cluster's rules, if there are any.
func forgetTable(cluster string) string {
	table := "inet remora_" + cluster
	return fmt.Sprintf("add table %s; delete table %[1]s", table)
}

// rules replace the cluster's rules in one transaction. A connection is reset by
// its next packet.
func (r filterRung) rules(ctx context.Context, cluster string, servers []topology.Addr) (string, error) {
	if len(servers) == 0 {
		return "", fmt.Errorf("no server of %s is known", cluster)
	}
	table := "inet remora_" + cluster
	list := []string{
		forgetTable(cluster), "add table " + table,
		"add chain " + table + " out { type filter hook output priority -150; }",
	}
	for _, s := range servers {
		ips, err := resolve(ctx, s.Host())
		if err != nil {
			return "", err
		}
		for _, ip := range ips {
			family := "ip"
			if ip.To4() == nil {
				family = "ip6"
			}
			list = append(list, fmt.Sprintf("add rule %s out meta skuid %d %s daddr %s tcp dport %d reject with tcp reset", table, r.uid, family, ip, s.Port()))
		}
	}
	slices.Sort(list[3:])
	return strings.Join(slices.Compact(list), "; "), nil
}

func resolve(ctx context.Context, host string) ([]net.IP, error) {
	if ip := net.ParseIP(host); ip != nil {
		return []net.IP{ip}, nil
	}
	addrs, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, errors.New(host + " has no address")
	}
	ips := make([]net.IP, len(addrs))
	for i, a := range addrs {
		ips[i] = a.IP
	}
	return ips, nil
}
