package consul

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/remora-ha/remora/topology"
)

// Version is that of the document's format. It changes when a template would have to.
const Version = 1

// Document is what templates read of a cluster.
type Document struct {
	Version int           `json:"version"`
	Cluster string        `json:"cluster"`
	Epoch   uint64        `json:"epoch"`
	Mode    topology.Mode `json:"mode"`
	// Writer takes the writes; null unless the mode is open.
	Writer *Server `json:"writer"`
	// Primary is the last one committed, as orchestrator's keys name it. It may be
	// dead or fenced: writes go to Writer alone.
	Primary *Server  `json:"primary"`
	Readers []Server `json:"readers"`
	// Time is when this was decided. A document that differs in nothing else is the
	// same one, and is not written again.
	Time time.Time `json:"time"`
}

// Server is an instance in a Document.
type Server struct {
	Host       string        `json:"host"` // an IPv6 address has no brackets here
	Port       int           `json:"port"`
	Address    topology.Addr `json:"address"` // host:port
	DataCenter string        `json:"data_center"`
	Weight     int           `json:"weight,omitempty"` // of a reader, at least 1
	Lag        Lag           `json:"lag,omitempty"`    // of a reader
}

// Lag is a reader's lag as a state, for seconds would be written all the time.
type Lag string

// The states of a reader's lag.
const (
	LagOK      Lag = "ok"
	Lagging    Lag = "lagging"
	LagUnknown Lag = "unknown"
)

// NewDocument describes a route. `about` knows the data centre and the lag of an
// instance; it may be nil.
func NewDocument(route topology.Route, about func(topology.Addr) (dataCenter string, lag Lag)) Document {
	if about == nil {
		about = func(topology.Addr) (string, Lag) { return "", LagUnknown }
	}
	server := func(a topology.Addr) Server {
		dc, _ := about(a)
		return Server{Host: a.Host(), Port: a.Port(), Address: a, DataCenter: dc}
	}
	d := Document{Version: Version, Cluster: route.Cluster, Epoch: route.Epoch, Mode: route.Mode, Readers: []Server{},
		Time: route.At.UTC()}
	if route.Writer != "" {
		primary := server(route.Writer)
		d.Primary = &primary
		if route.Mode == topology.Open {
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

var clusterPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// check says why a document must not be published.
func (d Document) check() error {
	switch {
	case d.Cluster == "":
		return errors.New("the document names no cluster")
	case !clusterPattern.MatchString(d.Cluster):
		return fmt.Errorf("cluster %q cannot be part of a key", d.Cluster)
	case d.Epoch == 0:
		return fmt.Errorf("the document of %s has no epoch", d.Cluster)
	case d.Writer != nil && d.Mode != topology.Open:
		return fmt.Errorf("the document of %s has a writer while it is %s", d.Cluster, d.Mode)
	case d.Writer != nil && (d.Primary == nil || d.Writer.Address != d.Primary.Address):
		return fmt.Errorf("the document of %s has writer %s, which is not its primary", d.Cluster, d.Writer.Address)
	}
	return nil
}

// encode is the document's value in the store.
func (d Document) encode() string {
	if d.Readers == nil {
		d.Readers = []Server{} // templates range over it
	}
	text, err := json.Marshal(d)
	if err != nil { // a time beyond the year 9999, which only code can make
		panic(fmt.Sprintf("consul: encode a document: %v", err))
	}
	return string(text)
}

// decode reads a stored document; ok is false for what is none.
func decode(value string) (d Document, ok bool) {
	if err := json.Unmarshal([]byte(value), &d); err != nil || d.Version == 0 {
		return Document{}, false
	}
	return d, true
}

// sameBut says whether a stored value is d, but for the time.
func (d Document) sameBut(value string) bool {
	stored, ok := decode(value)
	d.Time = stored.Time
	return ok && d.encode() == value
}
