package sidecar

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/consul"
	"github.com/remora-ha/remora/doctor"
	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// fakeStore is a store that holds documents, and can be down.
type fakeStore struct {
	mu      sync.Mutex
	down    bool
	denies  bool
	asked   int
	held    map[string]topology.Document
	writes  int
	known   []consul.Service
	members []consul.Member
	drift   chan []topology.Change
}

func newFakeStore() *fakeStore {
	return &fakeStore{held: map[string]topology.Document{}}
}

func (s *fakeStore) Publish(_ context.Context, d topology.Document) (consul.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.denies {
		return consul.Result{}, fmt.Errorf("consul east: publish: %w", consul.ErrDenied)
	}
	if s.down {
		return consul.Result{}, fmt.Errorf("consul east: publish: %w", consul.ErrUnreachable)
	}
	if s.held[d.Cluster].Epoch > d.Epoch {
		return consul.Result{}, fmt.Errorf("consul east: publish: %w", consul.ErrStale)
	}
	s.writes++
	s.held[d.Cluster] = d
	return consul.Result{Changed: true}, nil
}

func (s *fakeStore) Show(_ context.Context, d topology.Document) (topology.Stored, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return topology.Stored{}, consul.ErrUnreachable
	}
	held := s.held[d.Cluster]
	return topology.Stored{Epoch: held.Epoch, Document: &held}, nil
}

func (s *fakeStore) Check(context.Context, []string) doctor.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return doctor.Store{Name: "east", Denied: s.denies}
}

func (s *fakeStore) Watch(ctx context.Context, notice func([]topology.Change, error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-s.drift:
			notice(d, nil)
		}
	}
}

func (s *fakeStore) Register(_ context.Context, _ string, services []consul.Service) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return consul.ErrUnreachable
	}
	s.known = services
	return nil
}

func (s *fakeStore) Members(context.Context, string) ([]consul.Member, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, consul.ErrUnreachable
	}
	return s.members, nil
}

func (s *fakeStore) Forget(string) {}
func (s *fakeStore) Close()        {}

func (s *fakeStore) set(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *fakeStore) document() (topology.Document, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held["main"], s.writes
}

// leads runs a publishing of the stores in a term of its own.
func leads(t *testing.T, agents []*fakeStore, test func(f follower, p *publishing, after func(time.Duration))) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		store := Store{Name: "east"}
		for _, a := range agents {
			a.drift = make(chan []topology.Change) // of this bubble
			store.Agents = append(store.Agents, a)
		}
		f.ports.Stores = []Store{store}
		term := newTerm(f.Sidecar, 1)
		ctx, stop := context.WithCancel(t.Context())
		var loops sync.WaitGroup
		loops.Go(func() { f.followLedger(ctx) })
		loops.Go(func() { term.stores[0].run(ctx) })
		defer loops.Wait()
		defer stop()
		f.setTerm(term)
		synctest.Wait()
		test(f, term.stores[0], func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		})
	})
}

func TestARouteIsPublishedAtOnceAndAlsoThatNobodyMayWrite(t *testing.T) {
	store := newFakeStore()
	leads(t, []*fakeStore{store}, func(f follower, _ *publishing, after func(time.Duration)) {
		f.routed(t)
		after(0)
		if d, _ := store.document(); d.Writer == nil || d.Writer.Address != dbA {
			t.Errorf("the store holds %+v", d)
		}
		f.begin(t, failover.KindFailover)
		after(0)
		if d, _ := store.document(); d.Writer != nil || d.Primary == nil || d.Mode != topology.Fenced {
			t.Errorf("while fenced the store holds %+v", d)
		}
		_, writes := store.document()
		after(time.Minute)
		if _, n := store.document(); n != writes {
			t.Errorf("a store in line was written %d times", n-writes)
		}
	})
}

