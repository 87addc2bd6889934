package api

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// maxRequest bounds a request's body: a heartbeat of a large fleet fits easily.
const maxRequest = 32 << 20

// forwardedHeader marks a request that a follower passed on, so that two nodes
// which each take the other for the leader do not play ball with it.
const forwardedHeader = "X-Remora-Forwarded-By"

// Errors that a Node returns and the server turns into status codes.
var (
	ErrNotFound  = errors.New("not found")
	ErrNoLeader  = errors.New("no leader")
	ErrBadInput  = errors.New("bad request")
	ErrNotLeader = errors.New("not the leader")
)

// RefusedError says that Remora declines, with the reasons.
type RefusedError struct {
	Sentence string
	Refusals []failover.Refusal
	Checks   []failover.Check
}

func (e *RefusedError) Error() string { return e.Sentence }

// Node is the sidecar behind the server.
type Node interface {
	// Name is the node's own.
	Name() string
	// Leader is the base URL of the leader's API; local says that it is this
	// node. An empty base means that none is known.
	Leader() (base string, local bool)
	// Heartbeat takes another sidecar's report; only a leader answers it.
	Heartbeat(ctx context.Context, h Heartbeat) (HeartbeatReply, error)
	// Probe reads instances now.
	Probe(ctx context.Context, r ProbeRequest) (ProbeReply, error)
	// Status is what this node knows of the fleet.
	Status() Status
	// Snapshot is the case of one cluster.
	Snapshot(cluster string) (failover.Case, error)
	// Recover begins a switchover or a forced failover.
	Recover(ctx context.Context, cluster string, r RecoveryRequest) (RecoveryReply, error)
	// Recoveries lists all, newest first.
	Recoveries() []failover.Recovery
	Acknowledge(ctx context.Context, cluster string, r AcknowledgeRequest) error
	Downtime(ctx context.Context, cluster string, r DowntimeRequest) error
	Forget(ctx context.Context, cluster string, instance topology.Addr) error
}

// NewHandler serves the API of node. With a token every request but /v1/health
// must carry it.
func NewHandler(node Node, token string, log *slog.Logger) http.Handler {
	s := &server{node: node, token: token, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/health", s.health)
	mux.HandleFunc("POST /v1/heartbeat", handle(s, func(r *http.Request, h Heartbeat) (any, error) {
		return node.Heartbeat(r.Context(), h)
	}))
	mux.HandleFunc("POST /v1/probe", handle(s, func(r *http.Request, p ProbeRequest) (any, error) {
		return node.Probe(r.Context(), p)
	}))
	// Without a leader the status is the node's own view: better than nothing at 3 a.m.
	mux.HandleFunc("GET /v1/status", s.orLocally(handle(s, func(*http.Request, none) (any, error) {
		return node.Status(), nil
	})))
	leader := func(pattern string, h http.HandlerFunc) { mux.HandleFunc(pattern, s.onLeader(h)) }
	leader("GET /v1/clusters/{cluster}/snapshot", handle(s, func(r *http.Request, _ none) (any, error) {
		return node.Snapshot(r.PathValue("cluster"))
	}))
	leader("GET /v1/clusters/{cluster}/topology", handle(s, func(r *http.Request, _ none) (any, error) {
		c, err := node.Snapshot(r.PathValue("cluster"))
		if err != nil {
			return nil, err
		}
		return TopologyReply{Cluster: c.Snapshot.Cluster, Lines: topology.Lines(&c.Snapshot), Snapshot: c.Snapshot}, nil
	}))
	for _, kind := range []failover.Kind{failover.KindSwitchover, failover.KindFailover} {
		leader("POST /v1/clusters/{cluster}/"+string(kind), handle(s, func(r *http.Request, q RecoveryRequest) (any, error) {
			q.Kind = kind
			return node.Recover(r.Context(), r.PathValue("cluster"), q)
		}))
	}
	leader("POST /v1/clusters/{cluster}/acknowledge", handle(s, func(r *http.Request, q AcknowledgeRequest) (any, error) {
		return nil, node.Acknowledge(r.Context(), r.PathValue("cluster"), q)
	}))
	leader("POST /v1/clusters/{cluster}/downtime", handle(s, func(r *http.Request, q DowntimeRequest) (any, error) {
		return nil, node.Downtime(r.Context(), r.PathValue("cluster"), q)
	}))
	leader("DELETE /v1/clusters/{cluster}/instances/{instance}", handle(s, func(r *http.Request, _ none) (any, error) {
		a, err := topology.ParseAddr(r.PathValue("instance"))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadInput, err)
		}
		return nil, node.Forget(r.Context(), r.PathValue("cluster"), a)
	}))
	leader("GET /v1/recoveries", handle(s, func(*http.Request, none) (any, error) {
		return node.Recoveries(), nil
	}))
	leader("GET /v1/recoveries/{id}", handle(s, func(r *http.Request, _ none) (any, error) {
		for _, rec := range node.Recoveries() {
			if rec.Intent.ID == r.PathValue("id") {
				return rec, nil
			}
		}
		return nil, fmt.Errorf("recovery %q: %w; `remora recoveries` lists those that are kept", r.PathValue("id"), ErrNotFound)
	}))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, fmt.Errorf("%s %s: %w; docs/api.md lists the routes", r.Method, r.URL.Path, ErrNotFound))
	})
	return s.authorized(mux)
}

