package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// output prints for people: a live line below the text on a terminal, a line
// every few seconds elsewhere.
type output struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	colour   bool
	status   string // the live line now on the terminal
	stop     func()
}

func newOutput(f *os.File) *output {
	terminal := term.IsTerminal(int(f.Fd()))
	return &output{w: f, terminal: terminal, colour: terminal && os.Getenv("NO_COLOR") == ""}
}

func (o *output) paint(code, text string) string {
	if !o.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// say prints above the live line.
func (o *output) say(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clear()
	fmt.Fprintf(o.w, format+"\n", args...)
	fmt.Fprint(o.w, o.status)
}

func (o *output) scene(format string, args ...any) {
	o.say("\n%s", o.paint("1", fmt.Sprintf(format, args...)))
}

func (o *output) clear() {
	if o.status != "" {
		fmt.Fprint(o.w, "\r\x1b[K")
	}
}

// live shows the writes per second until endLive or ctx's end.
func (o *output) live(ctx context.Context, load *lab.Load) {
	ctx, cancel := context.WithCancel(ctx)
	every := 5 * time.Second
	if o.terminal {
		every = 200 * time.Millisecond
	}
	ended := make(chan struct{})
	o.stop = func() { cancel(); <-ended }
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				o.show(load.Snapshot())
			}
		}
	}()
}

func (o *output) show(s lab.Snapshot) {
	line := fmt.Sprintf("   %5d writes/s   %7d acknowledged   %d errors", s.PerSecond, s.Acked, s.Errors)
	if s.Idle > 100*time.Millisecond {
		line += o.paint("33", fmt.Sprintf("   no write for %s", s.Idle.Round(10*time.Millisecond)))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.terminal {
		fmt.Fprintln(o.w, line)
		return
	}
	o.clear()
	o.status = line
	fmt.Fprint(o.w, line)
}

// endLive takes the live line away.
func (o *output) endLive() {
	if o.stop != nil {
		o.stop()
		o.stop = nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clear()
	o.status = ""
}

// fleet lists what runs.
func (o *output) fleet(f *fleet.Fleet) {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	for i, s := range f.DB.Servers {
		role := "replica"
		if i == 0 {
			role = "primary"
		}
		fmt.Fprintf(t, "   %s\t%s\t%s\n", s.Name, s.Addr, role)
	}
	for i, p := range f.Proxies {
		fmt.Fprintf(t, "   %s\t%s\tadmin %s, kept by %s (API %s)\n", p.Name, p.ClientAddr, p.AdminAddr, f.Sidecars[i].Name, f.APIs[i])
	}
	for i, h := range f.HAProxys {
		fmt.Fprintf(t, "   %s\t%s\trendered by %s from %s\n", h.Name, f.HAProxyAddrs()[i], f.Sidecars[i].Name, f.Consul.Name)
	}
	t.Flush()
	o.say("%s", strings.TrimRight(b.String(), "\n"))
}

func (o *output) step(s step) {
	what := "longest pause of a client"
	if s.result.Back > 0 {
		what = "writes were back after"
	}
	verdict := o.paint("32", "kept")
	if s.broken != "" {
		verdict = o.paint("31", "BROKEN: "+s.broken)
	}
	o.say("   %s → %s through %s: %s %.0f ms; %d client errors, %d acknowledged writes lost. Promise %s.",
		s.result.From.Name, s.result.To.Name, s.Path, what, s.PauseMS, s.ClientErrors, s.Lost, verdict)
	for _, e := range s.result.Failures[:min(3, len(s.result.Failures))] {
		o.say("      %s", e)
	}
}

// summary prints the table and says whether every promise was kept.
func (o *output) summary(steps []step, proxy string) bool {
	ok := true
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "step\tthrough\tpause or outage\tclient errors\tacknowledged\tlost\tpromise\t")
	for _, s := range steps {
		verdict := "kept"
		if s.broken != "" {
			verdict, ok = "BROKEN", false
		}
		fmt.Fprintf(t, "%s\t%s\t%.0f ms\t%d\t%d\t%d\t%s\t\n", s.Name, s.Path, s.PauseMS, s.ClientErrors, s.Acked, s.Lost, verdict)
	}
	t.Flush()
	o.say("\n%s", strings.TrimRight(b.String(), "\n"))
	o.say("proxies: %s", describe(proxy))
	return ok
}

// commands says what to try while everything stays up.
func (o *output) commands(f *fleet.Fleet) {
	o.say("\nEverything stays up until Ctrl-C. In another terminal:\n")
	o.say("   export REMORA_NODES=%s", strings.Join(f.APIs, ","))
	o.say("   %s status --watch", f.Binary)
	o.say("   %s topology %s", f.Binary, fleet.Cluster)
	o.say("   %s switchover %s --dry-run", f.Binary, fleet.Cluster)
	o.say("   %s recoveries", f.Binary)
	if f.Consul != nil {
		o.say("   %s kv show      # what Consul at %s holds", f.Binary, f.Consul.Addr)
	}
	for _, s := range f.DB.Servers {
		o.say("   kill -9 %d      # %s, %s", s.PID(), s.Name, s.Addr)
	}
	o.say("   mariadb -h 127.0.0.1 -P %s -u %s -p%s lab   # through a proxy\n", port(f.Proxies[0].ClientAddr), lab.AppUser.Name, lab.AppUser.Password)
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
