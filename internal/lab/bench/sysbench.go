package bench

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remora-ha/remora/internal/lab"
)

const (
	sysbenchTest    = "oltp_write_only"
	sysbenchThreads = 32
	// sysbenchRate is how many transactions all threads begin in a second. Left alone they would take all of a small machine,
	// and wait for it rather than for Remora.
	sysbenchRate = 100
	// sysbenchTables and sysbenchRows are so many that threads seldom meet at a row, and so few that the lab's small servers
	// keep them in memory.
	sysbenchTables, sysbenchRows = 4, 5000
	// sysbenchTime is how long one run lasts; the switchover is in its middle.
	sysbenchTime = 8 * time.Second
	// sysbenchWarm is when the switchover is asked for.
	sysbenchWarm = 2500 * time.Millisecond

	// sysbenchAsk is for how long a switchover that is refused is asked for again.
	sysbenchAsk = 2 * time.Second

	stall = "longest stall"
)

//go:embed stall.lua
var stallScript []byte

// sysbench is a prepared database, and how to run sysbench on it through the proxies.
type sysbench struct {
	dir  string
	args []string
}

// prepareSysbench makes sysbench's tables through the first proxy.
func prepareSysbench(ctx context.Context, s *stage) (*sysbench, error) {
	dir := filepath.Join(s.f.Lab.Dir(), "sysbench")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "stall.lua"), stallScript, 0o644); err != nil {
		return nil, err
	}
	var ports []string
	for _, addr := range s.f.ClientAddrs() {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	b := &sysbench{dir: dir, args: []string{
		"--db-driver=mysql", "--mysql-host=127.0.0.1", "--mysql-db=lab", "--mysql-user=" + lab.AppUser.Name, "--mysql-password=" + lab.AppUser.Password,
		"--tables=" + strconv.Itoa(sysbenchTables), "--table-size=" + strconv.Itoa(sysbenchRows), "--rand-type=uniform",
		// Without prepared statements, which multiplexing proxies handle each in its own way.
		"--db-ps-mode=disable",
		// A deadlock among its own threads is no error of anybody else's; all other errors end it.
		"--mysql-ignore-errors=1213", "--verbosity=3",
	}}
	if out, err := b.run(ctx, sysbenchTest, "--mysql-port="+ports[0], "prepare"); err != nil {
		return nil, fmt.Errorf("sysbench prepare: %w\n%s", err, out)
	}
	b.args = append(b.args, "--mysql-port="+strings.Join(ports, ","), "--threads="+strconv.Itoa(sysbenchThreads),
		"--time="+strconv.Itoa(int(sysbenchTime.Seconds())), "--events=0", "--rate="+strconv.Itoa(sysbenchRate))
	return b, nil
}

func (b *sysbench) run(ctx context.Context, script string, more ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "sysbench", slices.Concat([]string{script}, b.args, more)...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "REMORA_SYSBENCH_OUT="+b.dir, "REMORA_SYSBENCH_TEST="+sysbenchTest)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// transaction is one that a thread of sysbench was acknowledged.
type transaction struct{ began, ended time.Time }

