package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/failover"
)

// onLeader are requests that only a leader can answer.
var onLeader = map[string]func(context.Context, *Client) error{
	"topology": func(ctx context.Context, c *Client) error { _, err := c.Topology(ctx, "main"); return err },
	"recover": func(ctx context.Context, c *Client) error {
		_, err := c.Recover(ctx, "main", RecoveryRequest{Request: failover.Request{Kind: failover.KindFailover}})
		return err
	},
	"kv": func(ctx context.Context, c *Client) error { _, err := c.KV(ctx, "main", true); return err },
	"transfer": func(ctx context.Context, c *Client) error {
		_, err := c.TransferLeadership(ctx, LeaderRequest{})
		return err
	},
	"mend":   func(ctx context.Context, c *Client) error { _, err := c.Mend(ctx, MendRequest{}); return err },
	"forget": func(ctx context.Context, c *Client) error { return c.Forget(ctx, "main", "db1:3306") },
}

func TestWithoutALeaderOnlyTheStatusIsAnswered(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	for name, tc := range map[string]struct{ leader, want string }{
		"none known":       {"", "no leader is known to n2; a majority of the sidecars must reach each other"},
		"nobody listens":   {dead.URL, "no leader: n2 did not get an answer from the leader at " + dead.URL + ": dial tcp"},
		"a bad address":    {"http://a b", `no leader: the leader's API address "http://a b"`},
		"an empty address": {"http://", "no leader: n2 did not get an answer from the leader at http://: "},
	} {
		t.Run(name, func(t *testing.T) {
			n := &fakeNode{name: "n2", leader: tc.leader, status: Status{Node: "n2"}}
			c := client(t, serve(t, n, ""), "")
			for what, do := range onLeader {
				if err := do(t.Context(), c); !errors.Is(err, ErrNoLeader) || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s: %v, want %s", what, err, tc.want)
				}
			}
			wantAsked(t, n)
			status, err := c.Status(t.Context())
			wantAnswer(t, n.status, status, err)
			report, err := c.Examine(t.Context(), "main") // a doctor who waits for a leader is no help
			wantAnswer(t, n.report, report, err)
		})
	}
}

// Two nodes that each take the other for the leader pass a request on once.
func TestARequestIsPassedOnOnce(t *testing.T) {
	a, b := &fakeNode{name: "a"}, &fakeNode{name: "b", status: Status{Node: "b"}}
	var passed atomic.Int32
	count := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			passed.Add(1)
			h.ServeHTTP(w, r)
		})
	}
	log := slog.New(slog.DiscardHandler)
	atA, atB := serveHandler(t, count(NewHandler(a, "", log))), serveHandler(t, count(NewHandler(b, "", log)))
	a.leader, b.leader = atB.URL, atA.URL
	c := client(t, atA, "")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for what, do := range onLeader {
		passed.Store(0)
		err := do(ctx, c)
		if want := "no leader: a passed this on to b, which does not lead either (an election is going on); try again"; !errors.Is(err, ErrNoLeader) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", what, err, want)
		}
		if n := passed.Load(); n != 2 {
			t.Errorf("%s: %d nodes were asked, want 2", what, n)
		}
	}
	status, err := c.Status(t.Context())
	wantAnswer(t, b.status, status, err)
	wantAsked(t, a)
}

// What is for the node itself is not passed on: a heartbeat to a follower tells
// the sender that it does not lead.
func TestAFollowerAnswersSidecarsItself(t *testing.T) {
	n := leading()
	follower := leading()
	follower.leads, follower.leader, follower.err = false, serve(t, n, "").URL, ErrNotLeader
	c := client(t, serve(t, follower, ""), "")
	if _, err := c.Heartbeat(t.Context(), Heartbeat{Node: "n3"}); !errors.Is(err, ErrNoLeader) {
		t.Errorf("heartbeat: %v", err)
	}
	if _, err := c.Probe(t.Context(), ProbeRequest{Cluster: "main"}); err == nil {
		t.Error("probe: no error")
	}
	follower.err = nil
	examined, err := c.ExamineNode(t.Context())
	wantAnswer(t, follower.examined, examined, err)
	fix := filled[doctor.Fix]()
	wantAnswer(t, nil, error(nil), c.MendProxy(t.Context(), fix))
	wantAsked(t, n)
	wantAsked(t, follower, Heartbeat{Node: "n3"}, ProbeRequest{Cluster: "main"}, "node", fix)
}

// A leader that froze is not noticed for a while: the status comes all the same,
// and everything else ends with the client's patience, at the leader too.
func TestALeaderThatSaysNothing(t *testing.T) {
	left := make(chan struct{}, 1)
	leader := serveHandler(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		select {
		case left <- struct{}{}:
		default:
		}
	}))
	n := &fakeNode{name: "n2", leader: leader.URL, status: Status{Node: "n2"}}
	s := newServer(n, "", slog.New(slog.DiscardHandler))
	s.patience = 50 * time.Millisecond
	c := client(t, serveHandler(t, s.handler()), "")
	status, err := c.Status(t.Context())
	wantAnswer(t, n.status, status, err)
	<-left

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Topology(ctx, "main"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want a deadline", err)
	}
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("the follower still waits for the leader")
	}
}

// An answer that breaks off at the leader does not look like a whole one.
func TestALeaderThatDiesInTheMiddleOfItsAnswer(t *testing.T) {
	leader := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte(`{"cluster": "main"}`))
	}))
	quiet := httptest.NewUnstartedServer(NewHandler(&fakeNode{name: "n2", leader: leader.URL}, "", slog.New(slog.DiscardHandler)))
	quiet.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	quiet.Start()
	t.Cleanup(quiet.Close)
	_, err := client(t, quiet, "").Topology(t.Context(), "main")
	if err == nil || !strings.Contains(err.Error(), "GET "+quiet.URL+"/v1/clusters/main/topology: ") {
		t.Errorf("%v", err)
	}
}
