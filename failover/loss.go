package failover

import (
	"fmt"
	"slices"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// final is all that the chosen one will hold when it is promoted.
func (ch *choice) final() gtid.Set {
	set := ch.best.st.Received()
	if ch.donor != nil {
		set = set.Union(ch.donor.st.Received())
	}
	return set
}

// wouldLose finds what replicas hold and the chosen one will not.
func (f *facts) wouldLose(ch *choice) {
	if f.positions {
		f.wouldLoseByPosition(ch)
		return
	}
	for _, x := range ch.ranked {
		if x == ch.best || x.refused("no_replica") || x.refused("member") {
			continue
		}
		rest := position(x.st, x.st.Received()).Beyond(ch.final())
		if !x.errant.Empty() {
			rest = f.legitimate(x.st.Received()).Beyond(ch.final())
		}
		if !rest.Empty() {
			ch.lost = append(ch.lost, fmt.Sprintf("%s received by %s (read %s) that %s will not have: %s",
				count(rest.Count()), x.addr(), f.ago(x.inst.ReadAt), ch.best.addr(), clip(rest)))
			ch.missing = ch.missing.Union(rest)
			if !x.inst.Fresh() {
				ch.unread = x.addr()
			}
		}
	}
}

// legitimate is the part of a set that the primary wrote: what counts of an
// instance with errant transactions, whose head may be one of those.
func (f *facts) legitimate(set gtid.Set) gtid.Set {
	if f.prim == nil || f.prim.State == nil {
		return gtid.Set{}
	}
	return keepOrigin(set, f.prim.State)
}

// expectedLoss adds what the old primary holds, as far as that can be known.
func (f *facts) expectedLoss(ch *choice) []string {
	loss := slices.Clone(ch.lost)
	if f.prim == nil || f.prim.State == nil {
		return append(loss, fmt.Sprintf("what primary %s wrote cannot be known: it was never read", f.primary))
	}
	st := f.prim.State
	rest := position(st, st.Executed).Beyond(ch.final())
	if !rest.Empty() && !f.positions {
		loss = append(loss, fmt.Sprintf("%s executed by primary %s (read %s) that %s has not received: %s",
			count(rest.Count()), f.primary, f.ago(f.prim.ReadAt), ch.best.addr(), clip(rest)))
	}
	switch {
	case f.prim.Fresh():
		loss = append(loss, fmt.Sprintf("whatever primary %s still writes until the proxies have dropped it and that does not reach %s", f.primary, ch.best.addr()))
	default:
		loss = append(loss, fmt.Sprintf("what primary %s wrote in its last moments cannot be known: its last reading is %s old", f.primary, span(f.s.Taken.Sub(f.prim.ReadAt))))
	}
	return loss
}

// refuseLoss holds the promise of semi_sync: nothing acknowledged is lost. A
// commit is acknowledged by WaitCount replicas, so of n replicas that may have
// acknowledged, n-WaitCount+1 must have been read to be sure that one of them
// has every acknowledged transaction; and nothing that was received may be left
// behind.
//
// It is asked again until the chosen one takes writes: who holds what nobody else
// has may die, or stay unread, when the recovery has begun. Only how the primary
// waited is not asked again, for to close it may have cost it its semi-sync.
func (f *facts) refuseLoss(ch *choice, w wish) {
	if f.p.Durability != SemiSync || w.forced {
		return
	}
	change := "bring the other instance back, or force it"
	if w.open {
		change = "bring it back; only a server rule with ignore: true gives up what it holds"
	}
	lost := ch.lost
	if f.p.GTID == GTIDDeclarative {
		lost = nil // told, and not refused
	}
	for _, sentence := range lost {
		ch.refusals = append(ch.refusals, Refusal{
			Rule: "durability", Subject: ch.best.addr(), Overridable: true,
			Sentence: "acknowledged transactions may be lost: " + sentence,
			Change:   change,
		})
	}
	if !w.open {
		f.refuseUnguarded(ch)
	}
	read, unread := f.mayHaveAcknowledged(ch)
	n, k := read+len(unread), f.waitCount(f.prim)
	if ref := f.reference(); ref != nil && ref.SemiSync.SourceEnabled && ref.SemiSync.WaitCount > 0 {
		k = min(k, ref.SemiSync.WaitCount) // it may have been degraded
	}
	if need := n - k + 1; len(unread) > 0 && read < need {
		ch.unread = unread[0]
		ch.refusals = append(ch.refusals, Refusal{
			Rule: "durability", Subject: ch.best.addr(), Overridable: true,
			Sentence: fmt.Sprintf("%s may hold acknowledged transactions that nobody else has and cannot be read: %d of %d semi-sync replicas are readable, %d are needed to be sure",
				topology.JoinAddrs(unread), read, n, need),
			Change: change,
		})
	}
}

// refuseUnguarded refuses where the primary waited for nobody when it was last
// read and the best lacks what it had executed: a client may have been told of that.
func (f *facts) refuseUnguarded(ch *choice) {
	ref := f.reference()
	if ref == nil || ref.SemiSync.SourceEnabled && ref.SemiSync.SourceActive || f.p.GTID == GTIDDeclarative {
		return
	}
	if f.positions {
		ch.refusals = append(ch.refusals, Refusal{
			Rule: "durability", Subject: ch.best.addr(), Overridable: true,
			Sentence: fmt.Sprintf("acknowledged transactions may be lost: semi-sync was off on primary %s when it was last read, %s, and without GTID nobody knows what it had executed", f.primary, f.ago(f.prim.ReadAt)),
			Change:   "bring the primary back, or force it",
		})
		return
	}
	rest := f.counted(ref, ref.Executed).Beyond(ch.final())
	if rest.Empty() {
		return
	}
	ch.refusals = append(ch.refusals, Refusal{
		Rule: "durability", Subject: ch.best.addr(), Overridable: true,
		Sentence: fmt.Sprintf("acknowledged transactions may be lost: semi-sync was off on primary %s when it was last read, %s, and %s lacks %s: %s",
			f.primary, f.ago(f.prim.ReadAt), ch.best.addr(), count(rest.Count()), clip(rest)),
		Change: "bring the primary back, or force it",
	})
}

// mayHaveAcknowledged counts the readable semi-sync replicas and names the others
// that may have acknowledged something. The latter are none where the primary's
// last reading, younger than theirs, counts no more semi-sync replicas than are
// readable now. One that was read when it had left the primary for the open intent
// counts as readable: it received nothing more.
func (f *facts) mayHaveAcknowledged(ch *choice) (read int, unread []topology.Addr) {
	ref := f.reference()
	accounted := ref != nil
	for _, x := range ch.ranked {
		switch {
		case x.inst.State == nil:
			unread = append(unread, x.addr()) // nobody who is heard has ever read it: it may be one
		case !x.direct || !x.st.SemiSync.ReplicaEnabled:
		case x.inst.Fresh() || f.hasLeft(x.inst):
			read++
		default:
			unread = append(unread, x.addr())
			accounted = accounted && f.prim.ReadAt.After(x.inst.ReadAt)
		}
	}
	if accounted && ref.SemiSync.Clients <= read {
		return read, nil
	}
	return read, unread
}

// Lost is for the end of a recovery: what is known of transactions that the new
// primary does not have, in sentences. What the old primary wrote after it was
// read last cannot be known; under async that is said, under semi_sync no client
// was told of it.
func Lost(c *Case) []string {
	f := newFacts(c)
	if c.Intent == nil {
		return nil
	}
	to := f.s.Instance(c.Intent.To)
	if c.Intent.Positions {
		return f.lostByPosition(c.Intent)
	}
	if to == nil || to.State == nil || c.Intent.Kind == KindSwitchover && f.handedOver(to) {
		return nil
	}
	var lost []string
	for _, i := range f.members() {
		if i.Addr == c.Intent.To || i.State == nil || i.State.Member != "" {
			continue
		}
		// What the new primary wrote is not lost, though a replica was read a moment later than it was.
		rest := dropOrigin(position(i.State, i.State.Received()).Beyond(to.State.Executed), to.State)
		if rest.Empty() {
			continue
		}
		sentence := fmt.Sprintf("%s of %s (read %s) that %s does not have: %s", count(rest.Count()), i.Addr, f.ago(i.ReadAt), c.Intent.To, clip(rest))
		if i.Addr == c.Intent.From && f.p.Durability == SemiSync {
			sentence += "; no replica had acknowledged them"
		}
		lost = append(lost, sentence)
	}
	if unknown := f.unknowable(c.Intent); unknown != "" {
		lost = append(lost, unknown)
	}
	return lost
}

// Left is for the end of a recovery: who replicated from the old primary when it
// began and does not replicate from the primary that it ends with.
func Left(c *Case, primary topology.Addr) []topology.Addr {
	f := newFacts(c)
	var left []topology.Addr
	for _, a := range c.Intent.Replicas {
		if i := f.s.Instance(a); a != primary && (!i.Fresh() || f.s.ChannelTo(i, primary) == nil) {
			left = append(left, a)
		}
	}
	return left
}

// unknowable says what nobody can know of the old primary's last moments; empty
// where there is nothing: it answers and ran through, or no client was told.
func (f *facts) unknowable(in *Intent) string {
	from := f.s.Instance(in.From)
	switch {
	case f.p.Durability == SemiSync:
		return ""
	case from == nil || from.State == nil:
		return fmt.Sprintf("what %s wrote and nobody received cannot be known: it was never read", in.From)
	case !from.Fresh():
		return fmt.Sprintf("what %s wrote after it was read last, %s before the %s began, cannot be known",
			in.From, span(max(0, in.At.Sub(from.ReadAt))), in.Kind)
	case from.ReadAt.Add(-from.State.Uptime.D()).After(in.At):
		return fmt.Sprintf("%s has restarted: what it told clients of and had not synced to its disk cannot be known", in.From)
	}
	return ""
}

// handedOver says that a switchover was one to its end: the old primary answers, or
// it was closed when it was read last and the new one has all that it had then. One
// whose primary dies before that is a failover.
func (f *facts) handedOver(to *topology.Instance) bool {
	from := f.s.Instance(f.c.Intent.From)
	return from.Fresh() || from != nil && closed(from.State) && to.State.Executed.Contains(from.State.Executed)
}
