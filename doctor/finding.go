package doctor

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/remora-ha/remora/topology"
)

// Severity is how much a finding matters.
type Severity string

// The severities, the worst first.
const (
	Error   Severity = "error"   // a failover would fail, or lose what was promised
	Warning Severity = "warning" // a failover would be slower, or need a hand
	Unknown Severity = "unknown" // it could not be checked
	Advice  Severity = "advice"  // worth knowing; all works
)

var order = []Severity{Error, Warning, Unknown, Advice}

// Finding is what a check found in one place.
type Finding struct {
	Check    string   `json:"check"`
	Severity Severity `json:"severity"`
	Cluster  string   `json:"cluster,omitempty"` // empty: it is the fleet's
	Where    string   `json:"where"`             // a server, or "NODE", "NODE's proxy", "NODE's consul east"
	Sentence string   `json:"sentence"`          // what is
	Why      string   `json:"why"`               // it matters
	Mend     string   `json:"mend,omitempty"`    // the statement or setting that mends it
	// Fix is what --fix would do; nil: it takes a person.
	Fix *Fix `json:"fix,omitempty"`
}

// Report is the outcome of an examination.
type Report struct {
	Node     string    `json:"node"` // who gathered the facts
	Clusters []string  `json:"clusters"`
	Servers  int       `json:"servers"` // that were asked
	Sidecars int       `json:"sidecars"`
	Checks   int       `json:"checks"` // in the catalogue
	Findings []Finding `json:"findings"`
}

// Worst is the most severe of the findings; empty when there is none.
func (r Report) Worst() Severity {
	for _, s := range order {
		if slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity == s }) {
			return s
		}
	}
	return ""
}

// Fixes are what can be mended without a person.
func (r Report) Fixes() []Fix {
	var list []Fix
	for _, f := range r.Findings {
		if f.Fix != nil {
			list = append(list, *f.Fix)
		}
	}
	return list
}

// Check is a row of the catalogue.
type Check struct {
	Name string
	Why  string // one sentence
	look func(*Facts) []hit
}

// hit is one place where a check found something.
type hit struct {
	severity Severity
	cluster  string
	where    string
	sentence string
	mend     string
	fix      *Fix
}

// Catalogue lists every check.
func Catalogue() []Check {
	return slices.Concat(serverChecks, replicationChecks, accountChecks, proxyChecks, nodeChecks, storeChecks)
}

// Examine looks at the facts: the worst comes first. The same facts always give the
// same report.
func Examine(f *Facts) Report {
	r := Report{Node: f.Node, Clusters: []string{}, Sidecars: len(f.Members), Findings: []Finding{}}
	for _, c := range f.Clusters {
		r.Clusters = append(r.Clusters, c.Name)
		r.Servers += len(c.Servers)
	}
	checks := Catalogue()
	r.Checks = len(checks)
	for _, c := range checks {
		for _, h := range c.look(f) {
			r.Findings = append(r.Findings, Finding{
				Check: c.Name, Severity: h.severity, Cluster: h.cluster, Where: h.where, Sentence: h.sentence, Why: c.Why, Mend: h.mend, Fix: f.allowed(h),
			})
		}
	}
	r.Findings = append(r.Findings, found(f)...)
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Compare(slices.Index(order, a.Severity), slices.Index(order, b.Severity))
	})
	return r
}

// allowed is the hit's fix where the table allows it.
func (f *Facts) allowed(h hit) *Fix {
	if h.fix == nil || h.fix.Refused() != "" {
		return nil
	}
	h.fix.Cluster = h.cluster
	return h.fix
}

// servers looks at every server that was read.
func servers(look func(*Cluster, *Server, func(Severity, string, string, ...any) *hit)) func(*Facts) []hit {
	return func(f *Facts) []hit {
		var hits []*hit
		for i := range f.Clusters {
			c := &f.Clusters[i]
			for j := range c.Servers {
				s := &c.Servers[j]
				if !s.read() {
					continue
				}
				look(c, s, func(severity Severity, mend, format string, args ...any) *hit {
					h := &hit{severity: severity, cluster: c.Name, where: string(s.Addr), sentence: fmt.Sprintf(format, args...), mend: mend}
					hits = append(hits, h)
					return h
				})
			}
		}
		return values(hits)
	}
}

func values(hits []*hit) []hit {
	list := make([]hit, len(hits))
	for i, h := range hits {
		list[i] = *h
	}
	return list
}

// onServer adds a fix of a server's setting to the hit, and shows its statement.
func (h *hit) onServer(a topology.Addr, s ...Setting) {
	h.fix = &Fix{Server: a, Settings: s}
	if h.mend == "" {
		h.mend = h.fix.String()
	}
}

// onProxy adds a fix of a proxy's variable.
func (h *hit) onProxy(node string, s ...Setting) {
	h.fix = &Fix{Proxy: node, Settings: s}
	if h.mend == "" {
		h.mend = h.fix.String()
	}
}
