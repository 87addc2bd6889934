package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// Every route carries every field both ways, asked of the leader and of a
// follower.
func TestEveryRouteRoundTrips(t *testing.T) {
	n := leading()
	leader := serve(t, n, "secret")
	follower := &fakeNode{name: "n2", leader: leader.URL}
	t.Run("leader", func(t *testing.T) { roundTrips(t, n, client(t, leader, "secret")) })
	t.Run("follower", func(t *testing.T) {
		roundTrips(t, n, client(t, serve(t, follower, "secret"), "secret"))
		wantAsked(t, follower)
	})
	c := client(t, leader, "secret")
	t.Run("between sidecars", func(t *testing.T) {
		h, p := filled[Heartbeat](), filled[ProbeRequest]()
		reply, err := c.Heartbeat(t.Context(), h)
		wantAnswer(t, n.heartbeat, reply, err)
		wantAsked(t, n, h)
		probed, err := c.Probe(t.Context(), p)
		wantAnswer(t, n.probe, probed, err)
		wantAsked(t, n, p)
	})
}

func roundTrips(t *testing.T, n *fakeNode, c *Client) {
	ctx := t.Context()
	status, err := c.Status(ctx)
	wantAnswer(t, n.status, status, err)
	wantAsked(t, n, "status")
	snapshot, err := c.Snapshot(ctx, "main")
	wantAnswer(t, n.snapshot, snapshot, err)
	wantAsked(t, n, "snapshot")
	tree, err := c.Topology(ctx, "main")
	wantAnswer(t, TopologyReply{Cluster: n.snapshot.Snapshot.Cluster, Lines: topology.Lines(&n.snapshot.Snapshot), Snapshot: n.snapshot.Snapshot}, tree, err)
	wantAsked(t, n, "snapshot")
	for _, kind := range []failover.Kind{failover.KindSwitchover, failover.KindFailover} {
		q := filled[RecoveryRequest]()
		q.Kind = kind
		reply, err := c.Recover(ctx, "main", q)
		wantAnswer(t, n.recovery, reply, err)
		wantAsked(t, n, "main", q)
	}
	list, err := c.Recoveries(ctx)
	wantAnswer(t, n.recoveries, list, err)
	one, err := c.Recovery(ctx, n.recoveries[0].Intent.ID)
	wantAnswer(t, n.recoveries[0], one, err)
	wantAsked(t, n, "recoveries", "recoveries")
	ack, downtime := filled[AcknowledgeRequest](), filled[DowntimeRequest]()
	wantAnswer(t, nil, error(nil), c.Acknowledge(ctx, "main", ack))
	wantAsked(t, n, "main", ack)
	wantAnswer(t, nil, error(nil), c.Downtime(ctx, "main", downtime))
	wantAsked(t, n, "main", downtime)
	rejoin := filled[RejoinRequest]()
	rejoined, err := c.Rejoin(ctx, "main", rejoin)
	wantAnswer(t, n.rejoined, rejoined, err)
	wantAsked(t, n, "main", rejoin)
	for _, submit := range []bool{false, true} {
		kv, err := c.KV(ctx, "main", submit)
		wantAnswer(t, KVReply{Cluster: "main", Stores: n.stored}, kv, err)
		wantAsked(t, n, "main", submit)
	}
	for _, cluster := range []string{"", "a/b ü%&x"} {
		report, err := c.Examine(ctx, cluster)
		wantAnswer(t, n.report, report, err)
		wantAsked(t, n, "examine", cluster)
	}
	mend := filled[MendRequest]()
	mended, err := c.Mend(ctx, mend)
	wantAnswer(t, n.mended, mended, err)
	wantAsked(t, n, mend)
	transfer := filled[LeaderRequest]()
	handed, err := c.TransferLeadership(ctx, transfer)
	wantAnswer(t, n.transferred, handed, err)
	wantAsked(t, n, transfer)
	wantAnswer(t, nil, error(nil), c.ForgetNode(ctx, "n/3"))
	wantAsked(t, n, "forget", "n/3")
	wantAnswer(t, nil, error(nil), c.NodeFenced(ctx, "n/3"))
	wantAsked(t, n, "fenced", "n/3")
	for _, instance := range []topology.Addr{"db1:3306", "[2001:db8::1]:3306"} {
		wantAnswer(t, nil, error(nil), c.Forget(ctx, "a/b ü%", string(instance)))
		wantAsked(t, n, "a/b ü%", instance)
	}
}

