package topology

import (
	"slices"
	"time"
)

// Route is the committed assignment of a cluster's instances to writer and
// reader. Epoch is the raft index of the entry that set it: it only grows and
// guards every outside write.
type Route struct {
	Cluster string   `json:"cluster"`
	Epoch   uint64   `json:"epoch"`
	Writer  Addr     `json:"writer,omitempty"` // empty: nobody may write
	Mode    Mode     `json:"mode"`
	Readers []Reader `json:"readers,omitempty"` // sorted by address
	// Known lists every instance of the cluster, so that a proxy can hold a row
	// for each and change only its status.
	Known []Addr    `json:"known,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

// Mode says what a proxy does with the route's writer.
type Mode string

// The modes of a writer at the proxies.
const (
	Open   Mode = "open"   // statements are sent to the writer
	Paused Mode = "paused" // transactions in progress end, new statements are held (a switchover)
	Fenced Mode = "fenced" // nothing is sent to the writer; sessions attached to it are ended (a failover)
)

// Reader is an instance that may serve reads.
type Reader struct {
	Addr   Addr `json:"addr"`
	Weight int  `json:"weight"` // relative share of the reads, at least 1
}

// Reads says whether the route sends reads to a.
func (r Route) Reads(a Addr) bool {
	return slices.ContainsFunc(r.Readers, func(x Reader) bool { return x.Addr == a })
}

// SameAssignment says whether two routes send the same traffic to the same
// places; epoch and time do not matter.
func (r Route) SameAssignment(o Route) bool {
	return r.Cluster == o.Cluster && r.Writer == o.Writer && r.Mode == o.Mode &&
		slices.Equal(r.Readers, o.Readers) && slices.Equal(r.Known, o.Known)
}
