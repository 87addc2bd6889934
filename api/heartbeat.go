package api

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unique"

	"github.com/remora-ha/remora/topology"
)

// Heartbeat is what a sidecar tells the leader a few times a second, and at once
// when something changed.
type Heartbeat struct {
	Node string `json:"node"`
	// Seq grows with every heartbeat of one process; a reply to an older one
	// never shortens or prolongs what a newer one brought.
	Seq     uint64    `json:"seq"`
	Started time.Time `json:"started"` // tells a restarted process from a late message
	// Since is the newest of its heartbeats up to which the leader said that it holds
	// everything: Views, Again, Proxies and Acknowledged tell what is new since. 0: this one tells all.
	Since uint64     `json:"since,omitempty"`
	Views []AgedView `json:"views,omitempty"`
	// Again are instances that were read again and say nothing else to those who decide than the
	// view that the leader holds; but for GTID sets, lags of a second and the like.
	Again Confirmed `json:"confirmed,omitempty"`
	// Proxies is the state of the sidecar's own ProxySQL by cluster; nil where
	// the sidecar has none (a witness).
	Proxies map[string]topology.Proxy `json:"proxies,omitempty"`
	// Acknowledged is the newest epoch of each cluster that the sidecar ever
	// acknowledged, as its disk remembers it.
	Acknowledged map[string]uint64 `json:"acknowledged,omitempty"`
	// Index is the applied ledger index of the sidecar.
	Index uint64 `json:"index,omitempty"`
	// Proxy says that the sidecar keeps a ProxySQL, whatever the leader's file says.
	Proxy bool `json:"proxy,omitempty"`
	// TTL and FenceTime are as the sidecar is configured; Holds are the clusters, sorted, whose
	// writer its proxy keeps without a lease.
	TTL       topology.Duration `json:"ttl,omitempty"`
	FenceTime topology.Duration `json:"fence_time,omitempty"`
	Holds     []string          `json:"holds,omitempty"`
	// Shares says that the sidecar watches a share of the instances, with those that
	// say the same word; empty: it watches all.
	Shares string `json:"shares,omitempty"`
	// Files are those that the sidecar renders, each with its state.
	Files []topology.File `json:"files,omitempty"`
	// Trouble is what keeps the sidecar from leading, in sentences: its disk hangs.
	Trouble []string `json:"trouble,omitempty"`
}

// Again confirms a view.
type Again struct {
	Instance topology.Addr
	Age      time.Duration // of the reading; microseconds are told
}

// Confirmed are views that are confirmed. There are thousands in a second, so they travel as one text: address and
// age in microseconds, in turns, with a space after each.
type Confirmed []Again

// MarshalText implements [encoding.TextMarshaler].
func (c Confirmed) MarshalText() ([]byte, error) {
	text := make([]byte, 0, 32*len(c))
	for _, a := range c {
		text = append(append(text, a.Instance...), ' ')
		text = append(strconv.AppendInt(text, max(0, a.Age.Microseconds()), 10), ' ')
	}
	return text, nil
}

// UnmarshalText implements [encoding.TextUnmarshaler]. Addresses are not checked: they are to be looked up.
func (c *Confirmed) UnmarshalText(text []byte) error {
	*c = make(Confirmed, 0, bytes.Count(text, []byte(" "))/2)
	for rest := string(text); rest != ""; {
		instance, after, _ := strings.Cut(rest, " ")
		age, after, ended := strings.Cut(after, " ")
		µs, err := strconv.ParseInt(age, 10, 64)
		if err != nil || !ended || µs < 0 || µs > int64(math.MaxInt64/time.Microsecond) {
			return fmt.Errorf("confirmed views: %q of %q is no age in microseconds", age, instance)
		}
		*c, rest = append(*c, Again{topology.Addr(instance), time.Duration(µs) * time.Microsecond}), after
	}
	return nil
}

