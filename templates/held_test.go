package templates_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/templates"
)

func main43() templates.Assignment {
	return templates.Assignment{Cluster: "main", Epoch: 43, Writer: "10.0.0.2:3306"}
}

// switchTo says what is committed.
func (b *bench) switchTo(a templates.Assignment) {
	b.Helper()
	must(b.T, b.runner.Switch(b.ctx, a))
}

// A cluster that the template leaves out holds up no other one.
func TestAClusterThatIsLeftOut(t *testing.T) {
	b := newBench(t)
	b.kv.set("mysql/master/main/remora", first())
	b.kv.set("mysql/master/portless/remora", document("portless", 7, "open", "10.0.3.1:3306"))
	b.run()
	b.contains(one)
	b.switchTo(templates.Assignment{Cluster: "portless", Epoch: 7, Writer: "10.0.3.1:3306"})
	b.switchTo(main43())
	b.kv.set("mysql/master/main/remora", second())
	b.contains(two)
	b.awaits(templates.Rendered)
	// The file in place names main, so without main Consul has lost something.
	b.kv.change(func(m map[string]string) {
		delete(m, "mysql/master/main/remora")
		m["mysql/master/portless/haproxy/writer_port"], m["mysql/master/portless/haproxy/reader_port"] = "7000", "7001"
	})
	if s := b.awaits(templates.Held); !strings.Contains(s.Sentence, "cluster main no more") || !strings.Contains(b.file(), two) {
		t.Errorf("it says %s", s.Sentence)
	}
}

// Before anything is known to be committed, the file in place is what is known.
func TestAnOlderFileAfterARestart(t *testing.T) {
	for name, test := range map[string]struct{ key, value, want string }{
		"older":    {"mysql/master/main/remora", first(), "10.0.0.1:3306 at epoch 42, which is older than the file's 10.0.0.2:3306 at epoch 43"},
		"nonsense": {"mysql/master/main/remora", "nonsense", "older than the file's"},
		"emptied":  {"mysql/master/other/haproxy/writer_port", "7000", "no cluster at all"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.kv.set("mysql/master/main/remora", second())
			b.once()
			b.kv.change(func(m map[string]string) {
				clear(m)
				m[test.key] = test.value
			})
			b.run()
			s := b.awaits(templates.Held)
			if !strings.Contains(s.Sentence, test.want) || !strings.Contains(s.Sentence, "delete the file") || !strings.Contains(b.file(), two) {
				t.Errorf("it says %s, and the file is\n%s", s.Sentence, b.file())
			}
			must(t, os.Remove(b.cfg.Destination))
			b.awaits(templates.Rendered)
			if strings.Contains(b.file(), two) {
				t.Errorf("the file is\n%s", b.file())
			}
		})
	}
}

// Who can write to Consul cannot outbid the ledger.
func TestConsulAheadOfTheLedger(t *testing.T) {
	b := newBench(t)
	b.cfg.Retry = time.Minute // so that only Switch can make it look again
	b.kv.set("mysql/master/main/remora", first())
	b.run()
	b.contains(one)
	b.switchTo(templates.Assignment{Cluster: "main", Epoch: 42, Writer: "10.0.0.1:3306"})
	b.kv.set("mysql/master/main/remora", document("main", 44, "open", "10.0.0.3:3306"))
	s := b.awaits(templates.Held)
	if !strings.Contains(s.Sentence, "10.0.0.3:3306 at epoch 44") || !strings.Contains(s.Sentence, "10.0.0.1:3306 at epoch 42 is committed") || !strings.Contains(b.file(), one) {
		t.Errorf("it says %s", s.Sentence)
	}
	b.switchTo(templates.Assignment{Cluster: "main", Epoch: 44, Writer: "10.0.0.3:3306"})
	b.contains("writer 10.0.0.3:3306")
	b.awaits(templates.Rendered)
	if strings.Count(b.log.String(), "state=held") != 1 {
		t.Errorf("the log is\n%s", b.log.String())
	}
	// A ledger that is late by a moment is no finding.
	b.kv.set("mysql/master/main/remora", document("main", 45, "open", "10.0.0.4:3306"))
	b.switchTo(templates.Assignment{Cluster: "main", Epoch: 45, Writer: "10.0.0.4:3306"})
	b.contains("writer 10.0.0.4:3306")
	if strings.Count(b.log.String(), "state=held") != 1 {
		t.Errorf("the log is\n%s", b.log.String())
	}
}

