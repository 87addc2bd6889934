package lab

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Write is a row that a writer wrote.
type Write struct {
	Writer int
	Seq    int64
	// At is when it was acknowledged.
	At time.Time
}

func (w Write) String() string {
	return fmt.Sprintf("row %d of writer %d, acknowledged at %s", w.Seq, w.Writer, w.At.Format("15:04:05.000"))
}

// Verdict compares what clients were told with what is there.
type Verdict struct {
	// Acked counts the writes that were acknowledged, Lost are those of them that are not there.
	Acked int
	Lost  []Write
	// Unknown counts the writes that ended in an error, and Present those of them that are there all the same.
	Unknown, Present int
	// Doubled counts the writes that were executed twice, which the table's key turned into an error.
	Doubled int
}

// String is one readable line.
func (v Verdict) String() string {
	s := fmt.Sprintf("%d writes acknowledged, %d lost, %d executed twice; of %d with an error, %d are there",
		v.Acked, len(v.Lost), v.Doubled, v.Unknown, v.Present)
	if len(v.Lost) > 0 {
		s += fmt.Sprintf("; the first lost one is %v", v.Lost[0])
	}
	return s
}

// Verify compares every write acknowledged until now with the rows on a server, which has to have been the last to
// acknowledge. The load may go on meanwhile.
func (ld *Load) Verify(ctx context.Context, db *sql.DB) (Verdict, error) {
	var v Verdict
	known := make(map[int]records, len(ld.writers))
	for _, w := range ld.writers {
		known[w.id] = w.snapshot()
	}
	ld.mu.Lock()
	for _, f := range ld.failures {
		if f.Class == Doubled {
			v.Doubled++
		}
	}
	ld.mu.Unlock()

	rows, err := ld.rows(ctx, db)
	if err != nil {
		return v, fmt.Errorf("compare the acknowledged writes with the rows: %w", err)
	}
	for _, w := range ld.writers {
		present, r := rows[w.id], known[w.id]
		v.Acked += len(r.acked)
		for _, a := range r.acked {
			if _, ok := present[a.seq]; !ok {
				v.Lost = append(v.Lost, Write{Writer: w.id, Seq: a.seq, At: ld.begin.Add(a.at)})
			}
		}
		v.Unknown += len(r.unknown)
		for _, seq := range r.unknown {
			if _, ok := present[seq]; ok {
				v.Present++
			}
		}
	}
	return v, nil
}

// rows reads the rows of the load's writers.
func (ld *Load) rows(ctx context.Context, db *sql.DB) (map[int]map[int64]struct{}, error) {
	first, last := ld.writers[0].id, ld.writers[len(ld.writers)-1].id
	all := make(map[int]map[int64]struct{}, len(ld.writers))
	for id := first; id <= last; id++ {
		all[id] = map[int64]struct{}{}
	}
	rows, err := db.QueryContext(ctx, fmt.Sprintf("SELECT writer, seq FROM lab.writes WHERE writer BETWEEN %d AND %d", first, last))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var writer int
		var seq int64
		if err := rows.Scan(&writer, &seq); err != nil {
			return nil, err
		}
		all[writer][seq] = struct{}{}
	}
	return all, rows.Err()
}
