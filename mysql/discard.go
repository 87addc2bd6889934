package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// discardLimit bounds the statements that one Discard holds in memory, in bytes.
const discardLimit = 64 << 20

// Discarded says what a Discard took back.
type Discarded struct {
	Transactions, Rows int
	// From is the GTID position at which the server stands now.
	From gtid.Set
}

// Discard takes transactions back that the server has and its primary lacks: their
// row changes are undone in reverse, from the images of the binary log, in one
// transaction of which nothing is logged; then its binary logs are dropped and its
// position is set to where it was without them. Afterwards it can follow the primary.
//
// It refuses, before anything is changed, what it could not undo exactly: what was
// logged as a statement, such as DDL; rows without full images; tables with triggers,
// with cascading foreign keys, without transactions; transactions whose logs were
// purged; on MariaDB transactions between others of their domain. Where a row is
// not as its transaction left it, all is rolled back.
//
// The server must take no writes and have no replicas. Replication is stopped first, so
// that nothing arrives while the position is reckoned; where Discard refuses, it is
// started again. When `dry`, nothing is changed, and only a row that was changed since
// is not noticed. An interruption after the rows were put back leaves a server on which a
// second Discard finds them changed, and refuses: clone it.
func (s *Servers) Discard(ctx context.Context, addr topology.Addr, extra gtid.Set, dry bool) (Discarded, error) {
	var done Discarded
	err := s.as(ctx, "discard", addr, func(ctx context.Context, a *actor) (err error) {
		done, err = a.discard(ctx, extra, dry)
		return err
	})
	return done, err
}

func (a *actor) discard(ctx context.Context, extra gtid.Set, dry bool) (Discarded, error) {
	r, err := a.read(ctx)
	switch {
	case err != nil:
		return Discarded{}, err
	case !a.session.dialect.isReadOnly(r.state):
		return Discarded{}, a.failed("it is not closed for writes")
	case len(r.state.Replicas) > 0:
		return Discarded{}, a.failed("%s replicate from it: move them first", topology.JoinAddrs(r.state.Replicas))
	}
	if err := a.mayDiscard(ctx); err != nil {
		return Discarded{}, err
	}
	if dry {
		p, err := a.planDiscard(ctx, r, extra)
		return p.done, err
	}
	stood, err := a.standStill(ctx, r)
	if err != nil {
		return Discarded{}, a.goOn(ctx, stood, err)
	}
	if r, err = a.read(ctx); err != nil {
		return Discarded{}, a.goOn(ctx, stood, err)
	}
	p, err := a.planDiscard(ctx, r, extra)
	if err != nil {
		return Discarded{}, a.goOn(ctx, stood, err)
	}
	begun, err := a.undo(ctx, p.undo)
	switch {
	case err != nil && begun:
		return p.done, fmt.Errorf("the rows may be put back, and its position is not: clone it: %w", err)
	case err != nil:
		return Discarded{}, a.goOn(ctx, stood, err)
	}
	for _, st := range a.session.dialect.restart(p.done.From) {
		if err := a.do(ctx, st); err != nil {
			return p.done, fmt.Errorf("the rows were put back, and its position was not: clone it: %w", err)
		}
	}
	return p.done, nil
}

// ofOurs picks our own account in a list of privileges.
const ofOurs = " AND GRANTEE=CONCAT('''',REPLACE(CURRENT_USER(),'@','''@'''),'''')"

// mayDiscard makes sure that triggers would be seen: without the privilege there
// seem to be none.
func (a *actor) mayDiscard(ctx context.Context) error {
	const query = "SELECT COUNT(DISTINCT PRIVILEGE_TYPE) AS n FROM information_schema.USER_PRIVILEGES" +
		" WHERE PRIVILEGE_TYPE IN ('SELECT','INSERT','UPDATE','DELETE','TRIGGER')" +
		ofOurs
	results, err := a.session.query(ctx, query)
	if err != nil {
		return a.fail(plain(query), err)
	}
	if results[0].first()["n"] != "5" {
		return a.failed("Remora's account needs SELECT, INSERT, UPDATE, DELETE and TRIGGER on *.* to take transactions back")
	}
	return nil
}

// discardPlan is what is to be done, all known before anything is.
type discardPlan struct {
	undo []change // in the order in which they were made
	done Discarded
}

func (a *actor) planDiscard(ctx context.Context, r *reading, extra gtid.Set) (discardPlan, error) {
	var p discardPlan
	h := newHistory(r.state)
	size := 0
	refuse := func(t *transaction, why string) error {
		return a.failed("transaction %s cannot be taken back: %s; clone the server instead", t.id, why)
	}
	found := gtid.Set{}
	purged, err := a.readTransactions(ctx, r.state.Flavor, extra, visitor{
		before: h.before, discards: true,
		wanted: func(t *transaction) error {
			found = found.Union(t.id)
			h.wanted(t.id)
			p.done.Transactions++
			for _, c := range t.changes {
				if c.fixed != "" {
					return refuse(t, c.fixed)
				}
				if c.undo == "" {
					continue // the row was written as it was
				}
				if size += len(c.undo); size > discardLimit {
					return refuse(t, fmt.Sprintf("it is all more than %d MiB", discardLimit>>20))
				}
				p.undo = append(p.undo, change{undo: c.undo, table: c.table})
			}
			return nil
		},
		unwanted: h.unwanted,
	})
	p.done.Rows = len(p.undo)
	switch {
	case errors.Is(err, errFull):
		return p, a.failed("one of its transactions is more than %d MiB as SQL, too much to be taken back; clone the server instead", transactionLimit>>20)
	case err != nil:
		return p, err
	case !purged.Empty():
		return p, a.failed("%s cannot be taken back: their binary logs were purged; clone the server instead", purged)
	case p.done.Transactions == 0:
		return p, a.failed("none of %s is in its binary logs", extra)
	}
	if lost := notMet(r.state.Flavor, extra, found); !lost.Empty() {
		return p, a.failed("%s cannot be taken back: its binary logs do not have them; clone the server instead", lost)
	}
	p.done.From, err = h.position(r, extra)
	if err != nil {
		return p, a.failed("%w; clone the server instead", err)
	}
	return p, a.mayPlace(ctx, p.done.From)
}

