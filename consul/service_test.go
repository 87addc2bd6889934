package consul

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

func TestServices(t *testing.T) {
	t.Parallel()
	c := agents(t, lab.ConsulOptions{})[0]
	p := publisher(t, Config{Address: c.Addr})
	members := func(service string) map[topology.Addr]Member {
		t.Helper()
		list, err := p.Members(within(t), service)
		must(t, err)
		m := map[topology.Addr]Member{}
		for _, x := range list {
			m[x.Addr] = x
		}
		return m
	}
	expect := func(service string, want ...Member) {
		t.Helper()
		m := map[topology.Addr]Member{}
		for _, x := range want {
			m[x.Addr] = x
		}
		// An agent tells its servers of its services a moment later.
		must(t, lab.Eventually(within(t), "the services", 10*time.Millisecond, func() (bool, string) {
			diff := cmp.Diff(m, members(service))
			return diff == "", diff
		}))
	}
	one := Service{Name: "mysql-main", Addr: "db1:3306", Tags: []string{"writer"}, Health: Passing, TTL: time.Minute}
	two := Service{Name: "mysql-main", Addr: "[fd00::2]:3307", Tags: []string{"reader"}, Health: Warning, Note: "it lags", TTL: time.Minute}
	sidecar := Service{Name: "remora", Addr: "10.0.0.1:3031", Tags: []string{"proxy1"}, Health: Passing, TTL: time.Minute}
	must(t, p.Register(within(t), "proxy1", []Service{sidecar}))
	must(t, p.Register(within(t), "main", []Service{one, two}))
	expect("mysql-main", Member{one.Addr, one.Tags, Passing}, Member{two.Addr, two.Tags, Warning})
	expect("remora", Member{sidecar.Addr, sidecar.Tags, Passing})

	one.Health, two.Tags, two.Health = Critical, []string{"writer"}, Passing
	must(t, p.Register(within(t), "main", []Service{one, two}))
	expect("mysql-main", Member{one.Addr, one.Tags, Critical}, Member{two.Addr, two.Tags, Passing})

	one.Health, one.TTL = Passing, time.Second
	must(t, p.Register(within(t), "main", []Service{one}))
	expect("mysql-main", Member{one.Addr, one.Tags, Passing})
	expect("mysql-main", Member{one.Addr, one.Tags, Critical}) // who is silent is not well

	must(t, p.Register(within(t), "main", nil))
	expect("mysql-main")
	expect("remora", Member{sidecar.Addr, sidecar.Tags, Passing})
}
