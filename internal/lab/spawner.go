package lab

import "runtime"

// spawner starts processes from one operating system thread that lives as long as the lab: the kernel sends a child its
// parent-death signal when the thread that forked it ends, not when the process does.
type spawner struct {
	jobs   chan func()
	done   chan struct{}
	mounts bool // the thread has a mount namespace of its own
}

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread() // for good: nobody else gets a thread that may have namespaces of its own
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

// run calls f on the thread and waits for it.
func (s *spawner) run(f func()) {
	finished := make(chan struct{})
	s.jobs <- func() {
		defer close(finished)
		f()
	}
	<-finished
}

func (s *spawner) close() {
	close(s.jobs)
	<-s.done
}
