package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// Saved says what was written of some transactions.
type Saved struct {
	Transactions, Changes int
	// Purged are those that were asked for and are in no binary log any more.
	Purged gtid.Set
	// NotMet are those that were asked for and are in no binary log, though not purged.
	NotMet gtid.Set
	// Truncated says that the limit was reached: from the next transaction on all is missing.
	Truncated bool
	// Comments counts changes that are written as comments only, for they could not
	// be put into words, or not exactly; Why says why of the first.
	Comments int
	Why      string
}

// errFull ends a reading at its limit.
var errFull = errors.New("the limit is reached")

// SaveTransactions writes the transactions of `want` as SQL, from the server's
// binary logs, up to a limit in bytes. Nothing changes on the server. It reads as
// the account of Config: see [RescueGrants].
func (s *Servers) SaveTransactions(ctx context.Context, addr topology.Addr, want gtid.Set, w io.Writer, limit int) (Saved, error) {
	var saved Saved
	err := s.as(ctx, "save_extra", addr, func(ctx context.Context, a *actor) error {
		r, err := a.read(ctx)
		if err != nil {
			return err
		}
		written, found := 0, gtid.Set{}
		purged, err := a.readTransactions(ctx, r.state.Flavor, want, visitor{wanted: func(t *transaction) error {
			found = found.Union(t.id)
			text, notes := t.sql()
			if written+len(text) > limit {
				return errFull
			}
			written += len(text)
			saved.Transactions++
			saved.Changes += len(t.changes)
			if saved.Comments += len(notes); saved.Why == "" && len(notes) > 0 {
				saved.Why = notes[0]
			}
			_, err := w.Write(text)
			return err
		}})
		saved.Purged = purged
		if errors.Is(err, errFull) {
			saved.Truncated, err = true, nil
		}
		switch {
		case err != nil:
			return err
		case saved.Transactions == 0 && saved.Truncated:
			return a.failed("nothing of %s is saved: its first transaction alone takes more than %d bytes as SQL", want, min(limit, transactionLimit))
		case saved.Transactions == 0:
			return a.failed("none of %s is in its binary logs", want)
		case !saved.Truncated:
			saved.NotMet = notMet(r.state.Flavor, want.Subtract(purged), found)
		}
		return nil
	})
	return saved, err
}

// sql is the transaction as statements for the mysql client, and why some of its
// changes are comments only.
func (t *transaction) sql() (text []byte, notes []string) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "\n-- %s, %s, server id %d\n", t.id, t.at.Format("2006-01-02 15:04:05 UTC"), t.server)
	rows := false
	for _, c := range t.changes {
		rows = rows || c.table != ""
	}
	if rows {
		b.WriteString("BEGIN;\n")
	}
	schema := ""
	for _, c := range t.changes {
		for line := range strings.Lines(c.note) {
			fmt.Fprintf(&b, "-- %s\n", strings.TrimRight(line, "\r\n"))
		}
		if c.doubt != "" {
			fmt.Fprintf(&b, "-- INEXACT: %s\n", c.doubt)
			notes = append(notes, c.doubt)
		}
		if c.do == "" {
			if c.fixed != "" {
				notes = append(notes, c.fixed)
			}
			continue
		}
		if c.schema != "" && c.schema != schema {
			schema = c.schema
			fmt.Fprintf(&b, "USE %s;\n", quoteName(schema))
		}
		if c.table == "" && strings.Contains(c.do, ";") {
			fmt.Fprintf(&b, "DELIMITER //\n%s//\nDELIMITER ;\n", c.do)
			continue
		}
		b.WriteString(c.do + ";\n")
	}
	if rows {
		b.WriteString("COMMIT;\n")
	}
	return b.Bytes(), notes
}