type server struct {
	node  Node
	token string
	log   *slog.Logger
}

// none is the request type of a route without a body.
type none struct{}

func handle[In any](s *server, do func(*http.Request, In) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		if _, empty := any(in).(none); !empty {
			dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
			if err := dec.Decode(&in); err != nil {
				s.fail(w, r, fmt.Errorf("%w: the body is not the JSON that %s %s takes: %w", ErrBadInput, r.Method, r.URL.Path, err))
				return
			}
		}
		out, err := do(r, in)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if out == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		s.write(w, http.StatusOK, out)
	}
}

func (s *server) write(w http.ResponseWriter, status int, out any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(out); err != nil {
		s.log.Debug("the answer did not reach its client", "error", err)
	}
}

func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	reply := ErrorReply{Error: err.Error()}
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		status, reply.Refusals, reply.Checks = http.StatusConflict, refused.Refusals, refused.Checks
	case errors.Is(err, ErrBadInput):
		status = http.StatusBadRequest
	case errors.Is(err, ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, ErrNoLeader), errors.Is(err, ErrNotLeader):
		status = http.StatusServiceUnavailable
	}
	s.log.Debug("request failed", "method", r.Method, "path", r.URL.Path, "status", status, "error", err)
	s.write(w, status, reply)
}

// health says that the process serves; it tells nothing that needs a token.
func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	base, local := s.node.Leader()
	s.write(w, http.StatusOK, map[string]any{"node": s.node.Name(), "leader": local, "has_leader": base != ""})
}

func (s *server) authorized(next http.Handler) http.Handler {
	if s.token == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if r.URL.Path != "/v1/health" && subtle.ConstantTimeCompare([]byte(given), []byte(s.token)) != 1 {
			s.write(w, http.StatusUnauthorized, ErrorReply{Error: "the API token is missing or wrong; give it with --token-file or in REMORA_TOKEN"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// onLeader passes the request to the leader unless this node leads.
func (s *server) onLeader(local http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, here := s.node.Leader(); here {
			local(w, r)
			return
		}
		s.forward(w, r, func(err error) { s.fail(w, r, err) })
	}
}

// orLocally is onLeader for what a follower can answer when it must.
func (s *server) orLocally(local http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, here := s.node.Leader(); here {
			local(w, r)
			return
		}
		s.forward(w, r, func(error) { local(w, r) })
	}
}

// forward proxies to the leader; failed is called when nothing was answered yet.
func (s *server) forward(w http.ResponseWriter, r *http.Request, failed func(error)) {
	base, _ := s.node.Leader()
	if base == "" {
		failed(fmt.Errorf("%w is known to %s; a majority of the sidecars must reach each other, see `remora status`", ErrNoLeader, s.node.Name()))
		return
	}
	if by := r.Header.Get(forwardedHeader); by != "" {
		failed(fmt.Errorf("%w: %s passed this on to %s, which does not lead either (an election is going on); try again", ErrNoLeader, by, s.node.Name()))
		return
	}
	target, err := url.Parse(base)
	if err != nil {
		failed(fmt.Errorf("%w: the leader's API address %q: %w", ErrNoLeader, base, err))
		return
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Header.Set(forwardedHeader, s.node.Name())
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) {
			failed(fmt.Errorf("%w: %s did not get an answer from the leader at %s: %w", ErrNoLeader, s.node.Name(), base, err))
		},
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	proxy.ServeHTTP(w, r)
}
