package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/remora-ha/remora/proxysql"
	"github.com/remora-ha/remora/topology"
)

// WatchdogConfig says what a watchdog looks at and what it closes.
type WatchdogConfig struct {
	LeaseFile  string // of the sidecar, `lease.file`
	Admin      string // host:port of ProxySQL's admin interface
	User       string
	Password   Secret
	Grace      time.Duration // how long the file may be stale before the writer is closed
	Interval   time.Duration // between two looks at the file
	Hostgroups []int         // writer hostgroups that are closed besides those that the file names
	Once       bool          // one look
	// Now closes the writer at the one look though the lease holds: the sidecar is
	// known to have failed. One that has renewed it since is left alone.
	Now      bool
	WhenHung []RungConfig // climbed where the admin interface does not close the writer
}

const (
	// watchdogRetry is how often an open writer is closed again, and a closed one
	// looked at, while the lease is stale.
	watchdogRetry = time.Second
	// watchdogStatement bounds one admin statement, watchdogFence one attempt to close.
	watchdogStatement = time.Second
	watchdogFence     = 4 * time.Second
	// watchdogPatience bounds it where there is a ladder to climb afterwards.
	watchdogPatience = 250 * time.Millisecond
	// watchdogRead bounds reading the file: one that does not come is stale.
	watchdogRead = 250 * time.Millisecond
)

