package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	binlog "github.com/go-mysql-org/go-mysql/replication"

	"github.com/remora-ha/remora/internal/gtid"
)

// transaction is one of a server's binary logs.
type transaction struct {
	id      gtid.Set // itself alone
	at      time.Time
	server  uint32
	changes []change
}

// change is one statement, or what a row event did to one row.
type change struct {
	do     string // SQL; empty for a note
	note   string // what people should know, shown as a comment before it
	undo   string // SQL that puts the row back
	fixed  string // why it cannot be undone; empty where undo can
	schema string // of a statement: its default database
	table  string // of a row, quoted: `db`.`table`
	doubt  string // what the statement does not say exactly
}

// visitor is shown transactions in their order. Of one that was not wanted only the
// id is known.
type visitor struct {
	before   func(gtid.Set) // what the first log that is read begins after; may be nil
	wanted   func(*transaction) error
	discards bool              // rows come with what undoes them, else with what repeats them
	unwanted func(id gtid.Set) // may be nil
}

// readTransactions shows the transactions of a server's binary logs that are in
// `want`. It says which of them are purged, so that they were not met.
func (a *actor) readTransactions(ctx context.Context, flavor string, want gtid.Set, v visitor) (purged gtid.Set, err error) {
	file, before, err := a.firstLogWith(ctx, flavor, want)
	if err != nil {
		return purged, err
	}
	if v.before != nil {
		v.before(before)
	}
	purged = want.Intersect(before)
	return purged, a.readLogs(ctx, flavor, file, want, v)
}

func (a *actor) readLogs(ctx context.Context, flavor, file string, want gtid.Set, v visitor) error {
	s, err := openBinlog(ctx, a.cfg, a.addr, flavor, file)
	if err != nil {
		return a.binlogError(ctx, file, err)
	}
	defer s.close()
	r := &binlogReader{actor: a, want: want, visitor: v, tables: map[string]*table{}}
	for {
		event, err := s.next(r.wants)
		if errors.Is(err, errLogsEnd) {
			return r.end()
		}
		if err == nil {
			err = r.take(ctx, event)
		}
		if err != nil {
			return a.binlogError(ctx, file, err)
		}
	}
}

