package proxysql

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Fence closes the cluster's writer hostgroup without a new epoch: no lease, an
// unknown epoch, a restarted ProxySQL. A soft fence (OFFLINE_SOFT) lets transactions
// in progress end, a hard one (OFFLINE_HARD) ends them: statements under way are
// abandoned within seconds, though the server may still commit them; follow it with
// [Admin.EndSessions] to be rid of idle transactions as well. Neither opens what is
// closed harder already.
//
// It is carried out whatever conflicts exist and whatever memory held, and voids
// the applied epoch: only Apply opens the writer again. It returns when runtime
// shows that the fence stands; with an error all the same when the epoch could not
// be voided.
func (a *Admin) Fence(ctx context.Context, cluster string, hg Hostgroups, hard bool) error {
	if err := hg.Validate(); err != nil {
		return fmt.Errorf("proxysql %s: %w", a.cfg.Addr, err)
	}
	end, err := a.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	start := time.Now()
	for range attempts {
		if err = a.connect(ctx); err == nil {
			err = a.fence(ctx, cluster, hg, hard)
		}
		again := errors.Is(err, ErrNotReadBack) || errors.Is(err, ErrUnreachable) && time.Since(start) < a.cfg.Timeout
		if err == nil || !again || ctx.Err() != nil {
			break
		}
	}
	if err == nil {
		a.log.Info("writer fenced", "cluster", cluster, "hostgroup", hg.Writer, "hard", hard)
	}
	return err
}

func (a *Admin) fence(ctx context.Context, cluster string, hg Hostgroups, hard bool) error {
	g := a.guard(cluster, 0)
	// First the ticket, so that no late statement opens memory again. If our table
	// fails us, the fence goes on all the same.
	voided := a.exec(ctx, g.seize())
	if errors.Is(voided, ErrRefused) {
		if voided = a.exec(ctx, statement{"create remora_epoch", createTable}); voided == nil {
			voided = a.exec(ctx, g.seize())
		}
	}
	for _, st := range []statement{fence(hg.Writer, hard), {"load servers", loadServers}} {
		if err := a.exec(ctx, st); err != nil {
			return err
		}
	}
	s, err := a.read(ctx, reading{cluster: cluster, hg: hg, brief: true, blind: true})
	if err != nil {
		return err
	}
	for _, r := range s.runtime {
		if r.Hostgroup == hg.Writer && r.Status != offlineHard && (hard || r.Status != offlineSoft) {
			return fmt.Errorf("proxysql %s: fence %s: %w: %s in hostgroup %d is %s", a.cfg.Addr, cluster, ErrNotReadBack,
				r.addr(), r.Hostgroup, r.Status)
		}
	}
	if voided != nil {
		return fmt.Errorf("fenced, but a late statement could still undo it: %w", voided)
	}
	return nil
}
