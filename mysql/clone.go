package mysql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

const (
	erRestartFailed = 3707 // after a clone: nobody starts mysqld again
	erPluginExists  = 1125
	// cloneLook is how often a server that restarts is asked for.
	cloneLook = 500 * time.Millisecond
)

// clone replaces all data of a MySQL server by those of step.Source, with the CLONE
// plugin, and waits until the server is back with them. Where nothing starts mysqld
// again after it has shut itself down, somebody has to, within the step's Wait.
func (a *actor) clone(ctx context.Context, step failover.Step) error {
	r, err := a.read(ctx)
	switch {
	case err != nil:
		return err
	case r.state.Flavor != string(gtid.MySQL):
		return a.failed("%s has no CLONE of its own: configure clone.command in the policy", r.state.Flavor)
	case !a.session.dialect.isReadOnly(r.state):
		return a.failed("it is not closed for writes")
	case len(r.state.Replicas) > 0:
		return a.failed("%s replicate from it: move them first", topology.JoinAddrs(r.state.Replicas))
	}
	want, err := a.readyDonor(ctx, step.Source)
	if err != nil {
		return err
	}
	stood, err := a.standStill(ctx, r)
	if err == nil {
		err = a.readyRecipient(ctx, step.Source)
	}
	if err != nil {
		return a.goOn(ctx, stood, err)
	}
	var b statementBuilder
	b.add("CLONE INSTANCE FROM %s@%s:%d", quote(a.cfg.User), quote(step.Source.Host()), step.Source.Port())
	b.secret(" IDENTIFIED BY ", a.cfg.Password)
	if err := a.do(ctx, b.statement()); err != nil {
		switch {
		case Number(err) == erRestartFailed:
			a.log.Warn("the data are cloned, and mysqld has shut down: nothing starts it again, so somebody has to", "donor", step.Source)
		case Number(err) != 0 || ctx.Err() != nil:
			err = errors.Join(err, a.closeAgain(ctx))
			if lacksPrivilege(err) { // refused before anything was touched
				return a.goOn(ctx, stood, err)
			}
			return fmt.Errorf("%w; replication stays stopped, for its data may be gone in part", err)
		}
	}
	return a.awaitClone(ctx, want)
}

// readyRecipient makes all ready for a clone. read_only stays, and where it fails
// super_read_only is back: the plugin cannot be installed under it.
func (a *actor) readyRecipient(ctx context.Context, donor topology.Addr) error {
	err := a.do(ctx, plain("SET GLOBAL super_read_only=0"))
	if err == nil {
		err = a.installClone(ctx)
	}
	if err == nil {
		err = a.do(ctx, plain("SET GLOBAL clone_valid_donor_list=%s", quote(string(donor))))
	}
	if err != nil {
		return errors.Join(err, a.closeAgain(ctx))
	}
	return nil
}

// closeAgain puts super_read_only back after a clone that did not begin or was
// given up.
func (a *actor) closeAgain(ctx context.Context) error {
	return a.anyway(ctx, a.session.dialect.readOnly(true))
}

// installClone makes sure that the plugin is there; it takes INSERT on mysql.plugin.
func (a *actor) installClone(ctx context.Context) error {
	const query = "SELECT PLUGIN_STATUS AS status FROM information_schema.PLUGINS WHERE PLUGIN_NAME='clone'"
	results, err := a.session.query(ctx, query)
	if err != nil {
		return a.fail(plain(query), err)
	}
	if results[0].first()["status"] == "ACTIVE" {
		return nil
	}
	err = a.do(ctx, plain("INSTALL PLUGIN clone SONAME 'mysql_clone.so'"))
	if Number(err) == erPluginExists {
		return nil
	}
	return err
}

// readyDonor makes sure that the donor has the plugin, and says what it has executed.
func (a *actor) readyDonor(ctx context.Context, donor topology.Addr) (gtid.Set, error) {
	d := &actor{op: a.op, addr: donor, cfg: a.cfg, confirm: a.confirm, strays: a.strays, log: a.log}
	if err := d.connect(ctx); err != nil {
		return gtid.Set{}, d.fail(statement{}, err)
	}
	defer func() { d.session.close() }()
	defer d.withdraw(ctx)
	r, err := d.read(ctx)
	if err != nil {
		return gtid.Set{}, err
	}
	if err := d.installClone(ctx); err != nil {
		return gtid.Set{}, fmt.Errorf("the donor needs the clone plugin; where it is closed for writes, install it by plugin-load-add=mysql_clone.so: %w", err)
	}
	return r.state.Executed, nil
}

// awaitClone waits until the server is back with the donor's history, and closes it.
func (a *actor) awaitClone(ctx context.Context, want gtid.Set) error {
	a.session.abandon()
	var last error
	for {
		if !pause(ctx, cloneLook) {
			return a.failed("the clone was begun, and it has not come back with the data of its donor: start mysqld, and look at performance_schema.clone_status: %w", errors.Join(ctx.Err(), last))
		}
		bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
		s, err := dial(bounded, a.addr, a.cfg)
		cancel()
		if last = err; err != nil {
			continue
		}
		a.session = s
		r, err := a.read(ctx)
		if last = err; err != nil || !r.state.Executed.Contains(want) {
			s.abandon()
			continue
		}
		if a.session.dialect.isReadOnly(r.state) {
			return nil
		}
		return a.closeWrites(ctx)
	}
}