func TestAStoreThatIsDownIsAFindingAndIsBroughtInLineLater(t *testing.T) {
	store := newFakeStore()
	store.down = true
	leads(t, []*fakeStore{store}, func(f follower, p *publishing, after func(time.Duration)) {
		f.routed(t)
		after(0)
		if got := p.state("main"); !strings.Contains(got.Error, "did not answer") || got.Epoch != 0 {
			t.Errorf("the finding has %+v", got)
		}
		c := p.caseOf("main", nil)
		if len(c.Snapshot.Publications) != 1 || c.Snapshot.Publications[0].Error == "" {
			t.Errorf("the case has %+v", c.Snapshot.Publications)
		}
		store.set(false)
		after(publishEvery)
		if got := p.state("main"); got.Error != "" || got.Epoch == 0 {
			t.Errorf("after its return: %+v", got)
		}
	})
}

func TestTheNextAgentIsTakenWhereOneDoesNotAnswer(t *testing.T) {
	dead, alive := newFakeStore(), newFakeStore()
	dead.down = true
	leads(t, []*fakeStore{dead, alive}, func(f follower, p *publishing, after func(time.Duration)) {
		f.routed(t)
		after(0)
		if d, _ := alive.document(); d.Epoch == 0 || p.state("main").Error != "" {
			t.Errorf("the other agent has %+v; %s", d, p.state("main").Error)
		}
		stored, err := f.KV(t.Context(), "main", false)
		if err != nil || len(stored) != 1 || stored[0].Epoch == 0 || stored[0].Store != "east" {
			t.Errorf("kv show gives %+v, %v", stored, err)
		}
	})
}

func TestAnAgentThatRefusesIsPassedOverToo(t *testing.T) {
	refusing, alive := newFakeStore(), newFakeStore()
	refusing.denies = true
	leads(t, []*fakeStore{refusing, alive}, func(f follower, p *publishing, after func(time.Duration)) {
		f.routed(t)
		after(0)
		if d, _ := alive.document(); d.Epoch == 0 {
			t.Errorf("the other agent was not asked; %s", p.state("main").Error)
		}
		f.begin(t, failover.KindFailover)
		after(0)
		if d, _ := alive.document(); d.Mode != topology.Fenced || refusing.asked != 1 {
			t.Errorf("the one that refuses was asked %d times, the other has %+v", refusing.asked, d)
		}
	})
}

func TestAPublishThatIsCutShortIsDoneAgain(t *testing.T) {
	store := newFakeStore()
	leads(t, []*fakeStore{store}, func(f follower, p *publishing, after func(time.Duration)) {
		f.routed(t)
		after(0)
		d, before := store.document()
		store.set(true)
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if err := p.publish(ended, d); err == nil {
			t.Error("it was published to a store that is down")
		}
		store.set(false)
		after(publishEvery)
		if _, writes := store.document(); writes == before {
			t.Error("nobody looked whether the store still holds it")
		}
	})
}

func TestALagAroundTheLimitChangesTheDocumentSeldom(t *testing.T) {
	k := &publication{lag: map[topology.Addr]topology.LagState{}}
	at := func(lag time.Duration) topology.LagState {
		d := topology.Duration(lag)
		return k.lagOf(&topology.Instance{Addr: dbB, Reach: topology.Up, State: &topology.State{Sources: []topology.Source{{Addr: dbA, Lag: &d}}}}, topology.Duration(10*time.Second))
	}
	for _, step := range []struct {
		lag  time.Duration
		want topology.LagState
	}{
		{time.Second, topology.LagOK},
		{11 * time.Second, topology.Lagging},
		{9 * time.Second, topology.Lagging},
		{5 * time.Second, topology.LagOK},
		{9 * time.Second, topology.LagOK},
	} {
		if got := at(step.lag); got != step.want {
			t.Errorf("at %s it is %s, want %s", step.lag, got, step.want)
		}
	}
	if got := k.lagOf(&topology.Instance{Addr: dbB, Reach: topology.Partial}, 0); got != topology.LagOK {
		t.Errorf("one that cannot be read is %s; it was ok", got)
	}
}

