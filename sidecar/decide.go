package sidecar

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/ledger"
	"github.com/remora-ha/remora/topology"
)

const (
	// idleCycle is how often a cluster is looked at when nothing happens.
	idleCycle = 100 * time.Millisecond
	// askEvery bounds how often all vantage points are asked while a primary is in doubt.
	askEvery = 50 * time.Millisecond
	// settleReaders is how long other readers must be called for before the route
	// changes: a replica that is being repointed is no news.
	settleReaders = 2 * time.Second
)

// decider decides and acts for one cluster while this node leads.
type decider struct {
	*term
	cluster string
	job     job
	// turn makes operators' requests and the decider's own cycle take turns: there
	// are never two recoveries of a cluster at once. It holds a value while somebody's
	// turn is on; a mutex could not be waited for in virtual time, nor given up.
	turn chan struct{}

	mu         sync.Mutex
	verdict    failover.Verdict           // of the last cycle, for the status
	blind      map[string][]topology.Addr // by sidecar, what it cannot reach and others do, in the last cycle
	steps      []failover.StepResult      // of the open intent, not committed yet
	firstError string
	memory     memory // of findings and repairs

	doubts map[topology.Addr]doubt // where the watching is shared; guarded by mu

	asked       time.Time
	reread      bool // who reads the cluster was asked to since all of it was read
	hurries     bool // its primary is in doubt, or being changed, as of the last cycle
	waits       bool // likewise: something is to be done that waits for an answer
	doubting    counted
	restless    counted
	calm        calm   // whether nothing is going on, as of the last cycle
	sentence    string // the last
	said        string // its gist
	readers     []topology.Reader
	readersAt   time.Time
	stepsOf     string    // the intent that steps belong to
	closing     time.Time // since when proxies are awaited
	closingStep failover.Step
	background  sync.WaitGroup
	inFlight    map[topology.Addr]failover.Step // optional steps that are under way; guarded by mu
	mending     []*mending                      // repairs that are under way; guarded by mu
	ended       map[start]time.Time             // when the last step did that may have been one; guarded by mu

	detected  map[topology.Addr]time.Time // when a failure was last found that calls for a recovery
	told      map[topology.Addr]told      // by the failed primary; guarded by mu
	hooksBusy atomic.Bool                 // hooks are being run for recoveries that have ended
}

func newDecider(t *term, cluster string) *decider {
	return &decider{
		term: t, cluster: cluster, turn: make(chan struct{}, 1), doubting: counted{of: &t.doubting}, restless: counted{of: &t.restless}, inFlight: map[topology.Addr]failover.Step{},
		ended: map[start]time.Time{}, detected: map[topology.Addr]time.Time{}, told: map[topology.Addr]told{},
		memory:  memory{watch: failover.Watch{Since: time.Now()}},
		hurries: true, // until it has been looked at
	}
}

// attend has the cluster looked at whenever something of it changed, and now and then, until the end, which it returns. What runs for it is
// among running.
func (d *decider) attend(ctx context.Context, running *sync.WaitGroup) (end func()) {
	d.job.do = func(why reasons) { d.work(ctx, why) }
	d.job.start(running)
	stops := []func(){
		d.observer.changed.listen(d.cluster, d.job.ask), d.evidence.changed.listen(d.cluster, d.job.ask), d.agreed.listen(d.cluster, d.job.ask),
	}
	d.job.ask()
	return func() {
		for _, stop := range stops {
			stop()
		}
		d.job.end(d.background.Wait)
	}
}

// work looks at the cluster until there is nothing more to do for now.
func (d *decider) work(ctx context.Context, why reasons) {
	if !why.asked && d.still(time.Now()) {
		d.job.in(d.pace())
		return
	}
	pause(ctx, d.gathering())
	for ctx.Err() == nil && d.cycle(ctx) { // something was done: look again at once
		continue
	}
	d.job.in(d.pace())
}

