package endpoints

import (
	"net"
	"time"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// version is what the endpoints call themselves.
const version = "8.4.6"

// bufferSize holds the statements of a reading in one piece.
const bufferSize = 4 << 10

// listen begins to serve; the lock is held, or nobody knows the instance yet.
func (f *Fleet) listen(in *Instance, l net.Listener) {
	in.listener, in.down, in.born = l, false, time.Now()
	f.busy.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if !in.admit(conn) {
				_ = conn.Close()
				return
			}
			f.busy.Go(func() {
				in.serve(conn)
				in.leave(conn)
			})
		}
	})
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
