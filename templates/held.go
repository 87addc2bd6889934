package templates

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// confirmTime is how long a file that Consul had before the ledger is kept back
// before that is called a finding: a ledger that follows lags some milliseconds.
const confirmTime = time.Second

// hold says why new contents must not replace the file; empty: they may. Contents
// that are ahead of what is committed wait a moment for Switch.
func (r *Runner) hold(ctx context.Context, file []Assignment) string {
	limit := time.NewTimer(confirmTime)
	defer limit.Stop()
	for {
		committed, news := r.known()
		why, ahead := judge(file, r.inPlace(), committed)
		r.judged.Store(&news)
		if !ahead {
			return why
		}
		select {
		case <-news:
		case <-limit.C:
			return why
		case <-ctx.Done():
			return why
		}
	}
}

// inPlace are the assignments that the file has now.
func (r *Runner) inPlace() []Assignment {
	contents, err := os.ReadFile(r.cfg.Destination)
	if err != nil {
		return nil // there is nothing to keep, or to write it will fail
	}
	return Assignments(contents)
}

// judge compares a new file with the one in place and with what is committed. It
// says what is wrong, and whether that is only that Consul is ahead.
//
// A cluster that the new file does not name was left out by its template, unless
// the file in place names it: then Consul has lost it. Where nothing is committed,
// as after a start, the file in place is the best that is known.
func judge(file, inPlace []Assignment, committed map[string]Assignment) (why string, ahead bool) {
	floor := map[string]Assignment{}
	for _, a := range inPlace {
		floor[a.Cluster] = a
	}
	if len(file) == 0 && len(inPlace) > 0 {
		return fmt.Sprintf("Consul has no cluster at all, the file has %s for %s; if that is meant, delete the file", inPlace[0], inPlace[0].Cluster), false
	}
	named := map[string]bool{}
	for _, a := range file {
		named[a.Cluster] = true
		want, ok := committed[a.Cluster]
		has := floor[a.Cluster]
		switch {
		case ok && (a.Epoch < want.Epoch || a.Epoch == want.Epoch && a.Writer != want.Writer):
			return fmt.Sprintf("for cluster %s Consul has %s, and %s is committed", a.Cluster, a, want), false
		case ok && a.Epoch > want.Epoch && why == "":
			why = fmt.Sprintf("for cluster %s Consul has %s, of which Remora's ledger here knows nothing: %s is committed", a.Cluster, a, want)
		case !ok && a.Epoch < has.Epoch:
			return fmt.Sprintf("for cluster %s Consul has %s, which is older than the file's %s; if Consul was reset, delete the file", a.Cluster, a, has), false
		}
	}
	for _, a := range inPlace {
		if want, ok := committed[a.Cluster]; ok && !named[a.Cluster] {
			return fmt.Sprintf("Consul or the template has cluster %s no more, of which %s is committed; if that is meant, delete the file", a.Cluster, want), false
		}
	}
	return why, why != ""
}

// behind says for which clusters something newer is committed than the file has;
// empty: for none.
func (r *Runner) behind() string {
	committed, _ := r.known()
	var list []string
	for _, a := range r.inPlace() {
		if want, ok := committed[a.Cluster]; ok && want.Epoch > a.Epoch {
			list = append(list, fmt.Sprintf("for cluster %s %s is committed, the file has %s", a.Cluster, want, a))
		}
	}
	return strings.Join(list, "; ")
}

// strays says whether the file has what was never committed: it was made before
// Switch was heard.
func (r *Runner) strays() bool {
	committed, _ := r.known()
	for _, a := range r.inPlace() {
		if want, ok := committed[a.Cluster]; ok && (a.Epoch > want.Epoch || a.Epoch == want.Epoch && a.Writer != want.Writer) {
			return true
		}
	}
	return false
}