// cycle is gather → state → one switch → act. It says whether it changed anything.
func (d *decider) cycle(ctx context.Context) bool {
	if !d.takeTurn(ctx) {
		return false
	}
	defer d.endTurn()
	c, v, ok := d.look(ctx)
	if !ok {
		return false
	}
	found, recorded := d.discover(ctx, &c)
	if found && recorded {
		return true
	}
	handing := d.resigning()
	if handing != "" {
		v.Decision.Sentence += "; " + handing
	}
	d.publish(v, &c)
	d.detect(ctx, &c, v.Findings)
	d.handOver(ctx)
	d.startDue(ctx, &c)
	d.heedDoubts(ctx, &c, &v)
	switch {
	case acts(&c, &v) && !d.current(ctx, &c):
		d.unsettle()
		return false // the answers wake us
	case c.Intent != nil:
		return d.advance(ctx, &c)
	case c.Snapshot.Route.Epoch == 0 && found:
		d.unsettle() // its instances are to be recorded before
		return false
	case c.Snapshot.Route.Epoch == 0:
		return d.adopt(ctx, &c)
	case v.Decision.Intent != nil && handing != "":
		return false // the next leader begins it
	case v.Decision.Intent != nil:
		_, err := d.launch(ctx, &c, v.Decision)
		return err == nil
	case d.inDoubt(&c):
		d.askAll(ctx, &c)
		return false
	default:
		d.repair(ctx, &c, v.Repairs)
		return d.route(ctx, &c)
	}
}

// look puts the case together and examines it; ok is false when ctx ended first. Of thousands of clusters a few are looked at
// at once.
func (d *decider) look(ctx context.Context) (c failover.Case, v failover.Verdict, ok bool) {
	var looking turns
	if d.shared() {
		looking = d.looking
	}
	end, ok := looking.take(ctx)
	if !ok {
		return c, v, false
	}
	defer end()
	c = d.remembering(d.caseOf(d.cluster, nil))
	return c, failover.Examine(&c), true
}

// acts says that the cycle is about to change something.
func acts(c *failover.Case, v *failover.Verdict) bool {
	return c.Intent != nil || c.Snapshot.Route.Epoch == 0 || v.Decision.Intent != nil || len(v.Repairs) > 0
}

