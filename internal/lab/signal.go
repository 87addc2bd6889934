package lab

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// interruption lets a signal end the process only when every lab that watches for one is closed: the first to be done
// would take the others' time to clean up.
var interruption struct {
	sync.Mutex
	watching int
	pending  os.Signal
}

// OnSignal closes the lab when one of the signals arrives, by default SIGINT, SIGTERM and SIGHUP, and then lets the
// signal end the calling process, so that its exit status tells. The function it returns ends that watch. A program with
// a clean-up of its own gives New a context of signal.NotifyContext instead.
func (l *Lab) OnSignal(signals ...os.Signal) (stop func()) {
	if len(signals) == 0 {
		signals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	}
	arrived, quit, ended := make(chan os.Signal, 1), make(chan struct{}), make(chan struct{})
	signal.Notify(arrived, signals...)
	interruption.Lock()
	interruption.watching++
	if interruption.pending != nil { // a lab made while the others are being closed
		select {
		case arrived <- interruption.pending:
		default: // it has one of its own already
		}
	}
	interruption.Unlock()
	go func() {
		defer close(ended)
		select {
		case sig := <-arrived:
			interruption.Lock()
			interruption.pending = sig
			interruption.Unlock()
			l.opts.Logf("lab: %v: closing", sig)
			_ = l.Close()
		case <-quit:
		}
		signal.Stop(arrived)
		unwatch()
	}()
	var once sync.Once
	return func() {
		once.Do(func() {
			close(quit)
			<-ended
		})
	}
}

// unwatch ends one watch, and with the last one the process, when a signal came.
func unwatch() {
	interruption.Lock()
	defer interruption.Unlock()
	interruption.watching--
	sig, ok := interruption.pending.(syscall.Signal)
	if interruption.watching > 0 || !ok {
		return
	}
	signal.Reset(sig)
	_ = syscall.Kill(os.Getpid(), sig)
}
