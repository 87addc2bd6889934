package failover

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/remora-ha/remora/topology"
)

// Decide says what to begin now, or why nothing is begun. `findings` are those
// of Analyze for the same case. It never begins a second recovery while an
// intent is open, and a request goes before what the findings call for.
func Decide(c *Case, findings []Finding) Decision {
	f := newFacts(c)
	switch {
	case c.Intent != nil:
		return f.decideOpen()
	case f.primary == "":
		return f.decideNoRoute()
	case c.Request != nil && c.Request.Kind == KindSwitchover:
		return f.decideSwitchover()
	case c.Request != nil:
		return f.decideRequestedFailover()
	}
	for _, x := range findings {
		if x.Instance == f.primary && (x.Recovery == KindFailover || f.dead(f.primary)) {
			return f.decideFailover(x)
		}
	}
	return f.decideIdle(findings)
}

// decideFailover is the automatic one.
func (f *facts) decideFailover(why Finding) Decision {
	w := f.wish()
	ch := f.choose(w)
	d := Decision{Candidates: f.listed(&ch, w), Wait: ch.wait}
	d.Refusals = append(f.guards(), ch.refusals...)
	if why.Recovery != KindFailover && len(d.Refusals) == 0 {
		d.Refusals = append(d.Refusals, Refusal{Rule: "reported_only", Subject: f.primary, Sentence: string(why.Code) + " is not acted upon", Change: "a forced failover"})
	}
	if ch.best != nil {
		d.Loss = f.expectedLoss(&ch)
	}
	if len(d.Refusals) > 0 {
		d.Sentence = fmt.Sprintf("%s: %s; no failover: %s", f.s.Cluster, why.Sentence, d.Refusals[0])
		return d
	}
	d.Intent = f.intent(KindFailover, &ch, why.Sentence)
	d.Intent.Code, d.Intent.Evidence = why.Code, why.Evidence
	d.Sentence = fmt.Sprintf("%s: %s; failing over to %s", f.s.Cluster, why.Sentence, ch.best.addr())
	return d
}

// guards are what holds back an automatic failover whoever the candidate is.
func (f *facts) guards() []Refusal {
	var list []Refusal
	if m := member(f.prim); m != "" {
		list = append(list, Refusal{
			Rule: "member", Subject: f.primary, Sentence: fmt.Sprintf("%s is managed by %s, which elects its own primary", f.primary, m),
			Change: "use the tools of that cluster",
		})
	}
	if f.p.Failover != Automatic {
		list = append(list, Refusal{
			Rule: "manual", Subject: f.primary, Sentence: fmt.Sprintf("the policy of cluster %s is failover: %s", f.s.Cluster, f.p.Failover),
			Change: "an operator starts it with a failover request, or sets failover: automatic", Overridable: true,
		})
	}
	if words := f.downtimeWords(f.primary); words != "" {
		list = append(list, Refusal{
			Rule: "downtime", Subject: f.primary, Sentence: "primary " + words,
			Change: "end the downtime, or start it with a failover request", Overridable: true,
		})
	}
	if r := f.antiFlap(); r != nil {
		list = append(list, *r)
	}
	if r := f.stoppedByHook(); r != nil {
		list = append(list, *r)
	}
	return list
}

// antiFlap refuses a second automatic failover soon after one. The period starts
// when that one ended, and an acknowledgement releases it. A planned change is
// no flap; nor is the death of the new primary before the failover had ended.
func (f *facts) antiFlap() *Refusal {
	last := f.c.Last
	if last == nil || last.Intent.Kind != KindFailover || last.Acknowledged != nil || last.CutShort() {
		return nil
	}
	until := last.Ended.Add(f.p.AntiFlap.D())
	if !until.After(f.s.Taken) {
		return nil
	}
	return &Refusal{
		Rule: "anti_flap", Subject: f.primary, Overridable: true,
		Sentence: fmt.Sprintf("failover %s ended %s and the anti-flap period of %s has %s to go", last.Intent.ID, f.ago(last.Ended), f.p.AntiFlap, span(until.Sub(f.s.Taken))),
		Change:   "acknowledge that recovery, wait, or start it with a failover request",
	}
}