// tags are in a set of MySQL's from 8.3 on: UUID:TAG:FIRST-LAST.
var tags = regexp.MustCompile(`:[a-z_]\w*:`)

// mayPlace makes sure that the server will take a position, before it has no other: one
// with tags takes a privilege.
func (a *actor) mayPlace(ctx context.Context, position gtid.Set) error {
	if !tags.MatchString(position.String()) {
		return nil
	}
	const query = "SELECT COUNT(*) AS n FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE='TRANSACTION_GTID_TAG'" +
		ofOurs
	results, err := a.session.query(ctx, query)
	if err != nil {
		return a.fail(plain(query), err)
	}
	if results[0].first()["n"] == "0" {
		return a.failed("its history has GTIDs with tags, and Remora's account needs TRANSACTION_GTID_TAG on *.* to set them")
	}
	return nil
}

// notMet are those of a set that its server has, but that were not found in its
// binary logs. MariaDB's ranges hold numbers that other servers of the domain took, so
// there the last of each server counts: logs have no gaps.
func notMet(flavor string, set, found gtid.Set) gtid.Set {
	if flavor == string(gtid.MariaDB) {
		set = set.Ends()
	}
	return set.Subtract(found)
}

// undo puts rows back, the last change first, all or none. Where it failed, `begun`
// says that it may have happened all the same: the answer to the COMMIT did not come,
// or the server could not be closed again after it.
func (a *actor) undo(ctx context.Context, changes []change) (begun bool, err error) {
	opened := a.session.dialect.undoSession()
	defer func() { err = errors.Join(err, a.anyway(ctx, opened.after...)) }()
	for _, st := range opened.before {
		if err := a.do(ctx, st); err != nil {
			return false, err
		}
	}
	if err := a.do(ctx, plain("START TRANSACTION")); err != nil {
		return false, err
	}
	for n := len(changes) - 1; n >= 0; n-- {
		rows, err := a.session.change(ctx, changes[n].undo)
		// What failed is shown by its table alone: the statement holds people's data.
		shown := statement{sql: changes[n].undo, shown: "putting back a row of " + changes[n].table}
		if err == nil && rows != 1 {
			err = fmt.Errorf("%d rows match instead of one: the row was changed since", rows)
		}
		if err != nil {
			_ = a.session.exec(ctx, "ROLLBACK")
			return false, fmt.Errorf("nothing was changed; clone the server instead: %w", a.fail(shown, err))
		}
	}
	return true, a.do(ctx, plain("COMMIT"))
}

// change sends a statement and says how many rows it changed.
func (s *session) change(ctx context.Context, statement string) (rows int64, err error) {
	err = s.guard(ctx, func() error {
		res, err := s.conn.(driver.ExecerContext).ExecContext(ctx, statement, nil)
		if err == nil {
			rows, err = res.RowsAffected()
		}
		return err
	})
	return rows, err
}

// history follows a binary log to find the position before the transactions that are
// taken back, domain by domain.
type history struct {
	heads  map[string]string // the last transaction of a domain before those taken back
	cut    map[string]bool   // domains in which one taken back was met
	mixed  string            // a transaction behind one that is taken back
	linear bool              // MariaDB, where a position is one transaction of each domain
}

func newHistory(st *topology.State) *history {
	return &history{heads: map[string]string{}, cut: map[string]bool{}, linear: st.Flavor == string(gtid.MariaDB)}
}

func domainOf(id string) string { domain, _, _ := strings.Cut(id, "-"); return domain }

func (h *history) before(set gtid.Set) {
	for domain, entries := range mariadbDomains(set.Heads()) {
		h.heads[domain] = entries[0]
	}
}

func (h *history) wanted(id gtid.Set) { h.cut[domainOf(id.String())] = true }

func (h *history) unwanted(id gtid.Set) {
	text := strings.NewReplacer("(", "", ")", "").Replace(id.String())
	switch domain := domainOf(text); {
	case h.cut[domain]:
		h.mixed = text
	default:
		h.heads[domain] = text
	}
}

// position is where the server stands without the extra transactions.
func (h *history) position(r *reading, extra gtid.Set) (gtid.Set, error) {
	if !h.linear {
		return r.state.Executed.Subtract(extra), nil
	}
	if len(r.channels) > 0 {
		// gtid_slave_pos tells what it received, and stays.
		if received := r.applied.Intersect(extra); !received.Empty() {
			return gtid.Set{}, fmt.Errorf("it received %s by replication, so gtid_slave_pos, from where it would go on, has them", received)
		}
		return gtid.Set{}, nil
	}
	if h.mixed != "" {
		return gtid.Set{}, fmt.Errorf("%s comes after transactions of its domain that would be taken back, so no position is without them", h.mixed)
	}
	// What is in no binary log was received before them.
	for domain, received := range mariadbDomains(r.applied.Heads()) {
		if h.heads[domain] == "" {
			h.heads[domain] = received[0]
		}
	}
	var entries []string
	for _, head := range h.heads {
		entries = append(entries, head)
	}
	position, err := gtid.ParseMariaDB(strings.Join(entries, ","))
	if err == nil && (position.Empty() || !position.Intersect(extra.Ends()).Empty()) {
		err = errors.New("its binary logs have nothing before them, so no position is without them")
	}
	return position, err
}
