package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace without a name: it lives as long as somebody holds its file or runs in it, so that
// nothing of it outlives its lab, however that ends.
type namespace struct{ file *os.File }

// newNamespace makes one, in which even the loopback interface is down.
func newNamespace() (ns *namespace, err error) {
	onNewThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		var f *os.File
		if f, err = os.Open("/proc/thread-self/ns/net"); err == nil {
			ns = &namespace{file: f}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("make a network namespace: %w: %w", ErrNoNetwork, err)
	}
	return ns, nil
}

// path names the namespace for other processes.
func (ns *namespace) path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.file.Fd())
}

func (ns *namespace) enter() error {
	if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	return nil
}

// do runs f inside. What f dials stays inside when f has returned: a socket belongs to where it was made.
func (ns *namespace) do(f func() error) (err error) {
	onNewThread(func() {
		if err = ns.enter(); err == nil {
			err = f()
		}
	})
	return err
}

// visit runs f inside and returns outside again. The caller has locked its thread, which is of no more use when the way
// back fails.
func (ns *namespace) visit(f func() error) error {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	defer home.Close()
	if err := ns.enter(); err != nil {
		return err
	}
	err = f()
	return errors.Join(err, (&namespace{file: home}).enter())
}

// onNewThread runs f on an operating system thread that ends with it: the runtime destroys the thread of a goroutine that
// ends without unlocking it.
func onNewThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}
