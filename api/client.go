package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/failover"
)

// maxReply bounds what a client reads of an answer.
const maxReply = 64 << 20

// Client speaks to one node.
type Client struct {
	base  string
	name  string // base without a password
	token string
	http  *http.Client
}

// NewClient speaks to the node at base (`host:port` or a URL). The token may be
// empty; transport may be nil.
func NewClient(base, token string, transport http.RoundTripper) *Client {
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	base = strings.TrimRight(base, "/")
	_, name, found := strings.Cut(base, "@") // what is no URL is named without what may be a password
	if u, err := url.Parse(base); err == nil {
		name = u.Redacted()
	} else if !found {
		name = base
	}
	return &Client{base: base, name: name, token: token, http: &http.Client{Transport: transport}}
}

// Error is an answer that is not 2xx.
type Error struct {
	Status int
	ErrorReply
	node string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.node, e.ErrorReply.Error) }

// Unwrap keeps the error's kind across the wire: what the Node returned as a
// refusal or as one of this package's errors is one here. 503 does not say
// whether no leader was found or this node ceased to be it: it is ErrNoLeader.
func (e *Error) Unwrap() error {
	switch e.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return ErrBadInput
	case http.StatusUnauthorized:
		return ErrUnauthorized
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusConflict:
		return &RefusedError{Sentence: e.ErrorReply.Error, Refusals: e.Refusals, Checks: e.Checks}
	case http.StatusServiceUnavailable:
		return ErrNoLeader
	default:
		return nil
	}
}

// Heartbeat tells the leader what this node sees.
func (c *Client) Heartbeat(ctx context.Context, h Heartbeat) (reply HeartbeatReply, err error) {
	return reply, c.call(ctx, http.MethodPost, "/v1/heartbeat", h, &reply)
}

// Confirm asks the node whether a sidecar that no leader answers may go on.
func (c *Client) Confirm(ctx context.Context, r ConfirmRequest) (reply ConfirmReply, err error) {
	return reply, c.call(ctx, http.MethodPost, "/v1/confirm", r, &reply)
}

// Probe asks the node to read instances now.
func (c *Client) Probe(ctx context.Context, r ProbeRequest) (reply ProbeReply, err error) {
	return reply, c.call(ctx, http.MethodPost, "/v1/probe", r, &reply)
}

// Status is the fleet.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.call(ctx, http.MethodGet, "/v1/status", nil, &s)
}

// Topology is a cluster's replication tree.
func (c *Client) Topology(ctx context.Context, cluster string) (t TopologyReply, err error) {
	return t, c.call(ctx, http.MethodGet, clusterPath(cluster, "topology"), nil, &t)
}

// Snapshot is everything that a decision about the cluster depends on.
func (c *Client) Snapshot(ctx context.Context, cluster string) (s failover.Case, err error) {
	return s, c.call(ctx, http.MethodGet, clusterPath(cluster, "snapshot"), nil, &s)
}

// Recover asks for a switchover or a forced failover, by the request's kind.
func (c *Client) Recover(ctx context.Context, cluster string, r RecoveryRequest) (reply RecoveryReply, err error) {
	return reply, c.call(ctx, http.MethodPost, clusterPath(cluster, string(r.Kind)), r, &reply)
}

// Recoveries are all recoveries, newest first.
func (c *Client) Recoveries(ctx context.Context) (list []failover.Recovery, err error) {
	return list, c.call(ctx, http.MethodGet, "/v1/recoveries", nil, &list)
}

// Recovery is one recovery by its id.
func (c *Client) Recovery(ctx context.Context, id string) (r failover.Recovery, err error) {
	return r, c.call(ctx, http.MethodGet, "/v1/recoveries/"+url.PathEscape(id), nil, &r)
}

// Acknowledge releases the cluster's anti-flap period.
func (c *Client) Acknowledge(ctx context.Context, cluster string, r AcknowledgeRequest) error {
	return c.call(ctx, http.MethodPost, clusterPath(cluster, "acknowledge"), r, nil)
}

// Downtime begins or ends a downtime.
func (c *Client) Downtime(ctx context.Context, cluster string, r DowntimeRequest) error {
	return c.call(ctx, http.MethodPost, clusterPath(cluster, "downtime"), r, nil)
}

