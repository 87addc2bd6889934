package failover

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remora-ha/remora/topology"
)

func (f *facts) switchoverTimeout() Duration {
	if req := f.c.Request; req != nil && req.Timeout > 0 {
		return req.Timeout
	}
	return f.p.Switchover.Timeout
}

// decideSwitchover answers an operator's request with every precondition, met or
// not. All of them are asked before anything is touched.
func (f *facts) decideSwitchover() Decision {
	req, w := f.c.Request, f.wish()
	ch := f.choose(w)
	d := Decision{Candidates: f.listed(&ch, w), Refusals: f.repeated(), Wait: ch.wait}
	for _, x := range slices.Concat(f.primaryChecks(), f.candidateChecks(&ch, w), f.proxyChecks()) {
		d.Checks = append(d.Checks, x.Check)
		if !x.OK && !(req.Force && x.refusal.Overridable) {
			d.Refusals = append(d.Refusals, x.refusal)
		}
	}
	if len(d.Refusals) == 0 && !ch.ok() {
		d.Refusals = ch.refusals
	}
	if len(d.Refusals) > 0 {
		d.Sentence = fmt.Sprintf("%s: switchover from %s refused: %s", f.s.Cluster, f.primary, d.Refusals[0])
		return d
	}
	d.Intent = f.intent(KindSwitchover, &ch, f.reason("switchover"))
	d.Sentence = fmt.Sprintf("%s: switching over from %s to %s as %s asked, within %s", f.s.Cluster, f.primary, ch.best.addr(), byWhom(req), f.switchoverTimeout())
	return d
}

// check is a Check with the refusal that it is when it is not met.
type check struct {
	Check
	refusal Refusal
}

func met(name, sentence string, args ...any) check {
	return check{Check: Check{Name: name, OK: true, Sentence: fmt.Sprintf(sentence, args...)}}
}

func unmet(name string, r Refusal) check {
	return check{Check: Check{Name: name, Sentence: r.Sentence}, refusal: r}
}

func (f *facts) primaryChecks() []check {
	checks := []check{met("no open recovery", "no recovery of cluster %s is open", f.s.Cluster)}
	switch {
	case member(f.prim) != "":
		checks = append(checks, unmet("plain replication", f.guards()[0]))
	case !f.prim.Fresh():
		checks = append(checks, unmet("primary reachable", Refusal{
			Rule: "primary", Subject: f.primary, Sentence: fmt.Sprintf("primary %s cannot be read (%s)", f.primary, f.reach(f.primary)),
			Change: "a switchover needs a living primary; for a dead one ask for a failover",
		}))
	default:
		checks = append(checks, met("primary reachable", "primary %s was read %s", f.primary, f.ago(f.prim.ReadAt)))
		if f.prim.State.Writable() {
			checks = append(checks, met("primary writable", "primary %s accepts writes", f.primary))
		} else {
			checks = append(checks, unmet("primary writable", Refusal{
				Rule: "primary", Subject: f.primary, Sentence: fmt.Sprintf("primary %s is read-only (%s)", f.primary, readOnlyWords(f.prim.State)),
				Change: "make it writable, or force it", Overridable: true,
			}))
		}
	}
	return checks
}

func (f *facts) reach(a topology.Addr) topology.Verdict {
	if i := f.s.Instance(a); i != nil {
		return i.Reach
	}
	return topology.Unclear
}

