package templates

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// leastPatience is how long an answer of Consul is awaited at least.
const leastPatience = 2 * time.Second

// watchdog ends a session that gets no answer, or nothing newer than the file while
// something newer is committed: a Consul that is frozen keeps its connections.
type watchdog struct {
	r       *Runner
	state   State           // what the session saw last
	news    <-chan struct{} // closed by the next Switch
	retry   *time.Timer     // after a failure
	overdue *time.Timer     // for an answer, or for something newer
	late    bool            // overdue runs for something newer
}

func (r *Runner) watchdog() *watchdog {
	_, news := r.known()
	w := &watchdog{r: r, state: Waiting, news: news, retry: time.NewTimer(r.cfg.Retry), overdue: time.NewTimer(r.patience())}
	w.retry.Stop()
	return w
}

func (w *watchdog) stop() {
	w.retry.Stop()
	w.overdue.Stop()
}

// patience is how long a session may be without any answer.
func (r *Runner) patience() time.Duration { return max(2*r.cfg.Retry, leastPatience) }

// saw takes note of what a session came to.
func (w *watchdog) saw(s State) {
	w.state = s
	switch s {
	case Rendered, NoData:
		w.retry.Stop()
		w.follow()
	default:
		w.retry.Reset(w.r.cfg.Retry)
		w.overdue.Stop()
		w.late = false
	}
	if s == Held {
		w.news = *w.r.judged.Load() // what came since then is news
	}
}

// heard takes note of a Switch, and says whether it makes another session due.
func (w *watchdog) heard() bool {
	_, w.news = w.r.known()
	if w.state == Held || w.state == Rendered && w.r.strays() {
		return true
	}
	w.follow()
	return false
}

// follow watches for how long the file is behind.
func (w *watchdog) follow() {
	switch behind := w.state != Waiting && w.r.behind() != ""; {
	case w.state == Waiting: // an answer is awaited, for no longer
	case !behind:
		w.overdue.Stop()
		w.late = false
	case !w.late:
		w.overdue.Reset(w.r.cfg.Retry)
		w.late = true
	}
}

// bark says whether the session has to end, now that something is overdue.
func (w *watchdog) bark() bool {
	if w.r.busy.Load() { // a check or a reload runs: there was an answer
		w.overdue.Reset(w.r.cfg.Retry)
		return false
	}
	behind := w.r.behind()
	switch {
	case w.state == Waiting:
		w.r.silent()
	case behind == "":
		w.late = false
		return false
	case w.state == Rendered:
		w.r.fail(NoConsul, fmt.Errorf("%s, and Consul has said nothing newer for %v; the file stays as it is", behind, w.r.cfg.Retry))
	}
	return true
}

// silent makes it a finding that Consul does not answer.
func (r *Runner) silent() {
	text := fmt.Sprintf("Consul has not answered for %v, or has not a key that the template waits for; the file stays as it is", r.patience())
	if behind := r.behind(); behind != "" {
		text += "; " + behind
	}
	r.fail(NoConsul, fmt.Errorf("%s", text))
}

// awaitAnswer waits until Consul says anything at all, or ctx ends. A session that
// is given up leaves a request behind until Consul answers it, so none is begun
// before.
func (r *Runner) awaitAnswer(ctx context.Context) {
	for ctx.Err() == nil && !r.answers(ctx) {
		r.silent()
		select {
		case <-ctx.Done():
		case <-time.After(lastDelay):
		}
	}
}

// answers asks Consul anything, without a token. Whatever comes is an answer, also
// an error: what it means the next session finds out.
func (r *Runner) answers(ctx context.Context) bool {
	limited, cancel := context.WithTimeout(ctx, r.patience())
	defer cancel()
	wire := &http.Transport{Proxy: nil, DisableKeepAlives: true}
	address := orDefault(r.cfg.Consul.Address, DefaultAddress)
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		wire.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
		address = "localhost"
	}
	if !strings.Contains(address, "://") {
		scheme := "http://"
		if r.cfg.Consul.TLS.Enabled {
			scheme = "https://"
		}
		address = scheme + address
	}
	req, err := http.NewRequestWithContext(limited, http.MethodGet, strings.TrimSuffix(address, "/")+"/v1/kv/?keys&separator=/", nil)
	if err != nil {
		return true
	}
	resp, err := wire.RoundTrip(req)
	if err != nil {
		return limited.Err() == nil
	}
	_ = resp.Body.Close()
	return true
}
