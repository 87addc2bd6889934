package templates

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul-template/config"
	"github.com/hashicorp/consul-template/manager"
	"github.com/hashicorp/consul-template/renderer"
)

// The delays between two tries to reach Consul.
const (
	firstDelay = 100 * time.Millisecond
	lastDelay  = 2 * time.Second
)

// anonymous is the token that Consul takes for none. Where there is none at all,
// its API would send that of the environment.
const anonymous = "anonymous"

// Runner keeps one file up to date.
type Runner struct {
	cfg Config
	dry io.Writer // a dry run: the file goes here, and nothing is changed

	socket sync.Mutex                      // one switch by the socket at a time
	secret atomic.Pointer[string]          // the token in use
	busy   atomic.Bool                     // a new file is being checked, placed or loaded
	judged atomic.Pointer[<-chan struct{}] // the news of when a file was judged last
	blind  blind

	mu        sync.Mutex
	status    Status
	committed map[string]Assignment
	fenced    map[string]bool // by cluster: closed until the next Switch
	news      chan struct{}   // closed, and made anew, when committed changes

	reporting sync.Mutex
}

// New makes a runner; it reads nothing yet.
func New(cfg Config) (*Runner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Runner{cfg: cfg.withDefaults(), committed: map[string]Assignment{}, fenced: map[string]bool{}, news: make(chan struct{})}
	dest, err := filepath.Abs(cfg.Destination)
	if err != nil {
		return nil, fmt.Errorf("templates: destination %q: %w", cfg.Destination, err)
	}
	r.cfg.Destination = dest
	r.secret.Store(new(string))
	r.status = Status{Destination: dest, State: Waiting, Sentence: "Consul has not answered yet", Since: time.Now()}
	return r, nil
}

