package sidecar

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// So many have a turn at once, and one that takes long keeps nobody from the next.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		two := make(turns, 2)
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		began := time.Now()
		waited := func() (end func(), after time.Duration) {
			end, ok := two.take(ctx)
			if !ok {
				t.Fatal("no turn in a minute")
			}
			return end, time.Since(began)
		}
		first, _ := waited()
		if _, after := waited(); after > 0 {
			t.Errorf("the second waited for %s", after)
		}
		first()
		first() // which gives nothing back twice
		if _, after := waited(); after > 0 {
			t.Errorf("the third waited for %s though a turn had ended", after)
		}
		slow, after := waited()
		if after != turnTime {
			t.Errorf("the fourth waited for %s, want until turns are over that take long, %s", after, turnTime)
		}
		<-time.After(2 * turnTime)
		slow()
		if len(two) != 0 {
			t.Errorf("%d turns are left when all are over", len(two))
		}
		waited()
		waited()
		over, cancel := context.WithCancel(ctx)
		cancel()
		if _, ok := two.take(over); ok {
			t.Error("a turn was given to who went away")
		}
		if end, ok := turns(nil).take(over); !ok {
			t.Error("nothing is bounded, and who comes waits")
		} else {
			end()
		}
		<-time.After(turnTime)
	})
}
