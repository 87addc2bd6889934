package templates

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"
)

// workerPoll is how often HAProxy is asked for new workers after a reload.
const workerPoll = 10 * time.Millisecond

// ErrOlder is what Runner.Switch fails with when a newer assignment is known.
var ErrOlder = errors.New("a newer epoch is known")

// Switch says what is committed for a cluster. From now on no file is rendered
// that has another epoch for it: an older one is kept back, and so is one that
// only Consul knows, until Switch confirms it. Where HAProxy's socket is configured
// HAProxy is switched at once, bounded by Config.SocketTimeout; an error says that
// it was not, and that the file has to do it.
func (r *Runner) Switch(ctx context.Context, a Assignment) error {
	r.mu.Lock()
	known, ok := r.committed[a.Cluster]
	if ok && (known.Epoch > a.Epoch || known.Epoch == a.Epoch && known.Writer != a.Writer) {
		r.mu.Unlock()
		return fmt.Errorf("switch cluster %s to %s: %w: %s", a.Cluster, a, ErrOlder, known)
	}
	delete(r.fenced, a.Cluster)
	if !ok || known != a {
		r.committed[a.Cluster] = a
		close(r.news)
		r.news = make(chan struct{})
	}
	r.mu.Unlock()
	return r.socketSwitch(ctx, a)
}

// Fence closes a cluster's writer in HAProxy, and ends its sessions, until the next
// Switch: whoever calls it does not know any more what is committed. The file stays
// as it is, so an HAProxy without a socket, or one that starts anew, is not closed.
func (r *Runner) Fence(ctx context.Context, cluster string) error {
	r.mu.Lock()
	r.fenced[cluster] = true
	known := r.committed[cluster]
	r.mu.Unlock()
	known.Cluster = cluster
	return r.socketSwitch(ctx, known)
}

// writer is whom HAProxy may send an assignment's writes to; false where something
// else is committed.
func (r *Runner) writer(a Assignment) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fenced[a.Cluster] {
		return "", true
	}
	known, ok := r.committed[a.Cluster]
	return a.Writer, !ok || known == a
}

// known is what is committed, with a channel that the next change of it closes.
func (r *Runner) known() (committed map[string]Assignment, news <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.committed), r.news
}

// socketSwitch switches by the socket, one at a time, unless something else is
// committed; a cluster that is fenced stays closed.
func (r *Runner) socketSwitch(ctx context.Context, a Assignment) error {
	if r.cfg.Socket == "" {
		return nil
	}
	r.socket.Lock()
	defer r.socket.Unlock()
	writer, ok := r.writer(a)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.cfg.SocketTimeout, fmt.Errorf("no answer within %v", r.cfg.SocketTimeout))
	defer cancel()
	return Switch(ctx, r.cfg.Socket, a.Cluster, writer)
}

// switchAhead does by the socket what the new file is about to do: at once, and
// with the sessions to the old writers shut down, which a reload leaves alone. A
// failure is no reason to keep the new file back.
func (r *Runner) switchAhead(ctx context.Context, old, now []Assignment) {
	writers := map[string]string{}
	for _, a := range old {
		writers[a.Cluster] = a.Writer
	}
	for _, a := range now {
		if before, ok := writers[a.Cluster]; !ok || before == a.Writer {
			continue
		}
		if err := r.socketSwitch(ctx, a); err != nil {
			r.cfg.Log.Warn("the switch by HAProxy's socket failed; the file follows", "cluster", a.Cluster, "error", err)
		}
	}
}

// newWorkers waits until HAProxy runs with others than before. HAProxy forgets a
// reload that is asked for during another one, and would go on with the older file.
func (r *Runner) newWorkers(ctx context.Context, before string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.cfg.ReloadTimeout, fmt.Errorf("no new worker within %v", r.cfg.ReloadTimeout))
	defer cancel()
	tick := time.NewTicker(workerPoll)
	defer tick.Stop()
	for {
		now, err := r.workers(ctx)
		if err == nil && now != before {
			return nil
		}
		select {
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("%w: %w", context.Cause(ctx), err)
			}
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// workers tells HAProxy's workers from others.
func (r *Runner) workers(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.cfg.SocketTimeout, fmt.Errorf("no answer within %v", r.cfg.SocketTimeout))
	defer cancel()
	return (&haproxy{socket: r.cfg.Socket}).generation(ctx)
}

// switchAgain repeats by the socket what was committed while the file, which is
// older, was being loaded.
func (r *Runner) switchAgain(ctx context.Context, file []Assignment) {
	known, _ := r.known()
	for _, a := range file {
		if want, ok := known[a.Cluster]; ok && want.Epoch > a.Epoch {
			a = want
		}
		if err := r.socketSwitch(ctx, a); err != nil {
			r.cfg.Log.Warn("the switch by HAProxy's socket after a reload failed", "cluster", a.Cluster, "error", err)
		}
	}
}