// Status says what holds now.
func (r *Runner) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// Run keeps the file up to date until ctx ends. No failure ends it.
func (r *Runner) Run(ctx context.Context) {
	for delay := firstDelay; ctx.Err() == nil; {
		switch r.session(ctx, false) {
		case away:
			delay = min(delay*2, lastDelay)
		case answered:
			delay = firstDelay
		case silent:
			r.awaitAnswer(ctx)
			delay = firstDelay
		case woken:
			delay = firstDelay
			continue
		case done:
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
}

// Once renders the file one time. It waits for Consul until ctx ends; every other
// failure is an error at once.
func (r *Runner) Once(ctx context.Context) error {
	for ctx.Err() == nil {
		end := r.session(ctx, true)
		if end == silent {
			r.awaitAnswer(ctx)
		} else if end != away {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(firstDelay):
		}
	}
	if s := r.Status(); s.State != Rendered {
		err := fmt.Errorf("%s: %s", s.Destination, s.Sentence)
		if s.Output != "" {
			err = fmt.Errorf("%w\n%s", err, s.Output)
		}
		return err
	}
	return nil
}

// outcome is how a session with Consul ended.
type outcome int

const (
	away     outcome = iota // it failed before Consul answered
	answered                // it failed afterwards, or another try is due
	silent                  // Consul said nothing for too long
	woken                   // what is committed has changed, and another try is due at once
	done                    // nothing is left to do
)

// session is one life of a consul-template runner. It ends with the first error
// of Consul's: a runner that went on would wait for an index that a Consul with a
// new store may never reach, or has passed with other contents.
func (r *Runner) session(ctx context.Context, once bool) (end outcome) {
	m, err := r.manager(ctx)
	if err != nil {
		r.fail(BadTemplate, err)
		return r.pause(ctx, once)
	}
	defer r.start(m)()
	w := r.watchdog()
	defer w.stop()
	for {
		select {
		case <-ctx.Done():
			return done
		case err := <-m.ErrCh:
			r.fail(BadTemplate, err)
			return end
		case err := <-m.ServerErrCh:
			r.fail(NoConsul, fmt.Errorf("%w; the file stays as it is", err))
			return end
		case <-m.RenderEventCh():
			s := r.observe(m)
			if s == Waiting {
				continue
			}
			if once && s != NoData {
				return done
			}
			w.saw(s)
			end = answered
		case <-w.news:
			if w.heard() {
				return woken
			}
		case <-w.overdue.C:
			if w.bark() {
				return silent
			}
		case <-w.retry.C:
			return end
		}
	}
}

// start starts a consul-template runner; what it returns stops it and waits.
func (r *Runner) start(m *manager.Runner) (stop func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.Start()
	}()
	return func() {
		m.StopImmediately()
		for {
			select {
			case err := <-m.ErrCh: // it does not end before its last words are heard
				r.lastWords(err)
			case err := <-m.ServerErrCh:
				r.lastWords(err)
			case <-ended:
				return
			}
		}
	}
}

func (r *Runner) lastWords(err error) {
	r.cfg.Log.Debug("consul-template ended", "error", redact(err.Error(), r.token()))
}

// pause waits until the next try, if there is one.
func (r *Runner) pause(ctx context.Context, once bool) outcome {
	if once {
		return done
	}
	select {
	case <-ctx.Done():
		return done
	case <-time.After(r.cfg.Retry):
		return answered
	}
}

// observe reads what the consul-template runner did last.
func (r *Runner) observe(m *manager.Runner) State {
	state := Waiting
	for _, e := range m.RenderEvents() {
		var f *failure
		switch {
		case errors.As(e.Error, &f):
			state = f.state
			r.set(Status{State: f.state, Sentence: f.Error(), Output: f.output})
		case e.Error != nil:
			state = BadTemplate
			r.fail(state, fmt.Errorf("the template failed: %w; the old file stays", e.Error))
		case e.WouldRender:
			state = Rendered
			r.set(Status{State: state, Sentence: "the file is what Consul says", File: Assignments(e.Contents)})
		case e.UnwatchedDeps.Len() == 0 && e.MissingDeps.Len() > 0:
			state = NoData
			r.fail(state, fmt.Errorf("no key in Consul for %s, or the token may not read it; the file stays as it is", e.MissingDeps))
		}
	}
	return state
}

// render is what consul-template calls with a file's new contents.
func (r *Runner) render(ctx context.Context, contents []byte) error {
	r.busy.Store(true)
	defer r.busy.Store(false)
	if why := r.hold(ctx, Assignments(contents)); why != "" {
		return &failure{state: Held, err: fmt.Errorf("held back: %s; the old file stays", why)}
	}
	if r.dry != nil {
		return r.rehearse(ctx, contents)
	}
	return r.place(ctx, contents)
}

func (r *Runner) fail(state State, err error) {
	r.set(Status{State: state, Sentence: err.Error()})
}

// set makes a status hold, and logs it if it is another one.
func (r *Runner) set(s Status) {
	r.reporting.Lock()
	defer r.reporting.Unlock()
	r.mu.Lock()
	s.Destination, s.Since = r.cfg.Destination, time.Now()
	s.Sentence, s.Output = clip(redact(s.Sentence, r.token()), sentenceLimit), redact(s.Output, r.token())
	if s.State != Rendered {
		s.File = r.status.File
	}
	changed := !s.same(r.status)
	if changed {
		r.status = s
	}
	r.mu.Unlock()
	if !changed {
		return
	}
	if s.Good() {
		r.cfg.Log.Info("template", "file", s.Destination, "state", s.State)
	} else {
		r.cfg.Log.Warn("template", "file", s.Destination, "state", s.State, "error", s.Sentence, "output", s.Output)
	}
}

func (r *Runner) token() string { return *r.secret.Load() }

// making guards consul-template's package variables, which each new runner sets.
var making sync.Mutex

// manager makes a consul-template runner.
func (r *Runner) manager(ctx context.Context) (*manager.Runner, error) {
	text, err := Load(r.cfg.Source)
	if err != nil {
		return nil, err
	}
	secret, err := r.cfg.Consul.secret()
	if err != nil {
		return nil, err
	}
	r.secret.Store(&secret)
	making.Lock()
	defer making.Unlock()
	tap.install(r.cfg.Log, secret)
	m, err := manager.NewRunner(r.settings(text, func(in *renderer.RenderInput) (*renderer.RenderResult, error) {
		if err := r.render(ctx, in.Contents); err != nil {
			return nil, err
		}
		return &renderer.RenderResult{WouldRender: true, DidRender: true, Contents: in.Contents}, nil
	}), false)
	if err != nil {
		return nil, err
	}
	m.Env = map[string]string{"REMORA_CONSUL_PREFIX": r.cfg.Prefix}
	for k, v := range r.cfg.Env {
		m.Env[k] = v
	}
	return m, nil
}

// settings are consul-template's. What they leave nil it would take from the
// environment, also for servers that are none of Remora's.
func (r *Runner) settings(text string, render renderer.Renderer) *config.Config {
	c := config.DefaultConfig()
	c.Templates = &config.TemplateConfigs{{
		Contents: &text, Destination: &r.cfg.Destination, ErrFatal: config.Bool(false),
		// What would change other files, also in a dry run, or start programs that nobody bounds.
		FunctionDenylist: []string{"plugin", "writeToFile"},
	}}
	c.RendererFunc = render
	c.MaxStale = config.TimeDuration(0) // what the leader says, not what a server that was cut off remembers
	consul := r.cfg.Consul
	address, token := orDefault(consul.Address, DefaultAddress), orDefault(r.token(), anonymous)
	c.Consul.Address, c.Consul.Token, c.Consul.TokenFile = &address, &token, config.String("")
	if os.Getenv("CONSUL_HTTP_AUTH") != "" {
		// It is not for this Consul. An empty one keeps the API from sending it.
		c.Consul.Auth = &config.AuthConfig{Enabled: config.Bool(true)}
	}
	if tls := consul.TLS; tls.Enabled {
		c.Consul.SSL = &config.SSLConfig{
			Enabled: config.Bool(true), Verify: config.Bool(!tls.Insecure), CaCert: &tls.CAFile, Cert: &tls.CertFile,
			Key: &tls.KeyFile, ServerName: &tls.ServerName,
		}
	}
	c.Vault.Address, c.Vault.Token, c.Vault.RenewToken = config.String(""), config.String(""), config.Bool(false)
	c.Nomad.Address = config.String("")
	c.Finalize()
	return c
}