// candidateChecks groups the rules about a candidate into questions that people ask.
var candidateChecks = []struct {
	name  string
	rules []string
	words func(f *facts, x *contender) string
}{
	{"candidate reachable", []string{"stale"}, func(f *facts, x *contender) string {
		return fmt.Sprintf("%s was read %s", x.addr(), f.ago(x.inst.ReadAt))
	}},
	{"candidate replicates directly", []string{"member", "no_replica", "indirect", "stopped", "sql_error"}, func(f *facts, x *contender) string {
		return fmt.Sprintf("%s replicates from %s, both threads run", x.addr(), f.primary)
	}},
	{"lag", []string{"lag"}, func(f *facts, x *contender) string {
		if !x.lagKnown {
			return fmt.Sprintf("%s does not tell its lag", x.addr())
		}
		return fmt.Sprintf("%s lags by %s, at most %s", x.addr(), span(x.lag), f.p.Switchover.MaxLag)
	}},
	{"GTID", []string{"gtid", "position"}, func(f *facts, x *contender) string {
		if f.positions {
			return fmt.Sprintf("%s does not position by GTID; it received up to %s of the binary log of %s", x.addr(), x.held, f.primary)
		}
		return fmt.Sprintf("%s positions by GTID", x.addr())
	}},
	{"binary log", []string{"log_bin", "filters", "binlog_format"}, func(_ *facts, x *contender) string {
		return fmt.Sprintf("%s logs all that it replicates, in format %s", x.addr(), x.st.BinlogFormat)
	}},
	{"version", []string{"version"}, func(_ *facts, x *contender) string {
		return fmt.Sprintf("%s runs %s, the others can follow", x.addr(), x.st.Version)
	}},
	{"no errant transactions", []string{"errant"}, func(f *facts, x *contender) string {
		return fmt.Sprintf("%s has nothing that primary %s did not write", x.addr(), f.primary)
	}},
	{"promotion rule", []string{"must_not", "delayed", "downtime"}, func(_ *facts, x *contender) string {
		return fmt.Sprintf("%s has promotion rule %s", x.addr(), x.rule.Promotion)
	}},
	{"data centre", []string{"data_center", "region"}, func(f *facts, x *contender) string {
		if x.resort > 0 {
			return fmt.Sprintf("%s is in another place than %s, as the last resort", x.addr(), f.primary)
		}
		return fmt.Sprintf("promoting %s crosses no border that the policy forbids", x.addr())
	}},
	{"wait count", []string{"durability"}, func(f *facts, x *contender) string {
		if f.p.Durability != SemiSync {
			return "durability is async: no acknowledgement is waited for"
		}
		return fmt.Sprintf("%s will wait for %d", x.addr(), f.waitCount(x.inst))
	}},
}

// candidateChecks asks them of the chosen one; where nobody is fit, of the one
// that was asked for or ranks first.
func (f *facts) candidateChecks(ch *choice, w wish) []check {
	x := ch.best
	for _, o := range ch.ranked {
		if x == nil && (w.want == "" || w.want == o.addr()) {
			x = o
		}
	}
	if x == nil {
		return []check{unmet("candidate reachable", ch.refusals[0])}
	}
	var checks []check
	for _, q := range candidateChecks {
		i := slices.IndexFunc(x.refusals, func(r Refusal) bool { return slices.Contains(q.rules, r.Rule) })
		if i < 0 {
			checks = append(checks, met(q.name, "%s", q.words(f, x)))
			continue
		}
		checks = append(checks, unmet(q.name, x.refusals[i]))
	}
	return checks
}

// proxyChecks demands that every proxy can pause: in line with the route, its
// lease alive.
func (f *facts) proxyChecks() []check {
	var behind []string
	for _, p := range f.s.Proxies {
		switch {
		case p.Conflict != "":
			behind = append(behind, fmt.Sprintf("the proxy of %s is not touched: %s", p.Node, p.Conflict))
		case p.Off(): // routes nothing, and comes back with its writer fenced
		case p.LeaseOver:
			behind = append(behind, fmt.Sprintf("the lease of %s is over, last heard of %s", p.Node, f.ago(p.Seen)))
		case p.Epoch < f.s.Route.Epoch:
			behind = append(behind, fmt.Sprintf("the proxy of %s is at epoch %d of %d%s", p.Node, p.Epoch, f.s.Route.Epoch, colon(p.Error)))
		}
	}
	if len(behind) == 0 {
		return []check{met("proxies", "%s at epoch %d", plural(len(f.s.Proxies), "proxy is", "proxies are"), f.s.Route.Epoch)}
	}
	return []check{unmet("proxies", Refusal{
		Rule: "proxies", Sentence: strings.Join(behind, "; "),
		Change: "bring the proxies in line, or force it: a proxy that does not answer is waited for until its lease is over", Overridable: true,
	})}
}