// decideRequestedFailover is an operator's. It needs no policy's leave, but
// without force it needs a dead primary; with force it overrides what may be.
func (f *facts) decideRequestedFailover() Decision {
	req, w := f.c.Request, f.wish()
	ch := f.choose(w)
	d := Decision{Candidates: f.listed(&ch, w), Refusals: f.repeated(), Wait: ch.wait}
	if req.Kind != KindFailover {
		d.Refusals = append(d.Refusals, Refusal{Rule: "request", Sentence: fmt.Sprintf("a request of kind %q is unknown", req.Kind), Change: "ask for failover or switchover"})
	}
	if m := member(f.prim); m != "" {
		d.Refusals = append(d.Refusals, f.guards()[0])
	}
	if !req.Force && !f.dead(f.primary) {
		d.Refusals = append(d.Refusals, Refusal{
			Rule: "alive", Subject: f.primary, Sentence: fmt.Sprintf("primary %s is not dead: %s", f.primary, f.life()),
			Change: "a switchover moves it without loss; a forced failover goes on regardless", Overridable: true,
		})
	}
	d.Refusals = append(d.Refusals, ch.refusals...)
	if ch.best != nil {
		d.Loss = f.expectedLoss(&ch)
	}
	if len(d.Refusals) > 0 {
		d.Sentence = fmt.Sprintf("%s: failover of %s refused: %s", f.s.Cluster, f.primary, d.Refusals[0])
		return d
	}
	d.Intent = f.intent(KindFailover, &ch, f.reason("failover"))
	d.Intent.Evidence = append(f.saw(f.prim), f.heard(f.primary)...)
	d.Sentence = fmt.Sprintf("%s: failing over from %s to %s as %s asked", f.s.Cluster, f.primary, ch.best.addr(), byWhom(req))
	return d
}

// life says what speaks for the primary.
func (f *facts) life() string {
	switch receivers := f.receivers(f.primary); {
	case f.prim == nil:
		return "it is not part of the snapshot"
	case f.prim.Reach == topology.Up:
		return "it answers"
	case len(receivers) > 0:
		return receiversWords(receivers) + " from it"
	default:
		return fmt.Sprintf("its state is %s", f.prim.Reach)
	}
}

// intent is what is to be committed; the ledger sets its epoch.
func (f *facts) intent(kind Kind, ch *choice, reason string) *Intent {
	in := &Intent{
		ID: f.newID(), Cluster: f.s.Cluster, Kind: kind,
		From: f.primary, To: ch.best.addr(), Reason: reason, Replicas: f.replicas(f.primary), At: f.s.Taken, Positions: f.positions,
	}
	if req := f.c.Request; req != nil {
		if req.ID != "" {
			in.ID = req.ID
		}
		in.Forced, in.By, in.Chosen = req.Force, byWhom(req), req.To != ""
	}
	if kind == KindSwitchover {
		in.Deadline, in.Regroup = f.s.Taken.Add(f.switchoverTimeout().D()), f.regroup(ch.best.inst)
	}
	return in
}

// newID names a recovery by the route that it changes, "main-12", and after a
// hook has stopped one by the number of the try, "main-12.2".
func (f *facts) newID() string {
	id := fmt.Sprintf("%s-%d", f.s.Cluster, f.s.Route.Epoch)
	if f.c.Stopped == nil {
		return id
	}
	tried, same := strings.CutPrefix(f.c.Stopped.Intent.ID, id)
	switch n, err := strconv.Atoi(strings.TrimPrefix(tried, ".")); {
	case same && tried == "":
		return id + ".2"
	case same && err == nil && tried[0] == '.':
		return fmt.Sprintf("%s.%d", id, n+1)
	default:
		return id
	}
}

func (f *facts) reason(what string) string {
	req := f.c.Request
	words := fmt.Sprintf("%s asked for a %s", byWhom(req), what)
	if req.Force {
		words = fmt.Sprintf("%s forced a %s", byWhom(req), what)
	}
	return words + colon(req.Reason)
}