// Watchdog closes the writers of a ProxySQL whose sidecar is dead or hangs: while
// the lease file is stale for longer than the grace. It never opens anything; the
// sidecar does, when it has a lease again. It runs until ctx ends; with Once it
// looks one time, and fails when the writers had to be closed and are not.
func Watchdog(ctx context.Context, cfg WatchdogConfig, log *slog.Logger) error {
	if cfg.LeaseFile == "" || cfg.Interval <= 0 || cfg.Grace < 0 {
		return errors.New("watchdog: want a lease file, an interval of more than 0s and a grace from 0s")
	}
	if slices.ContainsFunc(cfg.Hostgroups, func(hg int) bool { return hg < 0 }) {
		return fmt.Errorf("watchdog: hostgroups %v: want numbers from 0", cfg.Hostgroups)
	}
	cfg.Once = cfg.Once || cfg.Now
	password, err := cfg.Password.Read()
	if err != nil {
		return fmt.Errorf("watchdog: password: %w", err)
	}
	boot, err := bootID()
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	ladder, err := newLadder(cfg.WhenHung, cfg.Admin, log)
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	proxy := proxysql.New(proxysql.Config{Addr: cfg.Admin, User: cfg.User, Password: password, Timeout: watchdogStatement}, nil, nil)
	defer proxy.Close()
	w := newWatchdog(cfg, proxy, systemClock, boot, log)
	w.ladder = ladder
	if cfg.Once {
		return w.look(ctx)
	}
	log.Info("the watchdog looks after the lease", "file", cfg.LeaseFile, "grace", cfg.Grace, "proxysql", cfg.Admin)
	tick := time.NewTicker(cfg.Interval)
	defer tick.Stop()
	for {
		_ = w.look(ctx) // it has said what is wrong, and looks again
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// errSidecarFailed is why a watchdog does not look at the lease.
var errSidecarFailed = errors.New("the sidecar has failed")

// watchdog remembers what one look leaves for the next.
type watchdog struct {
	cfg     WatchdogConfig
	proxy   Proxy
	ladder  Ladder // nil: none
	clock   Clock
	boot    string // id of the running kernel
	log     *slog.Logger
	reading chan fileText  // an answer that is still to come; nil: none
	writers map[string]int // last known, by cluster
	servers map[string][]topology.Addr
	cut     map[string]Cut // by cluster, in this staleness
	until   time.Duration  // of the lease, as the file said last
	since   time.Duration  // when the file turned stale; 0: it is not
	tried   time.Duration  // when the writers were last closed or looked at; 0: not in this staleness
	failed  bool           // the last attempt
	said    string
}

type fileText struct {
	raw []byte
	err error
}

func newWatchdog(cfg WatchdogConfig, proxy Proxy, clock Clock, boot string, log *slog.Logger) *watchdog {
	w := &watchdog{cfg: cfg, proxy: proxy, clock: clock, boot: boot, log: log, writers: map[string]int{}, cut: map[string]Cut{}}
	for _, hg := range cfg.Hostgroups {
		w.writers[nameless(hg)] = hg
	}
	return w
}

// nameless stands for the cluster of a hostgroup that was given without one.
func nameless(hg int) string { return fmt.Sprintf("hostgroup %d", hg) }

// look reads the file and closes the writers where that is due. It returns why
// they could not be closed.
func (w *watchdog) look(ctx context.Context) error {
	stale := w.check()
	if w.cfg.Now && stale == nil {
		stale = errSidecarFailed
	}
	now := w.clock().Boot
	if stale == nil {
		if w.since != 0 && w.said != "" {
			w.say(slog.LevelInfo, "the lease holds again: the sidecar opens what is to be open")
		}
		w.since, w.tried, w.said = 0, 0, ""
		clear(w.cut) // the sidecar releases it
		return nil
	}
	if now-w.since <= w.cfg.Grace && !(w.cfg.Once && !errors.Is(stale, errLeaseOver)) {
		return nil
	}
	if w.tried != 0 && now-w.tried < watchdogRetry {
		return nil
	}
	w.tried = now
	closed, err := w.fence(ctx)
	before := w.failed
	w.failed = err != nil
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		err = fmt.Errorf("no lease (%w), and the writer could not be closed: %w", stale, err)
		if !w.cfg.Once { // else the command says it
			w.say(slog.LevelError, err.Error())
		}
		return err
	case closed != "":
		w.said = "" // also where it was closed before, and somebody opened it
		w.say(slog.LevelWarn, fmt.Sprintf("no lease (%v): the sidecar is dead or hangs; closed %s", stale, closed))
	case (w.said == "" || before) && !w.cfg.Once:
		w.say(slog.LevelWarn, fmt.Sprintf("no lease (%v): the writer is closed already", stale))
	}
	return nil
}

// check is nil while the lease holds, and notes when it was over. A file that
// could not be read is stale since it was first found so.
func (w *watchdog) check() error {
	raw, err := w.read()
	var note leaseNote
	if err == nil {
		note, err = parseLease(raw)
	} else {
		err = fmt.Errorf("%w: %w", errLeaseUnknown, err)
	}
	now := w.clock().Boot
	if err == nil {
		for cluster, hg := range note.Writers {
			delete(w.writers, nameless(hg)) // Fence voids the epoch of the cluster that it is told
			w.writers[cluster] = hg
		}
		w.servers, w.until = note.Servers, note.Until
		err = note.check(w.boot, now)
	}
	switch {
	case err == nil:
	case errors.Is(err, errLeaseOver):
		w.since = max(note.Until, 1)
	case w.since == 0:
		w.since = now
	}
	return err
}

// read reads the file, but does not wait for a disk that hangs.
func (w *watchdog) read() ([]byte, error) {
	if w.reading == nil {
		answer := make(chan fileText, 1)
		w.reading = answer
		go func() {
			raw, err := os.ReadFile(w.cfg.LeaseFile)
			answer <- fileText{raw, err}
		}()
	}
	timer := time.NewTimer(watchdogRead)
	defer timer.Stop()
	select {
	case text := <-w.reading:
		w.reading = nil
		return text.raw, text.err
	case <-timer.C:
		return nil, fmt.Errorf("%s could not be read within %s", w.cfg.LeaseFile, watchdogRead)
	}
}

// fence closes what is open and names it; "" where all was closed already.
func (w *watchdog) fence(ctx context.Context) (closed string, err error) {
	if len(w.writers) == 0 {
		return "", fmt.Errorf("%s names no hostgroup, and none was given", w.cfg.LeaseFile)
	}
	bound := watchdogFence
	if w.ladder != nil {
		bound = watchdogPatience
	}
	var names []string
	var failed []error
	done := map[int]bool{}
	for _, cluster := range slices.Sorted(maps.Keys(w.writers)) {
		writer := w.writers[cluster]
		if done[writer] {
			continue
		}
		done[writer] = true
		bounded, cancel := context.WithTimeout(ctx, bound)
		until := w.until
		did, err := w.fenceOne(bounded, cluster, writer)
		cancel()
		how := ""
		switch {
		case err == nil:
		case w.renewed(until):
			err = nil // the sidecar mends what was done
		default:
			how, err = w.cutOff(ctx, cluster, err)
		}
		switch {
		case err != nil:
			failed = append(failed, err)
		case how != "":
			names = append(names, fmt.Sprintf("hostgroup %d, cut off (%s) because the admin interface does not answer", writer, how))
		case did:
			names = append(names, fmt.Sprintf("hostgroup %d", writer))
		}
	}
	return strings.Join(names, ", "), errors.Join(failed...)
}

// fenceOne closes one cluster's writer unless it is closed, and ends the sessions
// that still hold it: an idle transaction could commit.
func (w *watchdog) fenceOne(ctx context.Context, cluster string, writer int) (did bool, err error) {
	hg := proxysql.Hostgroups{Writer: writer, Reader: writer + 1} // the reader is read beside it, never changed
	until := w.until
	p, err := w.proxy.Status(ctx, topology.Route{Cluster: cluster}, hg)
	if err != nil || p.Mode != topology.Fenced {
		if w.renewed(until) {
			return false, nil
		}
		if err := w.proxy.Fence(ctx, cluster, hg, true); err != nil {
			return false, err
		}
		did = true
	}
	_, err = w.proxy.EndSessions(ctx, hg, "")
	return did, err
}

// renewed says that the sidecar has got a lease since the file said `until`, and may
// have opened the writer a moment ago.
func (w *watchdog) renewed(until time.Duration) bool {
	return w.check() == nil && !(w.cfg.Now && w.until == until)
}

// cutOff climbs the ladder where the admin interface did not close a writer, and
// says how it was cut off just now. The error is why it is not closed.
func (w *watchdog) cutOff(ctx context.Context, cluster string, cause error) (how string, err error) {
	switch last := w.cut[cluster]; {
	case last.Lasting, last.How != "" && gone(cause):
		return "", nil
	case w.ladder == nil || ctx.Err() != nil || gone(cause):
		return "", cause
	}
	cut, err := w.ladder.Cut(context.Background(), cluster, w.servers[cluster])
	if w.cut[cluster] = cut; err != nil {
		return "", fmt.Errorf("%w; nor could it be cut off: %w", cause, err)
	}
	return cut.How, nil
}

func (w *watchdog) say(level slog.Level, sentence string) {
	if sentence != w.said {
		w.said = sentence
		w.log.Log(context.Background(), level, sentence)
	}
}