// transactions reads what the script wrote, in the order of their ends.
func (b *sysbench) transactions() ([]transaction, error) {
	var all []transaction
	for i := range sysbenchThreads {
		f, err := os.Open(filepath.Join(b.dir, fmt.Sprintf("%d.events", i)))
		if err != nil {
			return nil, fmt.Errorf("sysbench's thread %d wrote nothing: %w", i, err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			var began, ended int64
			if _, err := fmt.Sscan(lines.Text(), &began, &ended); err != nil {
				return nil, fmt.Errorf("sysbench's thread %d wrote %q: %w", i, lines.Text(), err)
			}
			all = append(all, transaction{time.UnixMicro(began), time.UnixMicro(ended)})
		}
		if err := lines.Err(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b transaction) int { return a.ended.Compare(b.ended) })
	return all, nil
}

// longestStall is the longest time in which no thread was acknowledged a transaction.
func longestStall(all []transaction) (longest lab.Interval) {
	for i := 1; i < len(all); i++ {
		if gap := (lab.Interval{From: all[i-1].ended, To: all[i].ended}); gap.Duration() > longest.Duration() {
			longest = gap
		}
	}
	return longest
}

// around are the transactions that ended between two instants.
func around(all []transaction, from, to time.Time) []transaction {
	return slices.DeleteFunc(slices.Clone(all), func(t transaction) bool { return t.ended.Before(from) || t.ended.After(to) })
}

func durations(all []transaction) []float64 {
	var list []float64
	for _, t := range all {
		list = append(list, ms(t.ended.Sub(t.began)))
	}
	return list
}

var sysbenchCounts = regexp.MustCompile(`(ignored errors|reconnects):\s+(\d+)`)

func sysbenchSwitchover(ctx context.Context, r *Run) error {
	if _, err := exec.LookPath("sysbench"); err != nil {
		return fmt.Errorf("it needs the Debian package sysbench: %w", err)
	}
	r.Promise(stall, 150, 0)
	var on *stage // whose database is prepared
	var bench *sysbench
	return r.rounds(ctx, measured(), func(ctx context.Context, s *stage, i int) (err error) {
		if on != s {
			if bench, err = prepareSysbench(ctx, s); err != nil {
				return err
			}
			on = s
		}
		return bench.round(ctx, s, i)
	})
}

// round is one run of sysbench with a switchover in its middle, and three clients of ours beside it, which check that
// nothing is lost.
func (b *sysbench) round(ctx context.Context, s *stage, i int) error {
	if err := s.f.Converged(ctx); err != nil {
		return err
	}
	load, err := s.clients(ctx, 3)
	if err != nil {
		return err
	}
	defer load.Stop()
	type outcome struct {
		out string
		err error
	}
	ended := make(chan outcome, 1)
	go func() {
		out, err := b.run(ctx, filepath.Join(b.dir, "stall.lua"), "run")
		ended <- outcome{out, err}
	}()
	if err := wait(ctx, sysbenchWarm); err != nil {
		return err
	}
	began, asked := time.Now(), time.Now()
	res, err := s.f.Switchover(ctx, load, i%len(s.f.Sidecars), "")
	for err != nil && res.Recovery.Intent.ID == "" && time.Since(began) < sysbenchAsk { // refused, such as for lag: that costs nothing
		s.Note("round %d: asked again: %v", i+1, err)
		if err := wait(ctx, sysbenchWarm/10); err != nil {
			return err
		}
		asked = time.Now()
		res, err = s.f.Switchover(ctx, load, i%len(s.f.Sidecars), "")
	}
	done := time.Now()
	load.Stop()
	ran := <-ended
	if ran.err != nil {
		s.Count("sysbench runs ended by an error", 1)
		s.Break("sysbench ended with an error: %s", lastLines(ran.out))
	}
	if err != nil {
		return err
	}
	all, err := b.transactions()
	if err != nil {
		return err
	}
	if len(all) == 0 || all[len(all)-1].ended.Before(done) {
		return fmt.Errorf("sysbench ended before the switchover did, which took %s", done.Sub(asked))
	}
	gap := s.stalls(all, asked, done)
	s.AddTime(longestPause, res.Pause())
	s.addPhases(res.Recovery, gap)
	s.note(res, i)
	s.Count("sysbench runs ended by an error", 0)
	s.Count("transactions of sysbench", len(all))
	for _, e := range res.Failures {
		s.Break("a client got an error: %s", e)
	}
	return s.counts(ran.out)
}

// stalls notes what the threads saw of a switchover, and of the time just before it; it gives the longest stall.
func (s *stage) stalls(all []transaction, asked, done time.Time) lab.Interval {
	before, during := around(all, asked.Add(-sysbenchWarm/2), asked), around(all, asked.Add(-300*time.Millisecond), done)
	gap := longestStall(during)
	s.AddTime(stall, gap.Duration())
	s.AddTime("longest stall before it", longestStall(before).Duration())
	s.Add("longest transaction", "ms", summarise(durations(during)).Max)
	s.Add("longest transaction before it", "ms", summarise(durations(before)).Max)
	s.Add("median transaction before it", "ms", summarise(durations(before)).Median)
	s.Add("transactions before it", "/s", float64(len(before))/(sysbenchWarm/2).Seconds())
	return gap
}

// counts notes what sysbench itself counted.
func (s *stage) counts(printed string) error {
	for _, m := range sysbenchCounts.FindAllStringSubmatch(printed, -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			return err
		}
		if s.Count(strings.Replace(m[1], "ignored errors", "deadlocks", 1), n); m[1] == "reconnects" && n > 0 {
			s.Break("sysbench had to connect %d times again", n)
		}
	}
	return nil
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "; ")
}