// AgedView is a view with its age instead of an instant, for the two clocks
// need not agree.
type AgedView struct {
	topology.View
	Age      topology.Duration `json:"age"`
	StateAge topology.Duration `json:"state_age,omitempty"`
}

// Age makes a view fit for the wire.
func Age(v topology.View, now time.Time) AgedView {
	a := AgedView{View: v, Age: topology.Duration(max(0, now.Sub(v.At)))}
	if !v.StateAt.IsZero() {
		a.StateAge = topology.Duration(max(0, now.Sub(v.StateAt)))
	}
	return a
}

// Land puts the view on the receiver's clock.
func (a AgedView) Land(now time.Time) topology.View {
	v := a.View
	v.At = now.Add(-a.Age.D())
	if v.State != nil {
		v.StateAt = now.Add(-a.StateAge.D())
	}
	return v
}

// HeartbeatReply is the leader's answer.
type HeartbeatReply struct {
	Leader string `json:"leader"`
	Term   uint64 `json:"term"`
	// Index is the leader's applied ledger index: a sidecar whose own ledger is
	// behind it does not know the current epochs yet.
	Index uint64 `json:"index"`
	// Lease permits to keep routing writes for this long, counted from before
	// the heartbeat was sent.
	Lease topology.Duration `json:"lease"`
	// Held is the heartbeat up to which the leader holds everything; 0: all is to be told anew.
	Held uint64 `json:"held,omitempty"`
	// Fellows are the sidecars, the asker among them, that share the watching with it.
	Fellows []string `json:"fellows,omitempty"`
	// Ask are instances that the sidecar is to read now, as it was asked by a ProbeRequest that
	// may not have arrived: it speaks to the leader, and perhaps the leader cannot speak to it.
	Ask []topology.Addr `json:"ask,omitempty"`
}

// ConfirmRequest asks a node whether it may lead, or knows better, for a sidecar whose
// leader is gone.
type ConfirmRequest struct {
	Node   string            `json:"node"`
	Epochs map[string]uint64 `json:"epochs,omitempty"` // that it routes, by cluster
	// TTL is for how long the sidecar would go on, counted from before the question.
	TTL topology.Duration `json:"ttl,omitempty"`
}

// ConfirmReply is the answer. Confirmed promises that whoever leads from now on,
// should it be this node, takes the asker to hold a lease that began after the
// question was sent.
type ConfirmReply struct {
	Node      string `json:"node"`
	Confirmed bool   `json:"confirmed"`
	Why       string `json:"why,omitempty"` // it is not
}

// ProbeRequest asks a sidecar to read instances now, not at the next tick.
type ProbeRequest struct {
	Cluster   string          `json:"cluster"`
	Instances []topology.Addr `json:"instances"`
	// Again says that nothing is known to be wrong with them: the sidecar reads them anyhow, and goes on as before.
	Again bool `json:"again,omitempty"`
}

// ProbeReply is what it saw.
type ProbeReply struct {
	Node  string     `json:"node"`
	Views []AgedView `json:"views"`
}

// shareTexts has the views share their texts with all others that say the same: each comes in a message of its own, and thousands of servers
// have the same release, and the addresses of one another.
func (h *Heartbeat) shareTexts() {
	for i := range h.Views {
		shareTexts(&h.Views[i].View)
	}
}

func shareTexts(v *topology.View) {
	unify(&v.Observer)
	unify(&v.Instance)
	st := v.State
	if st == nil {
		return
	}
	for _, text := range []*string{&st.Flavor, &st.Version, &st.ServerUUID, &st.BinlogFormat, &st.GTIDMode, &st.SemiSync.WaitPoint} {
		unify(text)
	}
	unify(&st.ReportedAs)
	for i := range st.Replicas {
		unify(&st.Replicas[i])
	}
	for i := range st.Sources {
		unify(&st.Sources[i].Addr)
		unify(&st.Sources[i].SourceID)
	}
}

func unify[T ~string](text *T) { *text = unique.Make(*text).Value() }
