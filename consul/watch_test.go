package consul

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/remora-ha/remora/topology"
)

// lister is a Consul whose folder is always empty; each answers with the next index.
func lister(t *testing.T, asked func(index string) (next string)) *Publisher {
	t.Helper()
	return publisher(t, Config{Wait: time.Second, Address: answer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Consul-Index", asked(r.URL.Query().Get("index")))
		w.WriteHeader(http.StatusNotFound)
	})})
}

// A Publish that is under way, or was, between two looks explains a difference.
func TestOurOwnPublishIsNoDrift(t *testing.T) {
	for name, c := range map[string]struct {
		before, between func(p *Publisher)
		drift           int
	}{
		"nobody publishes":    {func(*Publisher) {}, func(*Publisher) {}, 6},
		"under way before":    {func(p *Publisher) { p.enter("main") }, func(p *Publisher) { p.leave("main") }, 0},
		"begins and ends":     {func(*Publisher) {}, func(p *Publisher) { p.enter("main"); p.leave("main") }, 0},
		"under way all along": {func(p *Publisher) { p.enter("main") }, func(*Publisher) {}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var p *Publisher
			looks := 0
			p = lister(t, func(string) string {
				if looks++; looks == 1 {
					c.between(p)
				}
				return "5"
			})
			d := open(7, "db1:3306")
			p.enter("main")
			p.settle(d, want(keys, d, ips{known: true}, nil))
			p.leave("main")
			c.before(p)
			drift, again, err := p.inspect(within(t), nil)
			if err != nil || len(drift) != c.drift || again != (c.drift == 0) {
				t.Errorf("%d differences, again %v, %v", len(drift), again, err)
			}
		})
	}
}

// An index that goes back is another store's: what changed there is asked for at once.
func TestWatchStartsAnewWhenTheIndexGoesBack(t *testing.T) {
	ctx, cancel := context.WithCancel(within(t))
	var seen []string
	answers := []string{"9", "9", "3"}
	p := lister(t, func(index string) string {
		seen = append(seen, index)
		if len(seen) > len(answers) {
			cancel()
			return "3"
		}
		return answers[len(seen)-1]
	})
	p.Watch(ctx, func(drift []topology.Change, err error) { t.Errorf("noticed %v, %v", drift, err) })
	if want := []string{"", "9", "9", ""}; len(seen) < 4 || seen[1] != want[1] || seen[3] != want[3] {
		t.Errorf("asked with indexes %q, want %q", seen, want)
	}
}