func TestErrorsKeepTheirKindThroughTheWire(t *testing.T) {
	refused := &RefusedError{Sentence: "main: refused: db2 lags", Refusals: filled[[]failover.Refusal](), Checks: filled[[]failover.Check]()}
	n := leading()
	follower := &fakeNode{name: "n2", leader: serve(t, n, "").URL}
	c := client(t, serve(t, follower, ""), "")
	for _, tc := range []struct {
		err    error
		status int
		kind   error // nil: none
	}{
		{fmt.Errorf("cluster x: %w", ErrNotFound), 404, ErrNotFound},
		{fmt.Errorf("%w: no id", ErrBadInput), 400, ErrBadInput},
		{fmt.Errorf("%w is known", ErrNoLeader), 503, ErrNoLeader},
		{fmt.Errorf("cluster main: %w", ErrNotLeader), 503, ErrNoLeader},
		{fmt.Errorf("main: %w", refused), 409, nil},
		{errors.New("the disk is full"), 500, nil},
	} {
		n.err = tc.err
		_, err := c.Recover(t.Context(), "main", RecoveryRequest{Request: failover.Request{Kind: failover.KindSwitchover}})
		var answer *Error
		if !errors.As(err, &answer) || answer.Status != tc.status || !strings.HasSuffix(err.Error(), ": "+tc.err.Error()) {
			t.Errorf("%v came back as %v", tc.err, err)
			continue
		}
		for _, kind := range []error{ErrNotFound, ErrBadInput, ErrNoLeader, ErrUnauthorized} {
			if errors.Is(err, kind) != errors.Is(tc.kind, kind) {
				t.Errorf("%v came back and is %q: %v", tc.err, kind, errors.Is(err, kind))
			}
		}
		var back *RefusedError
		if errors.As(err, &back) != (tc.status == 409) {
			t.Errorf("%v came back as a refusal, or not as one: %v", tc.err, err)
		} else if back != nil && !cmp.Equal(RefusedError{tc.err.Error(), refused.Refusals, refused.Checks}, *back) {
			t.Errorf("the refusal came back as %+v", back)
		}
	}
}

func TestTheTokenIsDemanded(t *testing.T) {
	n := leading()
	s := serve(t, n, "hunter2")
	for _, header := range []string{"", "hunter2", "Bearer", "Bearer ", "Bearer hunter", "Bearer hunter22", "Bearer Hunter2", "Basic hunter2", "Bearer  hunter2"} {
		for _, path := range []string{"/v1/status", "/v1/heartbeat", "/v1/nothing", "/v1/health/", "/v1/health/../status", "/"} {
			res := ask(t, s.URL, http.MethodGet, path, "", map[string]string{"Authorization": header})
			if res.status != http.StatusUnauthorized || res.header.Get("WWW-Authenticate") != "Bearer" || !strings.Contains(res.sentence, "missing or wrong") {
				t.Errorf("%s with %q: %d %s", path, header, res.status, res.sentence)
			}
			if strings.Contains(strings.ToLower(res.body), "hunter") {
				t.Errorf("the answer shows a token: %s", res.body)
			}
		}
	}
	wantAsked(t, n)
	if res := ask(t, s.URL, http.MethodGet, "/v1/status", "", map[string]string{"Authorization": "Bearer hunter2"}); res.status != http.StatusOK {
		t.Errorf("with the token: %d %s", res.status, res.body)
	}
	if _, err := client(t, s, "letmein").Status(t.Context()); !errors.Is(err, ErrUnauthorized) || strings.Contains(err.Error(), "letmein") {
		t.Errorf("a client with a wrong token: %v", err)
	}
}