// takeTurn waits for its turn; false when ctx ended first.
func (d *decider) takeTurn(ctx context.Context) bool {
	select {
	case d.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (d *decider) endTurn() { <-d.turn }

// publish keeps the verdict for the status and says what is news in it.
func (d *decider) publish(v failover.Verdict, c *failover.Case) {
	blind := failover.Blind(c)
	d.mu.Lock()
	d.verdict, d.blind = v, blind
	d.memory.look(&c.Snapshot)
	appeared, gone := d.memory.notice(v.Findings, c.Snapshot.Taken)
	d.mu.Unlock()
	d.say(v.Decision.Sentence)
	for _, f := range appeared {
		d.log.Info(f.Sentence, "cluster", d.cluster, "finding", f.Code, "instance", f.Instance)
	}
	for _, n := range gone {
		d.log.Info("no longer found", "cluster", d.cluster, "finding", n.Code, "instance", n.Instance)
	}
}

// whoIsBlind says what each sidecar could not reach in the last cycle, though others did.
func (d *decider) whoIsBlind() map[string][]topology.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.blind
}

// numbers differ from cycle to cycle where nothing else does.
var numbers = regexp.MustCompile(`[0-9]+(\.[0-9]+)?(ms|s)\b`)

// gist is what stays of a sentence when its figures change.
func gist(sentence string) string { return numbers.ReplaceAllString(sentence, "") }

// say logs the cycle's sentence when it is another one than in the last cycle.
func (d *decider) say(sentence string) {
	if sentence == d.sentence {
		return
	}
	d.sentence = sentence
	if g := gist(sentence); g != d.said {
		d.said = g
		d.log.Info(sentence, "cluster", d.cluster)
	}
}

// discover adds instances that others named as source or replica, and says whether there were such, and whether they are recorded.
func (d *decider) discover(ctx context.Context, c *failover.Case) (some, recorded bool) {
	known := d.ports.Consensus.State().Clusters[d.cluster].Known
	var found []topology.Addr
	add := func(a topology.Addr) {
		if a != "" && !slices.Contains(known, a) && !c.Policy.Server(a).Ignore {
			found = append(found, a)
		}
	}
	for _, i := range c.Snapshot.Instances {
		if i.State == nil {
			continue
		}
		self := i.Addr
		if i.State.ReportedAs != "" {
			self = i.State.ReportedAs // a seed may be another name of the same server
		}
		add(self)
		for _, s := range i.State.Sources {
			add(s.Addr)
		}
		for _, a := range i.State.Replicas {
			add(a)
		}
	}
	if found = topology.SortAddrs(found); len(found) == 0 {
		return false, false
	}
	_, err := d.commit(ctx, ledger.Command{Discover: &ledger.Discover{Cluster: d.cluster, Addrs: found}})
	if err != nil {
		d.log.Warn("instances were found but could not be recorded", "cluster", d.cluster, "instances", topology.JoinAddrs(found), "error", err)
		return true, false
	}
	d.log.Info("discovered instances", "cluster", d.cluster, "instances", topology.JoinAddrs(found))
	return true, true
}

// adopt commits the first route of a cluster.
func (d *decider) adopt(ctx context.Context, c *failover.Case) bool {
	route, refusal := failover.Adopt(c)
	if refusal != nil {
		return false // the cycle's sentence says why
	}
	res, err := d.commit(ctx, ledger.Command{SetRoute: &ledger.SetRoute{
		Cluster: d.cluster, Writer: route.Writer, Readers: route.Readers,
	}})
	if err != nil {
		d.log.Warn("the primary that was found could not be adopted", "cluster", d.cluster, "primary", route.Writer, "error", err)
		return false
	}
	d.log.Info("adopted the primary that was found", "cluster", d.cluster, "primary", route.Writer, "epoch", res.Epoch)
	return true
}

// begin opens an intent after a quorum round; results are of the hooks before it.
func (d *decider) begin(ctx context.Context, c *failover.Case, dec failover.Decision, results []failover.HookResult) error {
	if err := d.ports.Consensus.Verify(ctx); err != nil {
		return fmt.Errorf("%s: %s was decided, but this node may not lead any more: %w", d.cluster, dec.Intent.Kind, err)
	}
	d.breakOff()
	res, err := d.commit(ctx, ledger.Command{Begin: &ledger.Begin{Intent: *dec.Intent, Expect: c.Snapshot.Route.Epoch, Hooks: results}})
	if err != nil {
		d.log.Warn("an intent was not committed", "cluster", d.cluster, "intent", dec.Intent.ID, "error", err)
		return fmt.Errorf("%s: commit the %s: %w", d.cluster, dec.Intent.Kind, err)
	}
	d.log.Info("began", "cluster", d.cluster, "kind", dec.Intent.Kind, "from", dec.Intent.From, "to", dec.Intent.To,
		"epoch", res.Epoch, "reason", dec.Intent.Reason, "evidence", dec.Intent.Evidence)
	return nil
}

// inDoubt says whether the primary is anything but well, so that all vantage
// points and the replicas are to be asked now rather than at their next tick.
func (d *decider) inDoubt(c *failover.Case) bool {
	primary := c.Snapshot.Instance(c.Snapshot.Route.Writer)
	if primary == nil {
		return false
	}
	switch {
	case primary.Reach == topology.Unclear && d.shared():
		return false // as thousands are when a term begins: see inquire
	case primary.Reach != topology.Up:
		return true
	}
	return slices.ContainsFunc(primary.Views, func(v topology.View) bool {
		return v.Reach == topology.Refused || v.Reach == topology.TimedOut
	})
}

func (d *decider) askAll(ctx context.Context, c *failover.Case) {
	if time.Since(d.asked) < d.askPause() {
		return
	}
	d.asked = time.Now()
	addrs := make([]topology.Addr, len(c.Snapshot.Instances))
	for i, inst := range c.Snapshot.Instances {
		addrs[i] = inst.Addr
	}
	d.background.Go(func() { d.ask(ctx, d.cluster, addrs, c.Policy.Detection.Timeout.D()) })
}

// route commits other readers when they have been called for long enough.
func (d *decider) route(ctx context.Context, c *failover.Case) bool {
	cl := d.ports.Consensus.State().Clusters[d.cluster]
	if !c.Snapshot.Instance(cl.Route.Writer).Fresh() {
		return false
	}
	want := failover.ReadersOf(c)
	lost := d.evidence.newest(d.cluster) > cl.Route.Epoch // the ledger was, and sidecars route nothing that is older than what they know
	if slices.Equal(want, cl.Route.Readers) && !lost {
		d.readersAt = time.Time{}
		return false
	}
	if d.readersAt.IsZero() || !slices.Equal(want, d.readers) {
		d.readers, d.readersAt = want, time.Now()
	}
	if time.Since(d.readersAt) < settleReaders || !d.current(ctx, c) {
		return false
	}
	d.readersAt = time.Time{}
	_, err := d.commit(ctx, ledger.Command{SetRoute: &ledger.SetRoute{
		Cluster: d.cluster, Expect: cl.Route.Epoch, Writer: cl.Route.Writer, Readers: want,
	}})
	if err != nil {
		d.log.Warn("other readers could not be committed", "cluster", d.cluster, "error", err)
		return false
	}
	d.log.Info("other readers", "cluster", d.cluster, "readers", want)
	return true
}