func byWhom(req *Request) string {
	if req.By == "" {
		return "an operator"
	}
	return req.By
}

// repeated refuses a request that was carried out already.
func (f *facts) repeated() []Refusal {
	last, req := f.c.Last, f.c.Request
	if last == nil || req.ID == "" || last.Intent.ID != req.ID {
		return nil
	}
	return []Refusal{{
		Rule: "repeated", Sentence: fmt.Sprintf("request %s was carried out before: %s, %s is primary", req.ID, last.Outcome, last.To),
		Change: "ask with a new id",
	}}
}

// waiting begins the reason of a step that waits for what only others can change.
const waiting = "waiting: "

// OnlyWaits says that the step waits for what only others can change: that it ended
// well does not bring the plan on.
func (s Step) OnlyWaits() bool { return strings.HasPrefix(s.Why, waiting) }

// decideOpen never begins anything: one recovery at a time.
func (f *facts) decideOpen() Decision {
	in := f.c.Intent
	next := "nothing remains"
	if stages := f.plan(); len(stages) > 0 {
		next = "next: " + stages[0].String()
		if step := stages[0][0]; step.OnlyWaits() {
			next = step.Why
		}
	}
	d := Decision{Sentence: fmt.Sprintf("%s: %s %s from %s to %s is under way; %s", f.s.Cluster, in.Kind, in.ID, in.From, in.To, next)}
	if req := f.c.Request; req != nil && req.ID != in.ID {
		r := Refusal{
			Rule: "open_intent", Sentence: fmt.Sprintf("%s %s from %s to %s is open since %s", in.Kind, in.ID, in.From, in.To, f.ago(in.At)),
			Change: "wait until it has ended; there are never two at once",
		}
		d.Refusals = append(d.Refusals, r)
		d.Checks = append(d.Checks, Check{Name: "no open recovery", Sentence: r.Sentence})
	}
	return d
}

func (f *facts) decideNoRoute() Decision {
	r := Refusal{Rule: "route", Sentence: "no writer is routed yet", Change: "adopt the cluster: exactly one writable instance with the others replicating from it"}
	route, refusal := Adopt(f.c)
	if refusal != nil {
		r.Sentence, r.Change = refusal.Sentence, refusal.Change
	} else {
		r.Sentence = fmt.Sprintf("no writer is routed yet; %s can be adopted", route.Writer)
	}
	return Decision{Sentence: fmt.Sprintf("%s: %s", f.s.Cluster, r), Refusals: []Refusal{r}}
}

// decideIdle sums up a cluster that needs no recovery.
func (f *facts) decideIdle(findings []Finding) Decision {
	under, running := 0, 0
	for _, i := range f.members() {
		if i.Addr == f.primary || !i.State.IsReplica() || !f.s.Under(i.Addr, f.primary) {
			continue
		}
		under++
		src := i.State.Source()
		if i.Fresh() && src.IO == topology.ThreadYes && src.SQL == topology.ThreadYes {
			running++
		}
	}
	replicate := "replicates"
	if running != 1 {
		replicate = "replicate"
	}
	d := Decision{Sentence: fmt.Sprintf("%s: %s is primary at epoch %d; %d of %s %s", f.s.Cluster, f.primary, f.s.Route.Epoch,
		running, plural(under, "replica", "replicas"), replicate)}
	if len(findings) > 0 && findings[0].Priority < advice {
		d.Sentence += "; " + findings[0].Sentence
	}
	d.Wait = slices.ContainsFunc(findings, func(x Finding) bool {
		return x.Instance == f.primary && (x.Code == "UnreachableMaster" || x.Code == "UnreachableMasterWithLaggingReplicas" || x.Code == "UnreachableCoMaster")
	})
	if repairs := f.repairs(); len(repairs) > 0 {
		d.Sentence += "; mending: " + Stage(repairs).String()
		return d
	}
	if d.Wait {
		d.Sentence += "; waiting for more evidence"
		return d
	}
	d.Sentence += "; nothing to do"
	return d
}
