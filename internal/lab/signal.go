package lab

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// OnSignal closes the lab when one of the signals arrives, by default SIGINT, SIGTERM and SIGHUP, and then lets the
// signal end the calling process, so that its exit status tells. The function it returns ends that watch. A program with
// a clean-up of its own gives New a context of signal.NotifyContext instead.
func (l *Lab) OnSignal(signals ...os.Signal) (stop func()) {
	if len(signals) == 0 {
		signals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	}
	arrived, quit, ended := make(chan os.Signal, 1), make(chan struct{}), make(chan struct{})
	signal.Notify(arrived, signals...)
	go func() {
		defer close(ended)
		defer signal.Stop(arrived)
		select {
		case sig := <-arrived:
			l.opts.Logf("lab: %v: closing", sig)
			_ = l.Close()
			signal.Reset(sig)
			if number, ok := sig.(syscall.Signal); ok {
				_ = syscall.Kill(os.Getpid(), number)
			}
		case <-quit:
		}
	}()
	var once sync.Once
	return func() {
		once.Do(func() {
			close(quit)
			<-ended
		})
	}
}