func TestHealthNeedsNoToken(t *testing.T) {
	for _, tc := range []struct {
		node *fakeNode
		want string
	}{
		{leading(), `{"has_leader":true,"leader":true,"node":"n1"}`},
		{&fakeNode{name: "n2", leader: "http://n1"}, `{"has_leader":true,"leader":false,"node":"n2"}`},
		{&fakeNode{name: "n3"}, `{"has_leader":false,"leader":false,"node":"n3"}`},
	} {
		res := ask(t, serve(t, tc.node, "secret").URL, http.MethodGet, "/v1/health", "", nil)
		if res.status != http.StatusOK || strings.TrimSpace(res.body) != tc.want {
			t.Errorf("%d %s, want %s", res.status, res.body, tc.want)
		}
	}
}

func TestABadRequestIsAnsweredWithASentence(t *testing.T) {
	n := leading()
	s := serve(t, n, "")
	const switchover = "/v1/clusters/main/switchover"
	notJSON := "bad request: the body is not the JSON that POST " + switchover + " takes: "
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"no body":              {"POST", switchover, "", 400, notJSON + "it is empty"},
		"bad JSON":             {"POST", switchover, "{to: db1}", 400, notJSON + "invalid character 't' looking for beginning of object key string"},
		"half of it":           {"POST", switchover, `{"to": "db1`, 400, notJSON + "unexpected EOF"},
		"unknown field":        {"POST", switchover, `{"dryrun": true}`, 400, notJSON + `json: unknown field "dryrun"`},
		"wrong type":           {"POST", switchover, `{"dry_run": "yes"}`, 400, notJSON + "json: cannot unmarshal string into Go struct field RecoveryRequest.dry_run of type bool"},
		"bad duration":         {"POST", switchover, `{"timeout": "soon"}`, 400, notJSON + `"soon" is not a duration such as 250ms, 10s or 5m`},
		"bad address":          {"POST", switchover, `{"to": "db1:x"}`, 400, notJSON + `address "db1:x": port "x" is not a number from 1 to 65535`},
		"two values":           {"POST", switchover, `{"id": "a"} {"id": "b"}`, 400, notJSON + "something follows it"},
		"too long":             {"POST", switchover, `{"reason": "` + strings.Repeat("x", maxRequest) + `"}`, 413, "bad request: the body is longer than 32 MiB"},
		"long after the value": {"POST", switchover, `{}` + strings.Repeat(" ", maxRequest), 413, "bad request: the body is longer than 32 MiB"},
		"downtime of nobody":   {"POST", "/v1/clusters/main/downtime", `{"for": "1h"}`, 400, "bad request: a downtime needs an instance, host:port"},
		"forget a bad address": {"DELETE", "/v1/clusters/main/instances/db1:x", "", 400, `bad request: address "db1:x": port "x" is not a number from 1 to 65535`},
		"unknown cluster":      {"GET", "/v1/clusters/none/topology", "", 404, `cluster "none": not found; configured are main`},
		"unknown recovery":     {"GET", "/v1/recoveries/none", "", 404, "recovery \"none\": not found; `remora recoveries` lists those that are kept"},
		"unknown route":        {"GET", "/v2/status", "", 404, "GET /v2/status: not found; docs/api.md lists the routes"},
		"wrong method":         {"POST", "/v1/status", "", 405, "POST /v1/status: wrong method; this route takes GET"},
		"another wrong method": {"GET", switchover, "", 405, "GET " + switchover + ": wrong method; this route takes POST"},
		"put for delete":       {"PUT", "/v1/clusters/main/instances/db1:3306", "", 405, "PUT /v1/clusters/main/instances/db1:3306: wrong method; this route takes DELETE"},
	} {
		t.Run(name, func(t *testing.T) {
			res := ask(t, s.URL, tc.method, tc.path, tc.body, nil)
			if res.status != tc.status || res.sentence != tc.want || res.header.Get("Content-Type") != "application/json" {
				t.Errorf("%d %.300s\nwant %d %s", res.status, res.body, tc.status, tc.want)
			}
			if allow := res.header.Get("Allow"); (allow != "") != (tc.status == http.StatusMethodNotAllowed) || !strings.HasSuffix(tc.want, allow) {
				t.Errorf("Allow: %q", allow)
			}
			for _, asked := range n.was() {
				if asked != "recoveries" {
					t.Errorf("the node was asked: %v", asked)
				}
			}
		})
	}
}

