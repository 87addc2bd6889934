package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// maxRequest bounds a request's body: a heartbeat of a large fleet fits easily.
const maxRequest = 32 << 20

// examinePatience is how long a leader may take for an examination.
const examinePatience = 12 * time.Second

// forwardedHeader marks a request that a follower passed on, so that two nodes
// which each take the other for the leader do not play ball with it.
const forwardedHeader = "X-Remora-Forwarded-By"

// Errors that a Node returns and the server turns into status codes.
var (
	ErrNotFound  = errors.New("not found")
	ErrNoLeader  = errors.New("no leader")
	ErrBadInput  = errors.New("bad request")
	ErrNotLeader = errors.New("not the leader")
	// ErrUnauthorized is a missing or wrong token; only the server itself says it.
	ErrUnauthorized = errors.New("unauthorized")
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
	// Confirm answers a sidecar that no leader answers.
	Confirm(ctx context.Context, r ConfirmRequest) (ConfirmReply, error)
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
	// Rejoin brings an instance back as a replica; it answers at the end.
	Rejoin(ctx context.Context, cluster string, r RejoinRequest) (RejoinReply, error)
	Forget(ctx context.Context, cluster string, instance topology.Addr) error
	// TransferLeadership hands the leadership over; only a leader can.
	TransferLeadership(ctx context.Context, r LeaderRequest) (LeaderReply, error)
	// ForgetNode removes a sidecar that is configured no more.
	ForgetNode(ctx context.Context, name string) error
	// NodeFenced takes a person's word that a silent node's proxy routes nothing.
	NodeFenced(ctx context.Context, name string) error
	// KV is what every store holds of a cluster, after publishing where submit is true.
	KV(ctx context.Context, cluster string, submit bool) ([]topology.Stored, error)
	// Examine looks for what is set up badly; an empty cluster means all.
	Examine(ctx context.Context, cluster string) (doctor.Report, error)
	// Mend does what an examination said that may be done without a person; only a leader does.
	Mend(ctx context.Context, r MendRequest) (MendReply, error)
	// ExamineNode is what this node says of itself and of what is beside it.
	ExamineNode(ctx context.Context) (doctor.Node, error)
	// MendProxy changes this node's own proxy.
	MendProxy(ctx context.Context, fix doctor.Fix) error
}

// NewHandler serves the API of node. With a token every request but /v1/health
// must carry it.
func NewHandler(node Node, token string, log *slog.Logger) http.Handler {
	return newServer(node, token, log).handler()
}

func (s *server) handler() http.Handler {
	node, mux := s.node, http.NewServeMux()
	mux.HandleFunc("GET /v1/health", s.health)
	mux.HandleFunc("POST /v1/heartbeat", handle(s, lenient, func(r *http.Request, h Heartbeat) (any, error) {
		return node.Heartbeat(r.Context(), h)
	}))
	mux.HandleFunc("POST /v1/confirm", handle(s, lenient, func(r *http.Request, c ConfirmRequest) (any, error) {
		return s.node.Confirm(r.Context(), c)
	}))
	mux.HandleFunc("POST /v1/probe", handle(s, lenient, func(r *http.Request, p ProbeRequest) (any, error) {
		return node.Probe(r.Context(), p)
	}))
	// Without a leader the status is the node's own view: better than nothing at 3 a.m.
	mux.HandleFunc("GET /v1/status", s.orLocally(s.patience, handle(s, strict, func(*http.Request, none) (any, error) {
		return node.Status(), nil
	})))
	mux.HandleFunc("GET /v1/doctor/node", handle(s, strict, func(r *http.Request, _ none) (any, error) {
		return node.ExamineNode(r.Context())
	}))
	mux.HandleFunc("POST /v1/doctor/node/mend", handle(s, lenient, func(r *http.Request, fix doctor.Fix) (any, error) {
		return nil, node.MendProxy(r.Context(), fix)
	}))
	mux.HandleFunc("GET /v1/doctor", s.orLocally(examinePatience, handle(s, strict, func(r *http.Request, _ none) (any, error) {
		return node.Examine(r.Context(), r.URL.Query().Get("cluster"))
	})))
	s.ofClusters(func(pattern string, h http.HandlerFunc) { mux.HandleFunc(pattern, s.onLeader(h)) })
	mux.HandleFunc("/", s.noRoute(mux))
	// A page in an operator's browser must not begin a failover: without a token
	// loopback alone is no protection from it.
	return http.NewCrossOriginProtection().Handler(s.authorized(mux))
}