// A file from before the first Switch that has what was never committed is a finding.
func TestAFileAheadOfTheFirstSwitch(t *testing.T) {
	b := newBench(t)
	b.kv.set("mysql/master/main/remora", document("main", 9999, "open", "10.0.0.9:3306"))
	b.run()
	b.contains("epoch 9999")
	b.awaits(templates.Rendered)
	b.switchTo(main43())
	b.awaits(templates.Held)
	b.kv.set("mysql/master/main/remora", second())
	b.contains(two)
	b.awaits(templates.Rendered)
}

// The socket is never switched to what only Consul says.
func TestTheSocketFollowsTheLedger(t *testing.T) {
	w := newWorld(t, true)
	w.switchTo(templates.Assignment{Cluster: "main", Epoch: uint64(w.epoch), Writer: w.a})
	epoch := w.epoch
	w.epoch = 9998
	w.publish(w.b)
	w.awaits(templates.Held)
	if s := w.open(); s.server != w.a {
		t.Errorf("a session reached %s", s.server)
	}
	w.switchTo(templates.Assignment{Cluster: "main", Epoch: uint64(epoch) + 1, Writer: w.c})
	if s := w.open(); s.server != w.c {
		t.Errorf("a session reached %s", s.server)
	}
}

// A Consul that takes connections and never answers is a finding, and is followed
// again when it is back.
func TestFrozenConsul(t *testing.T) {
	b := newBench(t)
	b.kv.set("mysql/master/main/remora", first())
	b.run()
	b.contains(one)
	b.awaits(templates.Rendered)
	b.kv.setFrozen(true)
	b.switchTo(main43())
	s := b.awaits(templates.NoConsul)
	if !strings.Contains(s.Sentence, "10.0.0.2:3306 at epoch 43 is committed, the file has 10.0.0.1:3306 at epoch 42") {
		t.Errorf("it says %s", s.Sentence)
	}
	b.until("the frozen Consul to be noticed", func() (bool, string) {
		s := b.runner.Status()
		return s.State == templates.NoConsul && strings.Contains(s.Sentence, "has not answered") && strings.Contains(s.Sentence, "epoch 43 is committed"), s.Sentence
	})
	b.kv.change(func(m map[string]string) {
		b.kv.frozen = false
		m["mysql/master/main/remora"] = second()
	})
	b.contains(two)
	b.awaits(templates.Rendered)
}

// A Consul that was frozen all the time gets one request at a time.
func TestFrozenFromTheBeginning(t *testing.T) {
	b := newBench(t)
	b.kv.set("mysql/master/main/remora", first())
	b.kv.setFrozen(true)
	b.run()
	b.awaits(templates.NoConsul)
	b.until("two more questions", func() (bool, string) { return b.kv.sessions() >= 3, "" })
	b.kv.mu.Lock()
	waiting := b.kv.waiting
	b.kv.mu.Unlock()
	if waiting > 2 {
		t.Errorf("%d requests wait", waiting)
	}
	b.kv.setFrozen(false)
	b.contains(one)
}

func TestOnceSaysThatConsulIsFrozen(t *testing.T) {
	b := newBench(t)
	b.kv.setFrozen(true)
	ctx, cancel := context.WithTimeout(b.ctx, 3*time.Second)
	defer cancel()
	if err := templates.Render(ctx, b.cfg, true, false, nil); err == nil || !strings.Contains(err.Error(), "has not answered") {
		t.Errorf("a frozen Consul gives %v", err)
	}
}
