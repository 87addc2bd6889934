package main

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// fakeNode is a sidecar as the API sees it. Requests are recorded; answers are
// what the test says.
type fakeNode struct {
	name   string
	leader string // base URL of another node; "" and !leads: none is known
	leads  bool

	status  api.Status
	reply   api.RecoveryReply
	refused error
	// rejoinFails is how a rejoin fails on its way.
	rejoinFails error
	// history is what Recoveries answers, one after the other; the last stays.
	history [][]failover.Recovery

	mu        sync.Mutex
	asked     []api.RecoveryRequest
	acks      []api.AcknowledgeRequest
	downtimes []api.DowntimeRequest
	submits   []bool
	stored    []topology.Stored
	forgotten []topology.Addr
	transfers []api.LeaderRequest
	rejoins   []api.RejoinRequest
	nodes     []string
	reports   []doctor.Report // one an examination, the last stays
	mends     []api.MendRequest
}

func (n *fakeNode) Name() string           { return n.name }
func (n *fakeNode) Leader() (string, bool) { return n.leader, n.leads }
func (n *fakeNode) Status() api.Status     { return n.status }
func (n *fakeNode) Heartbeat(context.Context, api.Heartbeat) (api.HeartbeatReply, error) {
	return api.HeartbeatReply{}, nil
}
func (n *fakeNode) Probe(context.Context, api.ProbeRequest) (api.ProbeReply, error) {
	return api.ProbeReply{}, nil
}

func (n *fakeNode) Snapshot(cluster string) (failover.Case, error) {
	if cluster != "main" {
		return failover.Case{}, api.ErrNotFound
	}
	policy := failover.DefaultPolicy()
	policy.Hooks.BeforeFailover = []failover.Hook{{Command: "may-fail-over {failureClusterAlias} {failedHost}"}}
	return failover.Case{
		Version:  failover.CaseVersion,
		Snapshot: topology.Snapshot{Cluster: cluster, Taken: noon, Observers: []string{"r1"}, Route: topology.Route{Cluster: cluster, Epoch: 42, Writer: "a:3306", Mode: topology.Open}},
		Policy:   policy,
	}, nil
}

func (n *fakeNode) Recover(_ context.Context, _ string, r api.RecoveryRequest) (api.RecoveryReply, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, r)
	if r.DryRun {
		return n.reply, nil
	}
	return api.RecoveryReply{Recovery: r.ID}, n.refused
}

func (n *fakeNode) Recoveries() []failover.Recovery {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.history) == 0 {
		return []failover.Recovery{}
	}
	now := n.history[0]
	if len(n.history) > 1 {
		n.history = n.history[1:]
	}
	return now
}

func (n *fakeNode) Acknowledge(_ context.Context, _ string, r api.AcknowledgeRequest) error {
	n.acks = append(n.acks, r)
	return n.refused
}

func (n *fakeNode) Downtime(_ context.Context, _ string, r api.DowntimeRequest) error {
	n.downtimes = append(n.downtimes, r)
	return n.refused
}

// Rejoin would, or does; a dry run is told from the real thing.
func (n *fakeNode) Rejoin(_ context.Context, _ string, r api.RejoinRequest) (api.RejoinReply, error) {
	n.rejoins = append(n.rejoins, r)
	step := failover.Step{Do: failover.Discard, Target: r.Instance, Why: "it holds 5 transactions"}
	if r.DryRun {
		return api.RejoinReply{Plan: []failover.Step{step}, Rows: 7}, n.refused
	}
	return api.RejoinReply{Steps: []failover.StepResult{{Step: step}}}, cmp.Or(n.refused, n.rejoinFails)
}

func (n *fakeNode) Forget(_ context.Context, _ string, a topology.Addr) error {
	n.forgotten = append(n.forgotten, a)
	return n.refused
}

func (n *fakeNode) TransferLeadership(_ context.Context, r api.LeaderRequest) (api.LeaderReply, error) {
	n.transfers = append(n.transfers, r)
	if r.To == "" {
		r.To = "r3"
	}
	return api.LeaderReply{From: "r1", To: r.To}, n.refused
}

func (n *fakeNode) Confirm(context.Context, api.ConfirmRequest) (api.ConfirmReply, error) {
	return api.ConfirmReply{}, nil
}

func (n *fakeNode) ForgetNode(_ context.Context, name string) error {
	n.nodes = append(n.nodes, "forget "+name)
	return n.refused
}

func (n *fakeNode) NodeFenced(_ context.Context, name string) error {
	n.nodes = append(n.nodes, "fenced "+name)
	return n.refused
}

func (n *fakeNode) KV(_ context.Context, _ string, submit bool) ([]topology.Stored, error) {
	n.submits = append(n.submits, submit)
	return n.stored, n.refused
}

func (n *fakeNode) Examine(context.Context, string) (doctor.Report, error) {
	r := n.reports[0]
	if len(n.reports) > 1 {
		n.reports = n.reports[1:]
	}
	return r, n.refused
}

func (n *fakeNode) Mend(_ context.Context, r api.MendRequest) (api.MendReply, error) {
	n.mends = append(n.mends, r)
	var reply api.MendReply
	for _, fix := range r.Fixes {
		reply.Results = append(reply.Results, api.MendResult{Fix: fix})
	}
	return reply, n.refused
}

func (n *fakeNode) ExamineNode(context.Context) (doctor.Node, error) { return doctor.Node{}, nil }
func (n *fakeNode) MendProxy(context.Context, doctor.Fix) error      { return nil }

// handler is the node's API without a socket.
func (n *fakeNode) handler() http.Handler {
	return api.NewHandler(n, "", slog.New(slog.DiscardHandler))
}

// serve puts the node's API on a socket and names it.
func (n *fakeNode) serve(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(n.handler())
	t.Cleanup(s.Close)
	return s.URL
}

// wire is a network without sockets, for tests in virtual time. A host that is
// not on it refuses connections.
type wire map[string]http.Handler

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	h, ok := w[r.URL.Host]
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if rec.Code == lost {
		return nil, io.ErrUnexpectedEOF
	}
	return rec.Result(), nil
}

// lost as a status stands for a connection that broke before the answer.
const lost = 999

// losing carries out a number of requests whose answers get lost, then answers.
func losing(times int, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && times > 0 {
			times--
			h.ServeHTTP(httptest.NewRecorder(), r)
			w.WriteHeader(lost)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// outcome is what a command line gave.
type outcome struct {
	code     int
	out, err string
}

// cli is a command line on a machine of its own.
type cli struct {
	env       map[string]string
	in        string
	asks      bool
	live      bool
	transport http.RoundTripper
	ctx       context.Context
}

func (c cli) run(t *testing.T, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{
		in: strings.NewReader(c.in), out: &out, err: &errs, asks: c.asks, live: c.live, zone: time.UTC,
		getenv: func(key string) string { return c.env[key] }, transport: c.transport,
		newID: func() string { return "S1" }, user: func() string { return "alice" },
	}
	ctx := c.ctx
	if ctx == nil {
		ctx = t.Context()
	}
	code := a.run(ctx, args)
	return outcome{code, out.String(), errs.String()}
}

// want checks the exit code, and that the output holds each of the texts.
func (o outcome) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d", o.code, code)
	}
	for _, text := range texts {
		if !strings.Contains(o.out+o.err, text) {
			t.Errorf("the output lacks %q", text)
		}
	}
	if t.Failed() {
		t.Logf("stdout:\n%s\nstderr:\n%s", o.out, o.err)
	}
}
