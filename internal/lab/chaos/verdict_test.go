package chaos

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/internal/lab"
)

// history is a small language: each word is WRITER.SEQ@SERVER-NUMBER:INSTANT and what became of it.
type told struct {
	key              row
	commit           commit
	acked, thereAtIt bool
}

func judged(history []told) (Verdict, []reign) {
	l := newLogs()
	var acked []lab.Write
	survived := map[row]struct{}{}
	for _, h := range history {
		l.commits[h.key] = append(l.commits[h.key], h.commit)
		if l.numbers[h.commit.number] == nil {
			l.numbers[h.commit.number] = map[int]struct{}{}
		}
		l.numbers[h.commit.number][h.commit.server] = struct{}{}
		if h.acked {
			acked = append(acked, lab.Write{Writer: h.key.writer, Seq: h.key.seq})
		}
		if h.thereAtIt {
			survived[h.key] = struct{}{}
		}
	}
	return judge(acked, survived, l)
}

func TestJudge(t *testing.T) {
	w := func(seq int64, server int, number uint64, at int64) told {
		return told{key: row{1, seq}, commit: commit{server, number, at}, acked: true, thereAtIt: true}
	}
	lost := func(h told) told { h.thereAtIt = false; return h }
	unacked := func(h told) told { h.acked = false; return h }
	for _, tc := range []struct {
		name    string
		history []told
		want    Verdict
	}{
		{"one after the other, and back", []told{w(1, 1, 1, 10), w(2, 1, 2, 20), w(3, 2, 3, 30), w(4, 1, 4, 40)}, Verdict{Acked: 4}},
		{"commits of one server out of order", []told{w(1, 1, 2, 10), w(2, 1, 1, 20), w(3, 2, 3, 30)}, Verdict{Acked: 3}},
		{"a lost write before the other began", []told{w(1, 1, 1, 10), lost(w(2, 1, 2, 20)), w(3, 2, 2, 30)}, Verdict{Acked: 3, Lost: 1, Forks: 1}},
		{
			"a lost write after the other began",
			[]told{w(1, 1, 1, 10), lost(w(2, 1, 2, 50)), w(3, 2, 2, 30)},
			Verdict{Acked: 3, Lost: 1, Forks: 1, Late: 1, Overlap: 20 * time.Microsecond},
		},
		{
			"a surviving write after the other began",
			[]told{w(1, 1, 1, 10), w(2, 1, 2, 50), w(3, 2, 3, 30), w(4, 2, 4, 60)},
			Verdict{Acked: 4, Late: 1, Overlap: 20 * time.Microsecond},
		},
		{"an extra transaction that nobody was told of", []told{w(1, 1, 1, 10), unacked(lost(w(2, 1, 2, 50))), w(3, 2, 2, 30)}, Verdict{Acked: 2, Extra: 1, Forks: 1}},
		{"the successor's first one was not acknowledged", []told{w(1, 1, 1, 40), unacked(w(2, 2, 2, 30)), w(3, 2, 3, 50)}, Verdict{Acked: 2}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _ := judged(tc.history)
			got.Samples = nil
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
