package endpoints

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// version is what the endpoints call themselves.
const version = "8.4.6"

// bufferSize holds the statements of a reading in one piece.
const bufferSize = 4 << 10

// listen takes connections to any address of the loopback interface, and from there alone.
func listen() (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failure error
		err := c.Control(func(fd uintptr) { failure = syscall.BindToDevice(int(fd), "lo") })
		return errors.Join(err, failure)
	}}
	return config.Listen(context.Background(), "tcp4", "0.0.0.0:0")
}

// accept serves each connection by the instance that it was made to. Those of an instance that is down are reset.
func (f *Fleet) accept() {
	for {
		conn, err := f.listener.Accept()
		if errors.Is(err, syscall.EMFILE) { // whoever connects waits until another has left
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil {
			return
		}
		in := f.instances[conn.LocalAddr().String()]
		if in == nil || !in.admit(conn) {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
			continue
		}
		f.busy.Go(func() {
			in.serve(conn)
			in.leave(conn)
		})
	}
}

func (in *Instance) admit(conn net.Conn) bool {
	in.fleet.mu.Lock()
	defer in.fleet.mu.Unlock()
	if in.down {
		return false
	}
	in.conns[conn] = struct{}{}
	return true
}

func (in *Instance) leave(conn net.Conn) {
	_ = conn.Close()
	in.fleet.mu.Lock()
	defer in.fleet.mu.Unlock()
	delete(in.conns, conn)
}

// serve answers one client until it leaves. Whoever logs in is let in.
func (in *Instance) serve(conn net.Conn) {
	c := wire.NewConnSize(conn, bufferSize)
	if _, err := c.Accept(version, in.fleet.nextID()); err != nil {
		return
	}
	if c.WriteOK(wire.OK{Status: wire.StatusAutocommit}) != nil || c.Flush() != nil {
		return
	}
	count := &in.fleet.count
	count.logins.Add(1)
	var a wire.Answer
	for {
		p, err := c.ReadPacket()
		if err != nil || len(p) == 0 || p[0] == wire.ComQuit {
			return
		}
		count.in.Add(int64(len(p)) + 4)
		a.Reset()
		switch p[0] {
		case wire.ComQuery:
			in.query(p[1:], &a)
		case wire.ComPing:
			count.pings.Add(1)
			a.OK(false)
		default:
			a.Err(&wire.Error{Code: 1047, State: "08S01", Message: "Unknown command"})
		}
		count.out.Add(int64(len(a.Bytes())))
		if _, err := conn.Write(a.Bytes()); err != nil {
			return
		}
	}
}

func (f *Fleet) nextID() uint32 { return uint32(f.count.logins.Load())&0x7fffffff + 1 }