// binlogError names what was read.
func (a *actor) binlogError(ctx context.Context, file string, err error) error {
	var own *Error
	switch {
	case errors.As(err, &own):
		return err
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	return a.fail(plain("binary logs from %s on", file), err)
}

// firstLogWith finds the newest binary log that begins before all of `want`, or the
// oldest that there is, and what that begins after.
func (a *actor) firstLogWith(ctx context.Context, flavor string, want gtid.Set) (file string, before gtid.Set, err error) {
	const list = "SHOW BINARY LOGS"
	results, err := a.session.query(ctx, list)
	if err != nil {
		return "", before, a.fail(plain(list), err)
	}
	if len(results) == 0 || len(results[0]) == 0 {
		return "", before, a.failed("it has no binary log")
	}
	logs := results[0]
	for n := len(logs) - 1; n >= 0; n-- {
		file = logs[n]["Log_name"]
		if before, err = a.logStart(ctx, flavor, file); err != nil {
			return "", before, a.binlogError(ctx, file, err)
		}
		if want.Intersect(before).Empty() {
			break
		}
	}
	return file, before, nil
}

func (a *actor) logStart(ctx context.Context, flavor, file string) (gtid.Set, error) {
	s, err := openBinlog(ctx, a.cfg, a.addr, flavor, file)
	if err != nil {
		return gtid.Set{}, err
	}
	defer s.close()
	return s.start()
}

// binlogReader puts the events of wanted transactions together.
type binlogReader struct {
	*actor
	visitor
	want   gtid.Set
	tables map[string]*table
	now    *transaction // the one that is being read; nil between wanted ones
	note   string       // for the next change
	size   int          // of the present transaction's rows as SQL, in bytes
}

// transactionLimit bounds the SQL of one transaction, which is held in memory whole.
const transactionLimit = 64 << 20

// wants says which events are to be parsed: all of a wanted transaction.
func (r *binlogReader) wants(t binlog.EventType) bool {
	switch t {
	case binlog.GTID_EVENT, binlog.ANONYMOUS_GTID_EVENT, binlog.GTID_TAGGED_LOG_EVENT, binlog.MARIADB_GTID_EVENT:
		return true
	case binlog.ROTATE_EVENT, binlog.HEARTBEAT_EVENT, binlog.HEARTBEAT_LOG_EVENT_V2:
		return false
	}
	return r.now != nil
}

func (r *binlogReader) take(ctx context.Context, event *binlog.BinlogEvent) error {
	id, begins, err := transactionID(event)
	if err != nil {
		return fmt.Errorf("%w: %w", errGarbled, err)
	}
	if !begins {
		if r.now == nil {
			return nil
		}
		return r.add(ctx, event)
	}
	if err := r.end(); err != nil {
		return err
	}
	if id.Empty() || !r.want.Contains(id) {
		if r.unwanted != nil {
			r.unwanted(id)
		}
		return nil
	}
	r.size = 0
	r.now = &transaction{id: id, at: time.Unix(int64(event.Header.Timestamp), 0).UTC(), server: event.Header.ServerID}
	return nil
}

// end hands over the transaction that was read.
func (r *binlogReader) end() error {
	t := r.now
	if r.now, r.note = nil, ""; t == nil {
		return nil
	}
	return r.wanted(t)
}

func (r *binlogReader) add(ctx context.Context, event *binlog.BinlogEvent) error {
	switch e := event.Event.(type) {
	case *binlog.TransactionPayloadEvent:
		for _, inner := range e.Events {
			if err := r.add(ctx, inner); err != nil {
				return err
			}
		}
	case *binlog.QueryEvent:
		r.statement(e, event.Header.Timestamp)
	case *binlog.RowsQueryEvent:
		r.note = "from: " + string(e.Query)
	case *binlog.MariadbAnnotateRowsEvent:
		r.note = "from: " + string(e.Query)
	case *binlog.IntVarEvent:
		name := map[binlog.IntVarEventType]string{binlog.LAST_INSERT_ID: "LAST_INSERT_ID", binlog.INSERT_ID: "INSERT_ID"}[e.Type]
		r.now.changes = append(r.now.changes, change{do: fmt.Sprintf("SET %s=%d", name, e.Value), fixed: "it is a statement"})
	case *binlog.RowsEvent:
		return r.rows(ctx, e)
	case *binlog.GenericEvent:
		switch event.Header.EventType {
		case binlog.RAND_EVENT, binlog.USER_VAR_EVENT:
			const what = "the next statement uses RAND() or a variable, whose value is not saved"
			r.now.changes = append(r.now.changes, change{note: what, fixed: what})
		case binlog.INCIDENT_EVENT:
			const what = "an incident: events were lost here"
			r.now.changes = append(r.now.changes, change{note: what, fixed: what})
		}
	}
	return nil
}

// statement takes what was logged as a statement; what only bounds a transaction is
// left out.
func (r *binlogReader) statement(e *binlog.QueryEvent, at uint32) {
	text := strings.TrimSpace(string(e.Query))
	switch strings.ToUpper(text) {
	case "BEGIN", "COMMIT":
		return
	}
	r.now.changes = append(r.now.changes, change{
		do: text, schema: string(e.Schema), note: r.note + fmt.Sprintf("at TIMESTAMP=%d", at), fixed: "it is a statement, not rows: " + firstWords(text),
	})
	r.note = ""
}

// firstWords is the beginning of a statement, for a sentence. It is short, so that
// hardly a value gets into a log.
func firstWords(text string) string {
	words := strings.Fields(text)
	return strings.Join(words[:min(3, len(words))], " ")
}
