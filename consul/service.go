package consul

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/remora-ha/remora/topology"
)

// Health is the state of a service's check.
type Health string

// The states of a check, as Consul names them.
const (
	Passing  Health = api.HealthPassing
	Warning  Health = api.HealthWarning
	Critical Health = api.HealthCritical
)

// Service is an instance, or a sidecar, as Consul shall know it.
type Service struct {
	Name string // the service; its instances differ in Addr
	Addr topology.Addr
	Tags []string // such as its role
	// Health is told anew at each Register. Who is silent for TTL is critical, and
	// ten minutes later gone.
	Health Health
	Note   string // why it is not passing
	TTL    time.Duration
}

const (
	groupMeta  = "remora-group"
	goneAfter  = "10m"
	minimalTTL = time.Second
)

// Register makes the services of a group, at the agent of this Publisher, exactly
// these, with their health; others of the group are deregistered. A group is one
// caller's: the instances of a cluster, or the sidecar itself. Only the agent's own
// data centre is meant, whatever Config.Datacenter says.
//
// Errors: ErrDenied, ErrUnreachable, ErrRefused. What was done before an error stays.
func (p *Publisher) Register(ctx context.Context, group string, services []Service) error {
	what := "register services of " + group
	want := map[string]Service{}
	for _, s := range services {
		if s.Name == "" || s.Addr == "" || group == "" {
			return fmt.Errorf("%s: %s: a group, name or address is missing", p.cfg.where(), what)
		}
		s.TTL = max(s.TTL, minimalTTL)
		want[s.id(group)] = s
	}
	ctx, end := p.bound(ctx)
	defer end()
	have, err := p.client.Agent().ServicesWithFilterOpts(fmt.Sprintf("Meta[%q] == %q", groupMeta, group), (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return p.explain(what, err)
	}
	q := (&api.QueryOptions{}).WithContext(ctx)
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[id]; !ok {
			if err := p.client.Agent().ServiceDeregisterOpts(id, q); err != nil {
				errs = append(errs, p.explain("deregister service "+id, err))
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		s := want[id]
		if !s.registered(have[id]) {
			opts := api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(ctx)
			if err := p.client.Agent().ServiceRegisterOpts(s.registration(id, group), opts); err != nil {
				errs = append(errs, p.explain("register service "+id, err))
				continue
			}
		}
		if err := p.client.Agent().UpdateTTLOpts(checkID(id), s.Note, string(s.Health), q); err != nil {
			errs = append(errs, p.explain("tell the health of service "+id, err))
		}
	}
	return errors.Join(errs...)
}

func (s Service) id(group string) string {
	return "remora-" + group + "-" + s.Name + "-" + string(s.Addr)
}

func checkID(id string) string { return id + "-health" }

func (s Service) registered(have *api.AgentService) bool {
	return have != nil && have.Service == s.Name && have.Address == s.Addr.Host() && have.Port == s.Addr.Port() &&
		slices.Equal(have.Tags, s.Tags) && have.Meta["remora-ttl"] == s.TTL.String()
}

func (s Service) registration(id, group string) *api.AgentServiceRegistration {
	return &api.AgentServiceRegistration{
		ID: id, Name: s.Name, Tags: s.Tags, Address: s.Addr.Host(), Port: s.Addr.Port(),
		Meta: map[string]string{groupMeta: group, "remora-ttl": s.TTL.String()},
		Checks: api.AgentServiceChecks{{
			CheckID: checkID(id), Name: "Remora's view", TTL: s.TTL.String(), Status: string(s.Health),
			DeregisterCriticalServiceAfter: goneAfter,
		}},
	}
}

// Member is an instance of a service that was found.
type Member struct {
	Addr   topology.Addr
	Tags   []string
	Health Health // the worst of its checks and its agent's
}

// Members finds the instances of a service in Config.Datacenter, such as the
// sidecars that registered themselves, sorted by address.
//
// Errors: ErrDenied, ErrUnreachable, ErrRefused.
func (p *Publisher) Members(ctx context.Context, service string) ([]Member, error) {
	what := "find service " + service
	ctx, end := p.bound(ctx)
	defer end()
	found, meta, err := p.client.Health().Service(service, "", false, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return nil, p.explain(what, err)
	}
	if _, err := visible(nil, meta); err != nil {
		return nil, p.explain(what, err)
	}
	var members []Member
	for _, f := range found {
		host := f.Service.Address
		if host == "" {
			host = f.Node.Address
		}
		addr, err := topology.ParseAddr(net.JoinHostPort(host, strconv.Itoa(f.Service.Port)))
		if err != nil {
			return nil, p.explain(what, err)
		}
		members = append(members, Member{Addr: addr, Tags: f.Service.Tags, Health: Health(f.Checks.AggregatedStatus())})
	}
	slices.SortFunc(members, func(a, b Member) int {
		if a.Addr < b.Addr {
			return -1
		}
		return 1
	})
	return members, nil
}
