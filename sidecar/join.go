package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/remora-ha/remora/consul"
	"github.com/remora-ha/remora/topology"
)

const (
	// announceEvery is how often a sidecar says that it is there, and looks for the others.
	announceEvery = time.Second
	announceTTL   = 30 * time.Second
)

// JoinConfig finds the other sidecars through a Consul service, in place of a
// list of nodes.
type JoinConfig struct {
	Consul  string `yaml:"consul"`  // the name of the Consul; default: the first
	Service string `yaml:"service"` // the service under which sidecars are registered; empty: nodes are listed
	Expect  int    `yaml:"expect"`  // how many sidecars there are
	Raft    string `yaml:"raft"`    // host:port of this node, as the others reach it
	API     string `yaml:"api"`
	Witness bool   `yaml:"witness"`
}

func (c *Config) validateJoin(bad complain) {
	j := c.Join
	switch {
	case j.Service == "":
		return
	case len(c.Nodes) > 0:
		bad("join", "nodes are listed too; keep one of the two")
		return
	case j.Expect < 1:
		bad("join.expect", "%d; say how many sidecars there are, so that none begins without the others", j.Expect)
	}
	if _, ok := c.consulNamed(j.Consul); !ok {
		bad("join.consul", "%q is none of consul's names", j.Consul)
	}
	// Until the others are found this node is all there is.
	c.Nodes = []NodeConfig{{Name: c.Node, Raft: j.Raft, API: j.API, Witness: j.Witness}}
}

// join gives the nodes of the fleet, this one among them. A node that knows them
// already, from its data directory, asks nobody: the fleet's members do not change
// by what Consul says. Else it waits until as many as are expected have registered.
func join(ctx context.Context, cfg *Config, agents []Publisher, log *slog.Logger) ([]NodeConfig, error) {
	if file := nodesFile(cfg); file != "" {
		nodes, err := readNodes(file)
		if err == nil && slices.Contains(nodes, cfg.self()) {
			return nodes, nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			return nil, fmt.Errorf("%s does not list %s with the addresses of `join`; remove the file to join anew", file, cfg.Node)
		}
	}
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for said := ""; ; {
		nodes, err := meet(ctx, cfg, agents)
		switch {
		case err == nil && len(nodes) == cfg.Join.Expect:
			return nodes, nil
		case err == nil && len(nodes) > cfg.Join.Expect:
			return nil, fmt.Errorf("join: %d sidecars are registered as service %s, %d are expected: %s; deregister what is not of this fleet, or correct join.expect",
				len(nodes), cfg.Join.Service, cfg.Join.Expect, names(nodes))
		case err == nil:
			err = fmt.Errorf("%d of %d sidecars are there: %s", len(nodes), cfg.Join.Expect, names(nodes))
		}
		if now := err.Error(); now != said {
			said = now
			log.Info("waiting for the other sidecars", "service", cfg.Join.Service, "state", said)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("join: %w: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// meet registers this node and lists all that are registered, by the first agent
// that answers.
func meet(ctx context.Context, cfg *Config, agents []Publisher) ([]NodeConfig, error) {
	var errs []error
	for _, agent := range agents {
		err := announce(ctx, cfg, agent)
		if err == nil {
			var members []consul.Member
			if members, err = agent.Members(ctx, cfg.Join.Service); err == nil {
				return nodesOf(members), nil
			}
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// announce registers this node's sidecar, with what others need to know of it.
func announce(ctx context.Context, cfg *Config, agent Publisher) error {
	self := cfg.self()
	api, err := topology.ParseAddr(self.API)
	if err != nil {
		return fmt.Errorf("join.api: %w", err)
	}
	tags := []string{"node=" + self.Name, "raft=" + self.Raft}
	if self.Witness {
		tags = append(tags, "witness")
	}
	return agent.Register(ctx, "sidecar-"+self.Name, []consul.Service{{
		Name: cfg.Join.Service, Addr: api, Tags: tags, Health: consul.Passing, TTL: announceTTL,
	}})
}

// nodesOf reads what sidecars said of themselves, sorted by name. Two agents may
// know the same one.
func nodesOf(members []consul.Member) []NodeConfig {
	var nodes []NodeConfig
	for _, m := range members {
		n := NodeConfig{API: string(m.Addr), Witness: slices.Contains(m.Tags, "witness")}
		for _, tag := range m.Tags {
			switch key, value, _ := strings.Cut(tag, "="); key {
			case "node":
				n.Name = value
			case "raft":
				n.Raft = value
			}
		}
		gone := m.Health == consul.Critical // silent for too long, or another's leftover
		if !gone && n.Name != "" && n.Raft != "" && !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, func(a, b NodeConfig) int { return strings.Compare(a.Name, b.Name) })
	return nodes
}

func names(nodes []NodeConfig) string {
	var list []string
	for _, n := range nodes {
		list = append(list, fmt.Sprintf("%s (%s)", n.Name, n.API))
	}
	return strings.Join(list, ", ")
}

func readNodes(file string) (nodes []NodeConfig, err error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &nodes); err != nil {
		return nil, fmt.Errorf("read %s: %w; remove the file to join anew", file, err)
	}
	return nodes, nil
}

// nodesFile is where the fleet is remembered; empty: nowhere.
func nodesFile(cfg *Config) string {
	if cfg.DataDir == "" {
		return ""
	}
	return filepath.Join(cfg.DataDir, "nodes.json")
}

// remember keeps the fleet for the next start, when raft has made the directory its
// own. A file that is half written does not replace one.
func remember(cfg *Config) error {
	file := nodesFile(cfg)
	if file == "" {
		return nil
	}
	raw, err := json.MarshalIndent(cfg.Nodes, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// announceAll keeps this sidecar registered until ctx ends.
func (s *Sidecar) announceAll(ctx context.Context, agents []Publisher) {
	tick := time.NewTicker(announceTTL / 3)
	defer tick.Stop()
	for {
		for _, agent := range agents {
			err := announce(ctx, &s.cfg, agent)
			if err == nil {
				break
			}
			s.log.Debug("this sidecar could not be registered", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
