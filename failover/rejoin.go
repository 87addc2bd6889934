package failover

import (
	"fmt"
	"time"

	"github.com/remora-ha/remora/topology"
)

// RejoinRequest asks to bring an instance back as a replica of the primary.
type RejoinRequest struct {
	Instance topology.Addr `json:"instance"`
	// Discard takes the transactions back that the primary lacks; Clone copies all data anew.
	Discard bool `json:"discard,omitempty"`
	Clone   bool `json:"clone,omitempty"`
	// Unsaved goes on where the transactions that will be gone could not be saved as SQL,
	// or not all of them.
	Unsaved bool   `json:"unsaved,omitempty"`
	By      string `json:"by,omitempty"`
}

// Rejoining is a rejoin that is under way, or failed, as far as the present leader
// knows.
type Rejoining struct {
	Instance topology.Addr `json:"instance"`
	Doing    string        `json:"doing"` // the step, in words
	Since    time.Time     `json:"since"`
	By       string        `json:"by,omitempty"`
	Error    string        `json:"error,omitempty"` // why it failed; empty while it is under way
}

// ClonePolicy says how all data are copied to an instance.
type ClonePolicy struct {
	// Command is a line for /bin/sh; empty: MySQL's CLONE. MariaDB has nothing of its own.
	Command string   `yaml:"command" json:"command,omitempty"`
	Timeout Duration `yaml:"timeout" json:"timeout"`
}

// failedShown is how long a failed rejoin is told.
const failedShown = 24 * time.Hour

// discardWait bounds a Discard.
const discardWait = 10 * time.Minute

// PlanRejoin says which steps bring an instance back, or why it is not done. After the
// first that changes its data the question is asked anew, as a plain rejoin.
func PlanRejoin(c *Case, r RejoinRequest) ([]Step, *Refusal) {
	f := newFacts(c)
	i := f.s.Instance(r.Instance)
	if no := f.mayRejoin(i, r); no != nil {
		return nil, no
	}
	if f.positions {
		return f.planRejoinByPosition(i, r)
	}
	repoint := Step{
		Do: Repoint, Target: i.Addr, Source: f.primary, SemiSync: f.replicaSemiSync(i),
		Why: fmt.Sprintf("%s follows primary %s again", i.Addr, f.primary),
	}
	extra := f.extraOf(i)
	refuse := func(rule, change, format string, args ...any) ([]Step, *Refusal) {
		return nil, &Refusal{Rule: rule, Subject: i.Addr, Sentence: fmt.Sprintf(format, args...), Change: change}
	}
	var steps []Step
	if unsafe := f.saved(i.Addr, extra).unsafe; !unsafe.Empty() {
		save := f.saving(i, unsafe)
		save.Optional = r.Unsaved
		steps = append(steps, save)
	}
	switch {
	case r.Clone:
		if why := f.whyClone(i); why == "" {
			return refuse("contained", "rejoin it without --clone", "%s holds nothing that primary %s lacks, is not empty and replicates as it can: it need not be cloned", i.Addr, f.primary)
		}
		return append(steps, f.cloneStep(i)), nil
	case extra.Empty() && !f.prim.State.Covers(i.State):
		return refuse("divergent", "clone it", "%s holds transactions of primary %s that %s lacks itself", i.Addr, f.primary, f.primary)
	case extra.Empty():
		return []Step{repoint}, nil
	case !r.Discard:
		return refuse("divergent", "take them back with --discard, or copy all data anew with --clone", "%s holds %s that primary %s lacks: %s; %s",
			i.Addr, count(extra.Count()), f.primary, clip(extra), f.rescueWords(i, extra))
	}
	return append(steps, Step{
		Do: Discard, Target: i.Addr, Until: extra, Wait: Duration(discardWait),
		Why: fmt.Sprintf("%s holds %s that primary %s lacks, and they are taken back: %s", i.Addr, count(extra.Count()), f.primary, clip(extra)),
	}), nil
}

// planRejoinByPosition brings back, without GTID, what stands where the last recovery
// noted that the primary took over. Nothing else can be found out of two binary logs.
func (f *facts) planRejoinByPosition(i *topology.Instance, r RejoinRequest) ([]Step, *Refusal) {
	const change = "copy all data of the primary to it by hand, and point it to the position that the copy names"
	if r.Discard || r.Clone {
		return nil, &Refusal{Rule: "position", Subject: i.Addr, Change: change,
			Sentence: fmt.Sprintf("%s does not use GTID positioning: what it holds cannot be compared with primary %s, and where it would go on after a clone is not known", i.Addr, f.primary)}
	}
	step, why := f.joinsAgain(i)
	switch {
	case why != "":
		return nil, &Refusal{Rule: "position", Subject: i.Addr, Sentence: fmt.Sprintf("%s cannot follow primary %s: %s", i.Addr, f.primary, why), Change: change}
	case step.Do == "":
		step = Step{Do: StartReplica, Target: i.Addr, Source: i.State.Source().Addr, SemiSync: f.replicaSemiSync(i), Why: fmt.Sprintf("%s goes on where it stands", i.Addr)}
	}
	step.Optional = false
	return []Step{step}, nil
}