// ofClusters are the routes that only the leader can answer.
func (s *server) ofClusters(leader func(pattern string, h http.HandlerFunc)) {
	node := s.node
	leader("GET /v1/clusters/{cluster}/snapshot", handle(s, strict, func(r *http.Request, _ none) (any, error) {
		return node.Snapshot(r.PathValue("cluster"))
	}))
	leader("GET /v1/clusters/{cluster}/topology", handle(s, strict, func(r *http.Request, _ none) (any, error) {
		c, err := node.Snapshot(r.PathValue("cluster"))
		if err != nil {
			return nil, err
		}
		return TopologyReply{Cluster: c.Snapshot.Cluster, Lines: topology.Lines(&c.Snapshot), Snapshot: c.Snapshot}, nil
	}))
	for _, kind := range []failover.Kind{failover.KindSwitchover, failover.KindFailover} {
		leader("POST /v1/clusters/{cluster}/"+string(kind), handle(s, strict, func(r *http.Request, q RecoveryRequest) (any, error) {
			q.Kind = kind
			return node.Recover(r.Context(), r.PathValue("cluster"), q)
		}))
	}
	leader("POST /v1/clusters/{cluster}/acknowledge", handle(s, strict, func(r *http.Request, q AcknowledgeRequest) (any, error) {
		return nil, node.Acknowledge(r.Context(), r.PathValue("cluster"), q)
	}))
	leader("POST /v1/clusters/{cluster}/downtime", handle(s, strict, func(r *http.Request, q DowntimeRequest) (any, error) {
		if q.Instance == "" {
			return nil, fmt.Errorf("%w: a downtime needs an instance, host:port", ErrBadInput)
		}
		return nil, node.Downtime(r.Context(), r.PathValue("cluster"), q)
	}))
	leader("POST /v1/clusters/{cluster}/rejoin", handle(s, strict, func(r *http.Request, q RejoinRequest) (any, error) {
		if q.Instance == "" {
			return nil, fmt.Errorf("%w: a rejoin needs an instance, host:port", ErrBadInput)
		}
		return node.Rejoin(r.Context(), r.PathValue("cluster"), q)
	}))
	leader("DELETE /v1/clusters/{cluster}/instances/{instance}", handle(s, strict, func(r *http.Request, _ none) (any, error) {
		a, err := topology.ParseAddr(r.PathValue("instance"))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadInput, err)
		}
		return nil, node.Forget(r.Context(), r.PathValue("cluster"), a)
	}))
	leader("DELETE /v1/nodes/{node}", handle(s, strict, func(r *http.Request, _ none) (any, error) {
		return nil, node.ForgetNode(r.Context(), r.PathValue("node"))
	}))
	leader("POST /v1/nodes/{node}/fenced", handle(s, strict, func(r *http.Request, _ none) (any, error) {
		return nil, node.NodeFenced(r.Context(), r.PathValue("node"))
	}))
	for method, submit := range map[string]bool{http.MethodGet: false, http.MethodPost: true} {
		leader(method+" /v1/clusters/{cluster}/kv", handle(s, strict, func(r *http.Request, _ none) (any, error) {
			stores, err := node.KV(r.Context(), r.PathValue("cluster"), submit)
			return KVReply{Cluster: r.PathValue("cluster"), Stores: stores}, err
		}))
	}
	leader("POST /v1/doctor/mend", handle(s, strict, func(r *http.Request, q MendRequest) (any, error) {
		return node.Mend(r.Context(), q)
	}))
	leader("POST /v1/leader/transfer", handle(s, strict, func(r *http.Request, q LeaderRequest) (any, error) {
		return node.TransferLeadership(r.Context(), q)
	}))
	leader("GET /v1/recoveries", handle(s, strict, func(*http.Request, none) (any, error) {
		return node.Recoveries(), nil
	}))
	leader("GET /v1/recoveries/{id}", handle(s, strict, func(r *http.Request, _ none) (any, error) {
		for _, rec := range node.Recoveries() {
			if rec.Intent.ID == r.PathValue("id") {
				return rec, nil
			}
		}
		return nil, fmt.Errorf("recovery %q: %w; `remora recoveries` lists those that are kept", r.PathValue("id"), ErrNotFound)
	}))
}

