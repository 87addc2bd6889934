package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

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

// stream sends a status cluster by cluster: of thousands it is megabytes, which the leader would keep for long after it was asked once.
func (s *server) stream(w http.ResponseWriter, st Status) {
	clusters := st.Clusters
	st.Clusters = st.Clusters[:0]
	raw, err := json.Marshal(st)
	if err != nil || !bytes.HasSuffix(raw, []byte("[]}")) { // the clusters come last; null for none
		st.Clusters = clusters
		s.write(w, http.StatusOK, st)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	out := json.NewEncoder(w)
	_, err = w.Write(raw[:len(raw)-len("]}")])
	for i := range clusters {
		if i > 0 && err == nil {
			_, err = io.WriteString(w, ",")
		}
		if err == nil {
			err = out.Encode(&clusters[i])
		}
	}
	if err == nil {
		_, err = io.WriteString(w, "]}\n")
	}
	if err != nil {
		s.log.Debug("the status did not reach its client", "error", err)
		panic(http.ErrAbortHandler) // so that half of it is taken for no answer
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