// mayRejoin refuses what is wrong however the instance is to be brought back.
func (f *facts) mayRejoin(i *topology.Instance, r RejoinRequest) *Refusal {
	no := func(rule, change, format string, args ...any) *Refusal {
		return &Refusal{Rule: rule, Subject: r.Instance, Sentence: fmt.Sprintf(format, args...), Change: change}
	}
	switch {
	case r.Discard && r.Clone:
		return no("request", "ask for one of them", "to discard and to clone are two ways")
	case f.c.Intent != nil:
		return no("open_intent", "wait until it has ended", "%s %s from %s to %s is open", f.c.Intent.Kind, f.c.Intent.ID, f.c.Intent.From, f.c.Intent.To)
	case i == nil:
		return no("target", "name one that `remora topology` lists", "%s is no instance of cluster %s", r.Instance, f.s.Cluster)
	case i.Addr == f.primary:
		return no("target", "switch over first", "%s is the primary", i.Addr)
	case !f.prim.Fresh():
		return no("primary", "wait until it can be read", "primary %s cannot be read (%s), so nothing can be compared with it", f.primary, f.primaryReach())
	case !i.Fresh():
		return no("stale", "start it, and wait until it can be read", "%s cannot be read (%s)", i.Addr, i.Reach)
	case i.State.Member != "":
		return no("member", "use the tools of that cluster", "%s is managed by %s", i.Addr, i.State.Member)
	case i.State.MultiSource():
		return no("channels", "leave it one of them, or set it up by hand", "%s replicates from several sources (%s), and such a replica is left alone", i.Addr, channelsOf(i.State))
	case f.rejoining(i.Addr) != nil:
		return no("busy", "wait until that has ended", "%s: %s since %s", i.Addr, f.rejoining(i.Addr).Doing, f.ago(f.rejoining(i.Addr).Since))
	case i.State.Flavor != f.prim.State.Flavor:
		return no("version", "use a server of the same kind", "%s is %s and primary %s is %s", i.Addr, i.State.Flavor, f.primary, f.prim.State.Flavor)
	case !closed(i.State):
		return no("writable", "set it read-only; where repair.writable_replica is on Remora does", "%s takes writes", i.Addr)
	}
	if list := f.replicasOf(i.Addr); (r.Discard || r.Clone) && len(list) > 0 {
		return no("replicas", "repoint them to the primary first", "%s replicate from %s", topology.JoinAddrs(addrs(list)), i.Addr)
	}
	return nil
}

func (f *facts) primaryReach() topology.Verdict {
	if f.prim == nil {
		return topology.Unclear
	}
	return f.prim.Reach
}

// whyClone says what speaks for copying all data of an instance anew.
func (f *facts) whyClone(i *topology.Instance) string {
	extra := f.extraOf(i)
	src := i.State.Source()
	switch {
	case !extra.Empty():
		return fmt.Sprintf("%s holds %s that primary %s lacks", i.Addr, count(extra.Count()), f.primary)
	case i.State.Executed.Empty():
		return fmt.Sprintf("%s is empty", i.Addr)
	case src != nil && len(stoppedBy(src)) > 0 && remedyOf(stoppedBy(src)) <= awaitIt:
		return fmt.Sprintf("replication of %s is stopped by %s", i.Addr, explainError(stoppedBy(src)[0]))
	case !f.prim.State.Covers(i.State):
		return fmt.Sprintf("the history of %s is not that of primary %s", i.Addr, f.primary)
	}
	return ""
}

func (f *facts) cloneStep(i *topology.Instance) Step {
	donor := f.donorFor(i)
	return Step{
		Do: Clone, Target: i.Addr, Source: donor, Wait: f.p.Clone.Timeout,
		Why: fmt.Sprintf("%s; all its data are replaced by those of %s", f.whyClone(i), donor),
	}
}

// donorFor is whose data are copied: a replica that is well, to spare the primary,
// one at the same place first; else the primary. One from whom it failed of late is not
// asked again, for it may lack what that takes.
func (f *facts) donorFor(i *topology.Instance) topology.Addr {
	best, home := f.primary, f.p.Server(i.Addr).DataCenter
	for _, r := range f.direct {
		src := f.s.ChannelTo(r, f.primary)
		switch {
		case r == i || !r.Fresh() || f.downtime(r.Addr) != nil || delayed(r.State) || f.rejoining(r.Addr) != nil:
		case src.IO != topology.ThreadYes || src.SQL != topology.ThreadYes || src.Filters != "" || r.State.Version != i.State.Version:
		case !f.errant(r).Empty() || f.tried(Step{Do: Clone, Target: i.Addr, Source: r.Addr}).failed():
		case best == f.primary || f.p.Server(r.Addr).DataCenter == home && f.p.Server(best).DataCenter != home:
			best = r.Addr
		}
	}
	return best
}

// rejoining is the rejoin of an instance that is under way; nil without one.
func (f *facts) rejoining(a topology.Addr) *Rejoining {
	for n := range f.c.Rejoins {
		if r := &f.c.Rejoins[n]; r.Instance == a && r.Error == "" {
			return r
		}
	}
	return nil
}

// autoClone copies a diverged instance anew where the policy says so, once its
// transactions are saved, all of them.
func (f *facts) autoClone(i *topology.Instance) (Step, bool) {
	extra := f.extraOf(i)
	wanted := f.p.Rejoin == RejoinClone && !f.positions && !extra.Empty() && !f.s.Under(i.Addr, f.primary) && closed(i.State) &&
		f.downtime(i.Addr) == nil && len(f.replicasOf(i.Addr)) == 0 && f.safe(i.Addr, extra)
	if !wanted {
		return Step{}, false
	}
	return f.cloneStep(i), true
}