// Rejoin brings an instance back as a replica; the answer comes at the end.
func (c *Client) Rejoin(ctx context.Context, cluster string, r RejoinRequest) (reply RejoinReply, err error) {
	return reply, c.call(ctx, http.MethodPost, clusterPath(cluster, "rejoin"), r, &reply)
}

// Forget removes an instance from the cluster's known ones.
func (c *Client) Forget(ctx context.Context, cluster, instance string) error {
	return c.call(ctx, http.MethodDelete, clusterPath(cluster, "instances/"+url.PathEscape(instance)), nil, nil)
}

// TransferLeadership hands the leadership over.
func (c *Client) TransferLeadership(ctx context.Context, r LeaderRequest) (reply LeaderReply, err error) {
	return reply, c.call(ctx, http.MethodPost, "/v1/leader/transfer", r, &reply)
}

// ForgetNode removes a sidecar that is configured no more.
func (c *Client) ForgetNode(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/v1/nodes/"+url.PathEscape(name), nil, nil)
}

// NodeFenced gives a person's word that a silent node's proxy routes nothing.
func (c *Client) NodeFenced(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodPost, "/v1/nodes/"+url.PathEscape(name)+"/fenced", nil, nil)
}

// KV is what every store holds of the cluster, after publishing where submit is true.
func (c *Client) KV(ctx context.Context, cluster string, submit bool) (r KVReply, err error) {
	method := http.MethodGet
	if submit {
		method = http.MethodPost
	}
	return r, c.call(ctx, method, clusterPath(cluster, "kv"), nil, &r)
}

// Examine looks for what is set up badly; an empty cluster means all.
func (c *Client) Examine(ctx context.Context, cluster string) (r doctor.Report, err error) {
	path := "/v1/doctor"
	if cluster != "" {
		path += "?cluster=" + url.QueryEscape(cluster)
	}
	return r, c.call(ctx, http.MethodGet, path, nil, &r)
}

// Mend does what an examination said that may be done without a person.
func (c *Client) Mend(ctx context.Context, r MendRequest) (reply MendReply, err error) {
	return reply, c.call(ctx, http.MethodPost, "/v1/doctor/mend", r, &reply)
}

// ExamineNode is what the node says of itself and of what is beside it.
func (c *Client) ExamineNode(ctx context.Context) (n doctor.Node, err error) {
	return n, c.call(ctx, http.MethodGet, "/v1/doctor/node", nil, &n)
}

// MendProxy has the node change its own proxy.
func (c *Client) MendProxy(ctx context.Context, fix doctor.Fix) error {
	return c.call(ctx, http.MethodPost, "/v1/doctor/node/mend", fix, nil)
}

func clusterPath(cluster, rest string) string {
	return "/v1/clusters/" + url.PathEscape(cluster) + "/" + rest
}

// call does one request. Every error names the method and where it went, and
// wraps the context's when its time is over.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	what := fmt.Sprintf("%s %s%s", method, c.name, path)
	res, err := c.send(ctx, method, path, in)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // it repeats the method and the address
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	if res.code/100 != 2 {
		e := &Error{Status: res.code, node: c.name}
		if json.Unmarshal(res.body, &e.ErrorReply) != nil || e.ErrorReply.Error == "" {
			e.ErrorReply = ErrorReply{Error: fmt.Sprintf("%s %s: status %s, and no sentence in the answer", method, path, res.status)}
		}
		return e
	}
	if out == nil {
		if res.code != http.StatusNoContent {
			return fmt.Errorf("%s: status %s where Remora answers 204; is this its API?", what, res.status)
		}
		return nil
	}
	if err := json.Unmarshal(res.body, out); err != nil {
		if !strings.HasPrefix(res.kind, "application/json") {
			return fmt.Errorf("%s: the answer is not JSON but %q; is this Remora's API?", what, res.kind)
		}
		return fmt.Errorf("%s: the answer is not what this version understands: %w", what, err)
	}
	return nil
}

// response is an answer that was read to its end.
type response struct {
	code   int
	status string // the code in words
	kind   string // Content-Type
	body   []byte
}

// send does the request and reads the whole answer.
func (c *Client) send(ctx context.Context, method, path string, in any) (response, error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return response{}, err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	if err != nil {
		return response{}, fmt.Errorf("reading the answer: %w", err)
	}
	if len(raw) > maxReply {
		return response{}, fmt.Errorf("the answer is longer than %d MiB", maxReply>>20)
	}
	return response{res.StatusCode, res.Status, res.Header.Get("Content-Type"), raw}, nil
}