type server struct {
	node  Node
	token string
	log   *slog.Logger
	// toLeader carries what is passed on; patience bounds how long a question
	// that this node can answer as well waits for the leader.
	toLeader http.RoundTripper
	patience time.Duration
}

func newServer(node Node, token string, log *slog.Logger) *server {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // sidecars speak to each other, not through a web proxy
	return &server{node: node, token: token, log: log, toLeader: transport, patience: 2 * time.Second}
}

// none is the request type of a route without a body.
type none struct{}

// bodies says what becomes of a field that this version does not know.
type bodies bool

const (
	// strict refuses it: people ask, and a misspelled "dry_run" must not become
	// a switchover.
	strict bodies = true
	// lenient ignores it: sidecars of two versions speak to each other.
	lenient bodies = false
)

func handle[In any](s *server, how bodies, do func(*http.Request, In) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		if _, empty := any(in).(none); !empty {
			if err := decode(http.MaxBytesReader(w, r.Body, maxRequest), how, &in); err != nil {
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

// decode reads exactly one JSON value.
func decode(body io.Reader, how bodies, in any) error {
	dec := json.NewDecoder(body)
	if how == strict {
		dec.DisallowUnknownFields()
	}
	switch err := dec.Decode(in); {
	case errors.Is(err, io.EOF):
		return errors.New("it is empty")
	case err != nil:
		return err
	}
	var tooLarge *http.MaxBytesError
	if _, err := dec.Token(); errors.As(err, &tooLarge) {
		return err
	} else if !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	return nil
}

// write sends an answer. What cannot be spelled is an error, not half an answer.
func (s *server) write(w http.ResponseWriter, status int, out any) {
	raw, err := json.Marshal(out)
	if err != nil {
		s.log.Error("an answer could not be spelled", "error", err)
		status, raw = http.StatusInternalServerError, []byte(`{"error":"the answer could not be spelled as JSON; this is an error of Remora, see its log"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(append(raw, '\n')); err != nil {
		s.log.Debug("the answer did not reach its client", "error", err)
	}
}

func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	reply := ErrorReply{Error: err.Error()}
	var refused *RefusedError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &refused):
		status, reply.Refusals, reply.Checks = http.StatusConflict, refused.Refusals, refused.Checks
	case errors.As(err, &tooLarge):
		status = http.StatusRequestEntityTooLarge
		reply.Error = fmt.Sprintf("%v: the body is longer than %d MiB", ErrBadInput, tooLarge.Limit>>20)
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

// noRoute answers what no route of the mux takes: with 405 where another method
// would have been right.
func (s *server) noRoute(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			other := r.Clone(r.Context())
			other.Method = method
			if _, pattern := mux.Handler(other); strings.HasPrefix(pattern, method+" ") {
				allowed = append(allowed, method)
			}
		}
		if len(allowed) == 0 {
			s.fail(w, r, fmt.Errorf("%s %s: %w; docs/api.md lists the routes", r.Method, r.URL.Path, ErrNotFound))
			return
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		s.write(w, http.StatusMethodNotAllowed, ErrorReply{Error: fmt.Sprintf("%s %s: wrong method; this route takes %s", r.Method, r.URL.Path, strings.Join(allowed, ", "))})
	}
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
	want := sha256.Sum256([]byte(s.token)) // of one length, so that not even the token's shows in the time
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		given := sha256.Sum256([]byte(token))
		right := subtle.ConstantTimeCompare(given[:], want[:]) == 1
		if r.URL.Path != "/v1/health" && (!bearer || !right) {
			w.Header().Set("WWW-Authenticate", "Bearer")
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

// orLocally is onLeader for what a follower can answer when it must: also when
// the leader is there and says nothing.
func (s *server) orLocally(patience time.Duration, local http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, here := s.node.Leader(); here {
			local(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		s.forward(w, r.WithContext(ctx), func(error) { local(w, r) })
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
		Transport: s.toLeader,
		ErrorLog:  slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	proxy.ServeHTTP(w, r)
}
