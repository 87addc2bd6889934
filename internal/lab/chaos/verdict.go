package chaos

import (
	"fmt"
	"slices"
	"time"

	"github.com/remora-ha/remora/internal/lab"
)

// Verdict is what the clients were told, against what the servers have.
type Verdict struct {
	Acked int `json:"acknowledged"`
	Lost  int `json:"lost"`
	// Late are acknowledged writes that a server executed after its successor's first one: two writers.
	Late int `json:"written_after_successor"`
	// Overlap is the longest time by which one of them was late.
	Overlap time.Duration `json:"overlap_ns"`
	// Errors are the client's; Present are the writes among them that are there all the same.
	Errors  int `json:"client_errors"`
	Present int `json:"client_errors_present"`
	// Extra are transactions that no client was acknowledged and that only servers had which were thrown away; Forks are the
	// sequence numbers that two servers used. Neither is a broken promise: a primary that was cut off may have them.
	Extra int `json:"extra_unacknowledged"`
	Forks int `json:"forks"`
	// Unseen are rows of the final primary that no binary log has: the measurement is not whole.
	Unseen int `json:"unseen"`

	Samples []string `json:"samples,omitempty"` // of what was lost or late
}

// reign is a time in which one server wrote, as the history that survived has it.
type reign struct {
	server      int
	low, high   uint64 // sequence numbers
	first, last int64  // instants of its acknowledged writes, in microseconds; 0 where it has none
}

// judge compares the acknowledged writes with the rows that survived and with the logs.
func judge(acked []lab.Write, survived map[row]struct{}, l *logs) (Verdict, []reign) {
	v := Verdict{Acked: len(acked), Forks: l.forks()}
	told := make(map[row]struct{}, len(acked))
	for _, w := range acked {
		told[row{w.Writer, w.Seq}] = struct{}{}
	}
	reigns := reigns(survived, told, l)
	for _, w := range acked {
		key := row{w.Writer, w.Seq}
		if _, there := survived[key]; !there {
			v.Lost++
			v.sample(v.Lost, "lost: %v; the logs have it as %v", w, l.commits[key])
		}
		for _, c := range l.commits[key] {
			if by := late(reigns, c); by > 0 {
				v.Late++
				v.Overlap = max(v.Overlap, by)
				v.sample(v.Late, "late: %v was executed by server %d as number %d, %s after its successor's first", w, c.server, c.number, by)
			}
		}
	}
	for key := range survived {
		if len(l.commits[key]) == 0 {
			v.Unseen++
		}
	}
	for key := range l.commits {
		_, there := survived[key]
		_, acknowledged := told[key]
		if !there && !acknowledged {
			v.Extra++
		}
	}
	return v, reigns
}

// sample keeps the first ten of a kind.
func (v *Verdict) sample(nth int, format string, args ...any) {
	if nth <= 10 {
		v.Samples = append(v.Samples, fmt.Sprintf(format, args...))
	}
}

// reigns cuts the history that survived where the server changes.
func reigns(survived, told map[row]struct{}, l *logs) []reign {
	type entry struct {
		commit
		acked bool
	}
	var history []entry
	for key := range survived {
		_, acked := told[key]
		for _, c := range l.commits[key] {
			history = append(history, entry{c, acked})
		}
	}
	slices.SortFunc(history, func(a, b entry) int {
		switch {
		case a.number < b.number:
			return -1
		case a.number > b.number:
			return 1
		default:
			return a.server - b.server
		}
	})
	var all []reign
	for _, e := range history {
		if len(all) == 0 || all[len(all)-1].server != e.server {
			all = append(all, reign{server: e.server, low: e.number})
		}
		r := &all[len(all)-1]
		r.high = e.number
		if !e.acked {
			continue
		}
		if r.first == 0 || e.at < r.first {
			r.first = e.at
		}
		r.last = max(r.last, e.at)
	}
	return all
}

// late is by how much a write came after the first acknowledged one of the reign that followed its own. Its own is the last
// of its server that began no later in the history; that of a fork is the one that the fork left.
func late(all []reign, c commit) time.Duration {
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].server != c.server || all[i].low > c.number {
			continue
		}
		for _, next := range all[i+1:] {
			if next.first != 0 && next.server != c.server {
				return max(0, time.Duration(c.at-next.first)*time.Microsecond)
			}
		}
		return 0
	}
	return 0
}
