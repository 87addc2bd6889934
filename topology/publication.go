package topology

import (
	"fmt"
	"slices"
	"time"
)

// DocumentVersion is that of a [Document]. It changes when a template would have to.
const DocumentVersion = 1

// Document is what templates read of a cluster.
type Document struct {
	Version int    `json:"version"`
	Cluster string `json:"cluster"`
	Epoch   uint64 `json:"epoch"`
	Mode    Mode   `json:"mode"`
	// Writer takes the writes; null unless the mode is open.
	Writer *Endpoint `json:"writer"`
	// Primary is the last one committed, as orchestrator's keys name it. It may be
	// dead or fenced: writes go to Writer alone.
	Primary *Endpoint  `json:"primary"`
	Readers []Endpoint `json:"readers"`
	// Time is when this was decided. A document that differs in nothing else is the
	// same one, and is not written again.
	Time time.Time `json:"time"`
}

// Endpoint is an instance in a [Document].
type Endpoint struct {
	Host       string   `json:"host"` // an IPv6 address has no brackets here
	Port       int      `json:"port"`
	Address    Addr     `json:"address"` // host:port
	DataCenter string   `json:"data_center"`
	Weight     int      `json:"weight,omitempty"` // of a reader, at least 1
	Lag        LagState `json:"lag,omitempty"`    // of a reader
}

// LagState is a reader's lag as a state, for seconds would be written all the time.
type LagState string

// The states of a reader's lag.
const (
	LagOK      LagState = "ok"
	Lagging    LagState = "lagging"
	LagUnknown LagState = "unknown"
)

// NewDocument describes a route. `about` knows the data centre and the lag of an
// instance; it may be nil.
func NewDocument(route Route, about func(Addr) (dataCenter string, lag LagState)) Document {
	if about == nil {
		about = func(Addr) (string, LagState) { return "", LagUnknown }
	}
	server := func(a Addr) Endpoint {
		dc, _ := about(a)
		return Endpoint{Host: a.Host(), Port: a.Port(), Address: a, DataCenter: dc}
	}
	d := Document{Version: DocumentVersion, Cluster: route.Cluster, Epoch: route.Epoch, Mode: route.Mode, Readers: []Endpoint{},
		Time: route.At.UTC()}
	if route.Writer != "" {
		primary := server(route.Writer)
		d.Primary = &primary
		if route.Mode == Open {
			writer := primary
			d.Writer = &writer
		}
	}
	for _, r := range route.Readers {
		s := server(r.Addr)
		s.Weight = max(r.Weight, 1)
		_, s.Lag = about(r.Addr)
		d.Readers = append(d.Readers, s)
	}
	return d
}

// Same says whether two documents differ in nothing but the time.
func (d Document) Same(o Document) bool {
	server := func(a, b *Endpoint) bool { return a == b || a != nil && b != nil && *a == *b }
	return d.Version == o.Version && d.Cluster == o.Cluster && d.Epoch == o.Epoch && d.Mode == o.Mode &&
		server(d.Writer, o.Writer) && server(d.Primary, o.Primary) && slices.Equal(d.Readers, o.Readers)
}

// Change is a key of a store that has not the content it should have.
type Change struct {
	Cluster string `json:"cluster"`
	Key     string `json:"key"`
	Have    string `json:"have,omitempty"`
	Missing bool   `json:"missing,omitempty"` // there is no such key; Have is empty
	Want    string `json:"want"`
}

const changeLimit = 120 // of a value, in characters, where a change is told

// String says it for a human, with long values cut.
func (c Change) String() string {
	if c.Missing {
		return fmt.Sprintf("%s is missing, want %q", c.Key, clip(c.Want))
	}
	return fmt.Sprintf("%s is %q, want %q", c.Key, clip(c.Have), clip(c.Want))
}

func clip(value string) string {
	if r := []rune(value); len(r) > changeLimit {
		return string(r[:changeLimit]) + "…"
	}
	return value
}

// Stored is what a store outside, such as a Consul, holds of a cluster beside
// what it should hold.
type Stored struct {
	Store string `json:"store"` // its name
	Epoch uint64 `json:"epoch"` // stored; 0: none
	// Document is the stored one; nil where there is none, or nonsense.
	Document *Document `json:"document,omitempty"`
	// Changes are the differences to what it should hold.
	Changes []Change `json:"changes,omitempty"`
	Error   string   `json:"error,omitempty"` // why nothing is known, or could not be written
}

// Publication is how the leader fares with one store.
type Publication struct {
	Store string `json:"store"`
	Epoch uint64 `json:"epoch"`           // of the last document that it certainly held
	Error string `json:"error,omitempty"` // why it does not hold the newest
	// Drift is what another hand changed last, and when; it was put back.
	Drift   []string  `json:"drift,omitempty"`
	DriftAt time.Time `json:"drift_at,omitzero"`
}

// File is a file that a sidecar renders from a store, such as HAProxy's
// configuration.
type File struct {
	Node        string `json:"node"`
	Destination string `json:"destination"`
	Good        bool   `json:"good"`
	Sentence    string `json:"sentence"`
	Output      string `json:"output,omitempty"` // what a failing command said
}