func TestWhatAnotherHandDidToAStoreIsReportedAndPutBack(t *testing.T) {
	store := newFakeStore()
	leads(t, []*fakeStore{store}, func(f follower, p *publishing, after func(time.Duration)) {
		f.routed(t)
		after(0)
		_, before := store.document()
		store.drift <- []topology.Change{{Cluster: "main", Key: "mysql/master/main", Missing: true, Want: "a:3306"}}
		after(0)
		if _, writes := store.document(); writes != before+1 {
			t.Errorf("it was written %d times", writes-before)
		}
		if got := p.state("main"); len(got.Drift) != 1 || got.DriftAt.IsZero() {
			t.Errorf("the finding has %+v", got)
		}
	})
}

func TestADeposedLeaderIsStoppedByTheStoresEpoch(t *testing.T) {
	store := newFakeStore()
	store.held["main"] = topology.Document{Cluster: "main", Epoch: 1000}
	leads(t, []*fakeStore{store}, func(f follower, p *publishing, after func(time.Duration)) {
		f.routed(t)
		after(0)
		if d, _ := store.document(); d.Epoch != 1000 || !strings.Contains(p.state("main").Error, "newer epoch") {
			t.Errorf("the store holds epoch %d; %s", d.Epoch, p.state("main").Error)
		}
	})
}

func TestAServiceHasItsRoleAndItsHealth(t *testing.T) {
	fresh := &topology.State{}
	route := topology.Route{Writer: dbA, Readers: []topology.Reader{{Addr: dbB, Weight: 1}}}
	for name, tc := range map[string]struct {
		i      topology.Instance
		tag    string
		health consul.Health
	}{
		"the primary":         {topology.Instance{Addr: dbA, Reach: topology.Up, State: fresh}, "primary", consul.Passing},
		"a reader":            {topology.Instance{Addr: dbB, Reach: topology.Up, State: fresh}, "replica", consul.Passing},
		"one without reads":   {topology.Instance{Addr: "c:3306", Reach: topology.Up, State: fresh}, "replica", consul.Warning},
		"one that is down":    {topology.Instance{Addr: dbB, Reach: topology.Down}, "replica", consul.Critical},
		"one nobody can read": {topology.Instance{Addr: dbB, Reach: topology.Partial}, "replica", consul.Warning},
	} {
		s := service("main", &tc.i, route)
		if s.Name != "mysql-main" || len(s.Tags) != 1 || s.Tags[0] != tc.tag || s.Health != tc.health {
			t.Errorf("%s is %+v", name, s)
		}
	}
}

func TestServicesAreRegisteredOnlyWhereThatIsWanted(t *testing.T) {
	store := newFakeStore()
	leads(t, []*fakeStore{store}, func(f follower, p *publishing, after func(time.Duration)) {
		f.routed(t)
		after(2 * registerEvery)
		if store.known != nil {
			t.Errorf("registered %v", store.known)
		}
		p.register(t.Context(), "main")
		if len(store.known) != 2 || store.known[0].Tags[0] != "primary" {
			t.Errorf("registered %+v", store.known)
		}
	})
}

// A leader that has just begun does not know the readers' lags yet, which the store has.
func TestANewLeaderPublishesNoLagsThatItHasYetToRead(t *testing.T) {
	before := newFakeStore()
	leads(t, []*fakeStore{before}, func(f follower, p *publishing, after func(time.Duration)) {
		f.routed(t)
		after(0)
		d, writes := before.document()
		anew := func() {
			k := p.known["main"]
			k.mu.Lock()
			defer k.mu.Unlock()
			k.dirty, k.begun = true, false
		}
		p.evidence.born = time.Now() // and its term begins
		anew()
		p.wake.notify()
		after(unreadFor - time.Millisecond)
		if _, n := before.document(); n != writes {
			t.Errorf("the store had epoch %d, and was told of it with unknown lags", d.Epoch)
		}
		f.begin(t, failover.KindFailover)
		after(0)
		if now, _ := before.document(); now.Epoch <= d.Epoch {
			t.Errorf("what was decided since is not published: epoch %d", now.Epoch)
		}
		_, writes = before.document()
		anew()
		after(2 * publishEvery)
		if _, n := before.document(); n == writes {
			t.Error("of readers that nobody can read nothing is ever published")
		}
	})
}
