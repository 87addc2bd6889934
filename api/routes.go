package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
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

func (s *server) handler() http.Handler {
	node, mux := s.node, http.NewServeMux()
	mux.HandleFunc("GET /v1/health", s.health)
	mux.HandleFunc("POST /v1/heartbeat", handle(s, lenient, func(r *http.Request, h Heartbeat) (any, error) {
		h.shareTexts()
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
		if st, ok := out.(Status); ok {
			s.stream(w, st)
		} else {
			s.write(w, http.StatusOK, out)
		}
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
