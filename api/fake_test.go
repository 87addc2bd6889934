package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNode answers what it was given, and writes down what it was asked.
type fakeNode struct {
	name   string
	leader string // base of the leader's API
	leads  bool
	err    error // of every method that has one

	heartbeat   HeartbeatReply
	confirm     ConfirmReply
	probe       ProbeReply
	status      Status
	snapshot    failover.Case
	recovery    RecoveryReply
	recoveries  []failover.Recovery
	stored      []topology.Stored
	transferred LeaderReply
	rejoined    RejoinReply
	report      doctor.Report
	mended      MendReply
	examined    doctor.Node

	mu    sync.Mutex
	asked []any
}

func (n *fakeNode) note(what ...any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, what...)
	return n.err
}

// was returns what the node was asked since the last time.
func (n *fakeNode) was() []any {
	n.mu.Lock()
	defer n.mu.Unlock()
	asked := n.asked
	n.asked = nil
	return asked
}

func (n *fakeNode) Name() string           { return n.name }
func (n *fakeNode) Leader() (string, bool) { return n.leader, n.leads }
func (n *fakeNode) Status() Status         { _ = n.note("status"); return n.status }
func (n *fakeNode) Heartbeat(_ context.Context, h Heartbeat) (HeartbeatReply, error) {
	return n.heartbeat, n.note(h)
}
func (n *fakeNode) Probe(_ context.Context, r ProbeRequest) (ProbeReply, error) {
	return n.probe, n.note(r)
}

// Snapshot knows the cluster main alone.
func (n *fakeNode) Snapshot(cluster string) (failover.Case, error) {
	if cluster != "main" {
		return failover.Case{}, fmt.Errorf("cluster %q: %w; configured are main", cluster, ErrNotFound)
	}
	return n.snapshot, n.note("snapshot")
}
func (n *fakeNode) Recover(_ context.Context, cluster string, r RecoveryRequest) (RecoveryReply, error) {
	return n.recovery, n.note(cluster, r)
}
func (n *fakeNode) Recoveries() []failover.Recovery { _ = n.note("recoveries"); return n.recoveries }
func (n *fakeNode) Acknowledge(_ context.Context, cluster string, r AcknowledgeRequest) error {
	return n.note(cluster, r)
}
func (n *fakeNode) Downtime(_ context.Context, cluster string, r DowntimeRequest) error {
	return n.note(cluster, r)
}

func (n *fakeNode) Rejoin(_ context.Context, cluster string, r RejoinRequest) (RejoinReply, error) {
	return n.rejoined, n.note(cluster, r)
}

func (n *fakeNode) Forget(_ context.Context, cluster string, instance topology.Addr) error {
	return n.note(cluster, instance)
}

func (n *fakeNode) TransferLeadership(_ context.Context, r LeaderRequest) (LeaderReply, error) {
	return n.transferred, n.note(r)
}
func (n *fakeNode) Confirm(_ context.Context, r ConfirmRequest) (ConfirmReply, error) {
	return n.confirm, n.note(r)
}
func (n *fakeNode) ForgetNode(_ context.Context, name string) error { return n.note("forget", name) }
func (n *fakeNode) NodeFenced(_ context.Context, name string) error { return n.note("fenced", name) }

func (n *fakeNode) KV(_ context.Context, cluster string, submit bool) ([]topology.Stored, error) {
	return n.stored, n.note(cluster, submit)
}

func (n *fakeNode) Examine(_ context.Context, cluster string) (doctor.Report, error) {
	return n.report, n.note("examine", cluster)
}

func (n *fakeNode) Mend(_ context.Context, r MendRequest) (MendReply, error) {
	return n.mended, n.note(r)
}
func (n *fakeNode) ExamineNode(context.Context) (doctor.Node, error) {
	return n.examined, n.note("node")
}
func (n *fakeNode) MendProxy(_ context.Context, fix doctor.Fix) error { return n.note(fix) }

// leading is a node that leads and answers with everything filled in.
func leading() *fakeNode {
	n := &fakeNode{name: "n1", leader: "http://127.0.0.1:1", leads: true}
	for _, v := range []any{&n.heartbeat, &n.confirm, &n.probe, &n.status, &n.snapshot, &n.recovery, &n.recoveries, &n.stored, &n.transferred, &n.rejoined, &n.report, &n.mended, &n.examined} {
		fill(reflect.ValueOf(v).Elem())
	}
	return n
}

// serve serves a node's API until the test ends.
func serve(t *testing.T, n *fakeNode, token string) *httptest.Server {
	t.Helper()
	return serveHandler(t, NewHandler(n, token, slog.New(slog.DiscardHandler)))
}

func serveHandler(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// client speaks to a server over connections of its own, which end with the test.
func client(t *testing.T, s *httptest.Server, token string) *Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return NewClient(s.URL, token, transport)
}

// filled is a value of type T with something in every field.
func filled[T any]() (v T) {
	fill(reflect.ValueOf(&v).Elem())
	return v
}

// fill puts something that is not the zero value into every field.
func fill(v reflect.Value) {
	switch v.Interface().(type) {
	case topology.Addr:
		v.SetString("db1:3306")
		return
	case gtid.Set:
		v.Set(reflect.ValueOf(gtid.MustParse("0-1-5")))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2027, 1, 8, 3, 12, 44, 5000, time.UTC)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("a \"text\" <ü>")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Int, reflect.Int64:
		v.SetInt(1_500_000)
	default:
		panic("fill does not know " + v.Type().String())
	}
}

// same compares GTID sets by what they say.
var same = cmp.Comparer(func(a, b gtid.Set) bool { return a.String() == b.String() })

// wantAsked checks what the node was asked.
func wantAsked(t *testing.T, n *fakeNode, want ...any) {
	t.Helper()
	if diff := cmp.Diff(want, n.was(), same); diff != "" {
		t.Errorf("the node was asked something else (-want +asked):\n%s", diff)
	}
}

// wantAnswer checks an answer.
func wantAnswer[T any](t *testing.T, want, have T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, have, same); diff != "" {
		t.Errorf("the answer is another one (-want +have):\n%s", diff)
	}
}
