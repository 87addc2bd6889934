package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/sidecar"
)

const (
	defaultPort = "3030"
	defaultNode = "127.0.0.1:" + defaultPort
	// defaultTimeout is how long one node may take to answer.
	defaultTimeout = 5 * time.Second
)

// fleet is the sidecars that a command may ask, in order.
type fleet struct {
	nodes     []string
	token     string
	transport http.RoundTripper
	timeout   time.Duration // of one node's answer
}

// fleet finds the sidecars and the token by flag, environment, configuration
// and default, in this order.
func (a *app) fleet() (*fleet, error) {
	f := &fleet{transport: a.transport, timeout: a.flags.timeout}
	if f.timeout <= 0 {
		return nil, fmt.Errorf("--timeout %s: give a time such as 5s", f.timeout)
	}
	file := a.configFile()
	var cfg clientConfig
	if file != "" {
		var err error
		if cfg, err = readClientConfig(file); err != nil {
			return nil, err
		}
	}
	f.nodes = a.flags.nodes
	if len(f.nodes) == 0 {
		f.nodes = strings.Split(a.getenv("REMORA_NODES"), ",")
	}
	f.nodes = addresses(f.nodes)
	if len(f.nodes) == 0 {
		f.nodes = addresses(cfg.addresses())
	}
	if len(f.nodes) == 0 {
		f.nodes = []string{defaultNode}
	}
	var err error
	f.token, err = a.token(cfg)
	return f, err
}

func (a *app) configFile() string {
	if a.flags.config != "" {
		return a.flags.config
	}
	return a.getenv("REMORA_CONFIG")
}

// token reads the API token; errors name its place only.
func (a *app) token(cfg clientConfig) (string, error) {
	if a.flags.tokenFile != "" {
		token, err := sidecar.Secret{File: a.flags.tokenFile}.Read()
		if err != nil {
			return "", fmt.Errorf("reading the API token of --token-file: %w", err)
		}
		return token, nil
	}
	if token := a.getenv("REMORA_TOKEN"); token != "" {
		return token, nil
	}
	token, err := cfg.API.Token.Read()
	if err != nil {
		return "", fmt.Errorf("reading the API token that %s names: %w\ngive it with --token-file or in REMORA_TOKEN", a.configFile(), err)
	}
	return token, nil
}

// clientConfig is what a client needs of a sidecar's configuration. It is read
// leniently: who may ask a sidecar need not be allowed to read its passwords.
type clientConfig struct {
	Node  string               `yaml:"node"`
	Nodes []sidecar.NodeConfig `yaml:"nodes"`
	API   sidecar.APIConfig    `yaml:"api"`
	// ProxySQL is read for the watchdog.
	ProxySQL sidecar.ProxySQLConfig `yaml:"proxysql"`
}

func readClientConfig(file string) (cfg clientConfig, err error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return cfg, fmt.Errorf("looking for the nodes in the configuration: %w\nname them with --node HOST:PORT or in REMORA_NODES instead", err)
	}
	if err := yaml.Unmarshal(raw, &cfg); err != nil {
		return cfg, fmt.Errorf("looking for the nodes in the configuration %s: %w\n`remora config check %s` says more", file, err, file)
	}
	return cfg, nil
}

// addresses lists the nodes, the one that the file belongs to first.
func (c clientConfig) addresses() []string {
	var list []string
	for _, n := range c.Nodes {
		if n.Name == c.Node {
			list = slices.Insert(list, 0, n.API)
			continue
		}
		list = append(list, n.API)
	}
	return list
}

// addresses trims a list of nodes; a host alone gets the default port.
func addresses(list []string) []string {
	var out []string
	for _, n := range list {
		n = strings.TrimSpace(n)
		if n == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(n); err != nil && !strings.Contains(n, "://") {
			n = net.JoinHostPort(strings.Trim(n, "[]"), defaultPort)
		}
		out = append(out, n)
	}
	return out
}

