package fleet_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/api"
	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// chaosTime bounds TestMeasureKVChaos where its number of actions does not.
const chaosTime = 35 * time.Minute

// TestMeasureKVChaos kills, freezes and empties Consul, edits and deletes its keys, kills and reloads HAProxys and
// switches over, in a random order that REMORA_SEED repeats, and waits every few actions until all is in line again.
func TestMeasureKVChaos(t *testing.T) {
	n := wanted(t, "kvchaos", 1000)
	lab.ConsulForTest(t)
	seed, err := strconv.ParseUint(os.Getenv("REMORA_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	fmt.Printf("kvchaos: REMORA_SEED=%d\n", seed)
	opts := measured
	opts.HAProxy = true
	ctx, f, load := startLong(t, opts, 3)
	outside, err := f.Lab.Load(ctx, lab.LoadOptions{Addrs: f.HAProxyAddrs(), Writers: 3, Pace: 20 * time.Millisecond})
	must(t, err)
	defer func() { // of the lab's own connections, Remora has ended some long ago: the lab would take that for an error
		for _, s := range f.DB.Servers {
			s.DB().SetMaxIdleConns(-1)
		}
	}()

	c := &chaos{t: t, ctx: ctx, f: f, load: load, random: rand.New(rand.NewPCG(seed, 0)), done: map[string]int{}}
	files := watchFiles(t, f)
	began, played, next := time.Now(), 0, 0
	for ; played < n && time.Since(began) < chaosTime && !t.Failed(); played++ {
		c.act()
		hold(ctx, time.Duration(c.random.IntN(250))*time.Millisecond)
		if played >= next {
			next = played + 2 + c.random.IntN(6)
			c.converge()
		}
	}
	c.converge()
	if played < n {
		t.Logf("the time was up after %d of %d actions", played, n)
	}
	fmt.Printf("MEASURED kvchaos, proxies %s: %d actions in %s (%s): in line again %s; %d contents of the files seen; %s\n",
		f.ProxyKind(), played, time.Since(began).Round(time.Second), c.counts(), c.times, files(), verify(t, ctx, f, outside))
	verify(t, ctx, f, load)
}

// chaos is one run.
type chaos struct {
	t      *testing.T
	ctx    context.Context
	f      *fleet.Fleet
	load   *lab.Load // through the ProxySQLs, which Consul does not concern
	random *rand.Rand
	done   map[string]int // actions by name
	last   []string       // actions since all was in line
	times  figures        // until all was in line again
}

// actions are how often each is drawn beside the others, where it is possible at the moment.
var actions = []struct {
	name     string
	weight   int
	possible func(*chaos) bool
	do       func(*chaos) error
}{
	{"consul killed", 4, (*chaos).consulRuns, func(c *chaos) error { return c.f.Consul.Kill() }},
	{"consul started empty", 8, func(c *chaos) bool { return !c.f.Consul.Running() }, func(c *chaos) error { return c.f.Consul.Start(c.ctx) }},
	{"consul frozen", 3, (*chaos).consulAnswers, func(c *chaos) error { return c.f.Consul.Freeze() }},
	{"consul thawed", 8, func(c *chaos) bool { return c.f.Consul.Frozen() }, func(c *chaos) error { return c.f.Consul.Thaw() }},
	{"keys deleted", 14, (*chaos).consulAnswers, (*chaos).deleteKeys},
	{"keys edited", 20, (*chaos).consulAnswers, (*chaos).editKey},
	{"documents edited", 20, (*chaos).consulAnswers, (*chaos).editDocument},
	{"haproxy killed", 6, (*chaos).haproxyRuns, func(c *chaos) error { return c.haproxy(true).Kill() }},
	{"haproxy started", 8, (*chaos).haproxyIsDown, func(c *chaos) error { return c.haproxy(false).Start(c.ctx) }},
	{"haproxy reloaded", 8, (*chaos).haproxyRuns, (*chaos).reload},
	{"switchover", 3, func(*chaos) bool { return true }, (*chaos).switchover},
}

// act draws an action and carries it out.
func (c *chaos) act() {
	sum := 0
	for _, a := range actions {
		if a.possible(c) {
			sum += a.weight
		}
	}
	draw := c.random.IntN(sum)
	for _, a := range actions {
		if !a.possible(c) {
			continue
		}
		if draw -= a.weight; draw >= 0 {
			continue
		}
		c.done[a.name]++
		c.last = append(c.last, a.name)
		if err := a.do(c); err != nil {
			c.t.Fatalf("%s: %v; before that: %s", a.name, err, strings.Join(c.last, ", "))
		}
		return
	}
}

func (c *chaos) consulRuns() bool    { return c.f.Consul.Running() }
func (c *chaos) consulAnswers() bool { return c.f.Consul.Running() && !c.f.Consul.Frozen() }

func (c *chaos) haproxyRuns() bool   { return c.haproxy(true) != nil }
func (c *chaos) haproxyIsDown() bool { return c.haproxy(false) != nil }

// haproxy draws one that runs, or one that does not; nil when there is none.
func (c *chaos) haproxy(running bool) *lab.HAProxy {
	all := slices.DeleteFunc(slices.Clone(c.f.HAProxys), func(h *lab.HAProxy) bool { return h.Running() != running })
	if len(all) == 0 {
		return nil
	}
	return all[c.random.IntN(len(all))]
}

// reload is what an operator might do, also in the middle of a sidecar's own reload, in which the master's socket is away
// for a moment.
func (c *chaos) reload() error {
	ctx, cancel := context.WithTimeout(c.ctx, 20*time.Second)
	defer cancel()
	h := c.haproxy(true)
	return lab.Eventually(ctx, "a reload of "+h.Name, 20*time.Millisecond, func() (bool, string) {
		err := h.Reload(ctx)
		return err == nil, fmt.Sprint(err)
	})
}

// switchover may fail or be refused, as when the leader changes on a busy machine; then all comes in line where it was.
func (c *chaos) switchover() error {
	if _, err := c.f.Switchover(c.ctx, c.load, c.random.IntN(len(c.f.Sidecars)), ""); err != nil {
		c.t.Logf("%v", err)
		c.done["switchover failed"]++
	}
	return nil
}

const kvRoot = "/v1/kv/mysql/master/"

// kvNames are the cluster's keys below the prefix.
var kvNames = []string{"", "/hostname", "/port", "/ipv4", "/ipv6", "/remora"}

func (c *chaos) call(method, path, body string) error {
	status, answer, err := c.f.Consul.Call(c.ctx, method, path, body)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s %s: %d %s", method, path, status, answer)
	}
	return err
}

// deleteKeys deletes one key, the folder or all; then perhaps a stranger's key stays, below the same prefix.
func (c *chaos) deleteKeys() error {
	switch c.random.IntN(8) {
	case 0:
		return c.call(http.MethodDelete, kvRoot+fleet.Cluster+"/?recurse", "")
	case 1:
		return c.call(http.MethodDelete, kvRoot+"?recurse", "")
	case 2:
		if err := c.call(http.MethodPut, kvRoot+"stranger/haproxy/writer_port", "99999"); err != nil {
			return err
		}
		return c.call(http.MethodDelete, kvRoot+fleet.Cluster+"?recurse", "")
	default:
		return c.call(http.MethodDelete, kvRoot+fleet.Cluster+kvNames[c.random.IntN(len(kvNames))], "")
	}
}

func (c *chaos) editKey() error {
	values := []string{"", "0", "db.example:3306", "127.0.0.1:1", "\xff\x00", strings.Repeat("x", 5000)}
	return c.call(http.MethodPut, kvRoot+fleet.Cluster+kvNames[c.random.IntN(len(kvNames)-1)], values[c.random.IntN(len(values))])
}

// editDocument puts garbage in place of the document, or one that an older leader might have written. One of a higher
// epoch is not among them: that keeps Remora out for good, as docs/consul.md says.
func (c *chaos) editDocument() error {
	var s api.ClusterStatus
	eventually(c.t, c.ctx, "a status", func() (done bool, _ string) { // on a busy machine the leader may just have changed
		var err error
		s, err = state(c.ctx, c.f)
		return err == nil, fmt.Sprint(err)
	})
	document := func(epoch uint64, writer string) string {
		return fmt.Sprintf(`{"version":1,"cluster":%q,"epoch":%d,"mode":"open","writer":%s,"primary":%[3]s,"readers":[],"time":"2026-01-02T03:04:05Z"}`,
			fleet.Cluster, epoch, writer)
	}
	wrong := `{"host":"127.0.0.1","port":1,"address":"127.0.0.1:1","data_center":""}`
	values := []string{
		"", "garbage", "null", "{}", "[]", "{\"version\":1", "\xff\xfe", `{"version":2,"cluster":"main","epoch":1}`, `{"version":"1","cluster":7,"epoch":-1}`,
		document(1, wrong), document(1, "null"), document(s.Epoch-1, wrong), document(s.Epoch, wrong), document(s.Epoch, "null"),
		document(s.Epoch, `{"host":"a b\nserver evil","port":3306}`), document(s.Epoch, `"text"`), document(0, wrong),
	}
	return c.call(http.MethodPut, kvRoot+fleet.Cluster+"/remora", values[c.random.IntN(len(values))])
}

// converge gives Consul and most HAProxys back and waits until all is in line.
func (c *chaos) converge() {
	must(c.t, c.f.Consul.Thaw())
	if !c.f.Consul.Running() {
		must(c.t, c.f.Consul.Start(c.ctx))
	}
	for _, h := range c.f.HAProxys {
		if !h.Running() && c.random.IntN(3) > 0 {
			must(c.t, h.Start(c.ctx))
		}
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(c.ctx, time.Minute)
	defer cancel()
	err := lab.Eventually(ctx, "all to be in line after "+strings.Join(c.last, ", "), 20*time.Millisecond, func() (bool, string) {
		wrong := c.wrong(ctx)
		return wrong == "", wrong
	})
	must(c.t, err)
	c.times, c.last = append(c.times, time.Since(began)), nil
}

// wrong says what is not in line; empty when all is.
func (c *chaos) wrong(ctx context.Context) string {
	s, err := state(ctx, c.f)
	if err != nil || s.Mode != "open" || s.Recovery != nil {
		return fmt.Sprint(s.Sentence, err)
	}
	d, err := c.f.Published(ctx)
	if err != nil || d.Epoch != s.Epoch || d.Writer == nil || d.Writer.Address != s.Primary {
		return fmt.Sprintf("Consul holds epoch %d of %d, writer %+v; %v", d.Epoch, s.Epoch, d.Writer, err)
	}
	for i, h := range c.f.HAProxys {
		writer, epoch, err := c.f.Rendered(i)
		if err != nil || writer != string(s.Primary) || epoch != strconv.FormatUint(s.Epoch, 10) {
			return fmt.Sprintf("the file of %s has %s at epoch %s, not %s at %d; %v", h.Name, writer, epoch, s.Primary, s.Epoch, err)
		}
		if !h.Running() {
			continue
		}
		if writer, err := running(ctx, h); err != nil || writer != string(s.Primary) {
			return fmt.Sprintf("%s runs with writer %q, not %s; %v", h.Name, writer, s.Primary, err)
		}
	}
	if shown := remora(c.t, ctx, c.f, "", "kv", "show", fleet.Cluster); shown.code != 0 {
		return shown.stdout + shown.stderr
	}
	return ""
}

// running is the writer that an HAProxy's worker sends traffic to; empty for none.
func running(ctx context.Context, h *lab.HAProxy) (string, error) {
	answer, err := h.Ask(ctx, "@1 show servers state "+fleet.Cluster+"_writer")
	if err != nil {
		return "", err
	}
	var names []string
	for line := range strings.Lines(answer) {
		fields := strings.Fields(line)
		if len(fields) > 0 && fields[0] == "#" {
			names = fields[1:]
			continue
		}
		row := map[string]string{}
		for i := range min(len(names), len(fields)) {
			row[names[i]] = fields[i]
		}
		if row["srv_name"] != "writer" {
			continue
		}
		if row["srv_admin_state"] != "0" {
			return "", nil
		}
		return row["srv_addr"] + ":" + row["srv_port"], nil
	}
	return "", fmt.Errorf("it shows no writer: %q", answer)
}

func (c *chaos) counts() string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(c.done)) {
		list = append(list, fmt.Sprintf("%s %d", name, c.done[name]))
	}
	return strings.Join(list, ", ")
}
