package sidecar

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-ha/remora/proxysql"
	"github.com/remora-ha/remora/topology"
)

// unsaving is a proxy whose disk is full until it is not.
type unsaving struct {
	*fakeProxy
	full *bool
}

func (p unsaving) Save(context.Context, proxysql.Hostgroups) error {
	if *p.full {
		return errors.New("database or disk is full")
	}
	return nil
}

func TestADiskCopyThatCannotBeWrittenIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower()
		full := true
		f.ports.Proxy = unsaving{f.proxy, &full}
		f.start(t)
		f.routed(t)
		told := func() topology.Proxy {
			<-time.After(3 * lookEvery)
			synctest.Wait()
			return f.proxies.all()["main"]
		}
		if p := told(); p.Mode != topology.Open || !strings.Contains(p.Error, "disk is full") {
			t.Errorf("the leader is told %+v", p)
		}
		full = false
		if p := told(); p.Error != "" {
			t.Errorf("when it can be written the leader is told %q", p.Error)
		}
	})
}