// attempt is what one node said to a request.
type attempt struct {
	node string
	err  error
}

// unansweredError says that no node gave a final answer.
type unansweredError struct {
	what     string
	attempts []attempt
}

// next says what to do about it.
func (e *unansweredError) next() string {
	for _, t := range e.attempts {
		var answer *api.Error
		if errors.As(t.err, &answer) {
			return "the sidecars may be electing a leader: try again; `remora status` shows who is heard"
		}
	}
	return "is a sidecar running there? name others with --node HOST:PORT or in REMORA_NODES"
}

func (e *unansweredError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: no node could answer:", e.what)
	for _, t := range e.attempts {
		fmt.Fprintf(&b, "\n- %s: %s", t.node, t.why())
	}
	b.WriteString("\n" + e.next())
	return b.String()
}

// note keeps what a node said, in the place of what it said before. It says
// whether the request may have arrived all the same.
func (e *unansweredError) note(node string, err error) (doubt bool) {
	var op *net.OpError
	doubt = !errors.As(err, &op) || op.Op != "dial"
	for i := range e.attempts {
		if e.attempts[i].node == node {
			e.attempts[i].err = err
			return doubt
		}
	}
	e.attempts = append(e.attempts, attempt{node, err})
	return doubt
}

func (t attempt) why() string {
	var answer *api.Error
	if errors.As(t.err, &answer) {
		return answer.ErrorReply.Error
	}
	if errors.Is(t.err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	var op *net.OpError
	if errors.As(t.err, &op) {
		return op.Error()
	}
	return t.err.Error()
}

// final says whether another node would answer the same: it was understood, and
// the answer is no.
func final(err error) bool {
	var answer *api.Error
	return errors.As(err, &answer) && answer.Status < 500
}

// ask tries the nodes in order until one gives a final answer.
func ask[T any](ctx context.Context, f *fleet, what string, do func(context.Context, *api.Client) (T, error)) (T, error) {
	var none T
	unanswered := &unansweredError{what: what}
	for _, node := range slices.Clone(f.nodes) {
		v, err := askOne(ctx, f, node, do)
		switch {
		case err == nil:
			f.prefer(node)
			return v, nil
		case final(err):
			return none, fmt.Errorf("%s: %w", what, err)
		case ctx.Err() != nil:
			return none, fmt.Errorf("%s: %w", what, ctx.Err())
		}
		unanswered.note(node, err)
	}
	return none, unanswered
}

// askOnce is ask for what must not be asked for twice: another node is tried only
// where a node cannot have heard of it. In doubt says that one may have.
func askOnce[T any](ctx context.Context, f *fleet, what string, do func(context.Context, *api.Client) (T, error)) (v T, inDoubt bool, err error) {
	unanswered := &unansweredError{what: what}
	for _, node := range slices.Clone(f.nodes) {
		v, err = askOne(ctx, f, node, do)
		switch {
		case err == nil:
			return v, false, nil
		case final(err):
			return v, false, fmt.Errorf("%s: %w", what, err)
		case unanswered.note(node, err):
			return v, true, unanswered
		}
	}
	return v, false, unanswered
}

// prefer asks a node first from now on: it has answered.
func (f *fleet) prefer(node string) {
	if i := slices.Index(f.nodes, node); i > 0 {
		f.nodes = slices.Insert(slices.Delete(slices.Clone(f.nodes), i, i+1), 0, node)
	}
}

func askOne[T any](ctx context.Context, f *fleet, node string, do func(context.Context, *api.Client) (T, error)) (T, error) {
	bounded, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	return do(bounded, api.NewClient(node, f.token, f.transport))
}

// tell is ask for a request without an answer.
func tell(ctx context.Context, f *fleet, what string, do func(context.Context, *api.Client) error) error {
	_, err := ask(ctx, f, what, func(ctx context.Context, c *api.Client) (struct{}, error) { return struct{}{}, do(ctx, c) })
	return err
}