// While a fleet is upgraded, sidecars of two versions speak to each other.
func TestANewerSidecarsFieldsAreIgnored(t *testing.T) {
	n := leading()
	s := serve(t, n, "")
	for path, body := range map[string]string{"/v1/heartbeat": `{"node": "n2", "mood": "good"}`, "/v1/probe": `{"cluster": "main", "mood": "good"}`} {
		if res := ask(t, s.URL, http.MethodPost, path, body, nil); res.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, res.status, res.body)
		}
		n.was()
	}
}

func TestAnAnswerThatCannotBeSpelledIsAnError(t *testing.T) {
	n := leading()
	n.snapshot.Policy.Detection.Beats = math.NaN()
	res := ask(t, serve(t, n, "").URL, http.MethodGet, "/v1/clusters/main/snapshot", "", nil)
	if res.status != http.StatusInternalServerError || !strings.Contains(res.sentence, "could not be spelled") {
		t.Errorf("%d %s", res.status, res.body)
	}
}

// answer is what a plain HTTP client gets.
type answer struct {
	status         int
	header         http.Header
	body, sentence string
}

func ask(t *testing.T, base, method, path, body string, headers map[string]string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var reply ErrorReply
	_ = json.Unmarshal(raw, &reply)
	return answer{res.StatusCode, res.Header, string(raw), reply.Error}
}

// A status is the same JSON in one piece and cluster by cluster.
func TestAStatusIsStreamed(t *testing.T) {
	for n := range 4 {
		want := Status{Node: "n1", Leader: "n1", Term: 3, Taken: time.Unix(1, 0).UTC(), Nodes: []NodeStatus{{Name: "n1"}}, Clusters: []ClusterStatus{}}
		for i := range n {
			want.Clusters = append(want.Clusters, ClusterStatus{Name: fmt.Sprintf("c%d", i), Sentence: "all is <well>", Instances: []InstanceStatus{}, Findings: []failover.Finding{}})
		}
		rec := httptest.NewRecorder()
		(&server{log: slog.New(slog.DiscardHandler)}).stream(rec, want)
		var got Status
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || cmp.Diff(got, want) != "" {
			t.Errorf("%d clusters arrive as %s: %v", n, rec.Body, err)
		}
		if kind := rec.Header().Get("Content-Type"); kind != "application/json" {
			t.Errorf("the status is said to be %q", kind)
		}
	}
}

// narrow is a client that goes away after some bytes.
type narrow struct {
	http.ResponseWriter
	room int
}

func (n *narrow) Write(b []byte) (int, error) {
	if n.room -= len(b); n.room < 0 {
		return 0, io.ErrClosedPipe
	}
	return n.ResponseWriter.Write(b)
}

// Half a status is no answer: the connection is cut off wherever it stops.
func TestHalfAStatusIsCutOff(t *testing.T) {
	st := Status{Node: "n1", Clusters: []ClusterStatus{{Name: "a"}, {Name: "b"}}}
	whole := httptest.NewRecorder()
	s := &server{log: slog.New(slog.DiscardHandler)}
	s.stream(whole, st)
	for room := range whole.Body.Len() {
		func() {
			defer func() {
				if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
					t.Errorf("after %d bytes: %v", room, err)
				}
			}()
			s.stream(&narrow{httptest.NewRecorder(), room}, st)
		}()
	}
}
