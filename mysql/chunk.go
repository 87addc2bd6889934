package mysql

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// chunk is what was read from a socket and is not taken yet: it begins at from. It is got when something has come and
// given back when all is taken, so that thousands of connections on which nothing happens hold none.
type chunk struct {
	b    []byte
	from int
}

// chunkSize holds any usual answer in one piece.
const chunkSize = 16 << 10

// smallChunk is up to how many bytes are moved out of a chunk rather than to hold it.
const smallChunk = 64

var chunks = sync.Pool{New: func() any { return &chunk{b: make([]byte, 0, chunkSize)} }}

func (c *chunk) free() {
	if cap(c.b) >= chunkSize && cap(c.b) <= 4*chunkSize {
		c.b, c.from = c.b[:0], 0
		chunks.Put(c)
	}
}

// holding is a chunk of the first n bytes: a small one for a few, for the answer to a ping may wait a while to be taken, as
// thousands of them do at the same time.
func (c *chunk) holding(n int) *chunk {
	if n > smallChunk {
		c.b = c.b[:n]
		return c
	}
	few := &chunk{b: append([]byte(nil), c.b[:n]...)}
	c.free()
	return few
}

// receive waits until something has come from a socket, or until it ends, and reads it.
func receive(socket net.Conn, raw syscall.RawConn) (*chunk, error) {
	var c *chunk
	var failure error
	err := raw.Read(func(fd uintptr) (done bool) {
		got := chunks.Get().(*chunk)
		n, err := syscall.Read(int(fd), got.b[:cap(got.b)])
		for errors.Is(err, syscall.EINTR) {
			n, err = syscall.Read(int(fd), got.b[:cap(got.b)])
		}
		if err == nil && n > 0 {
			c = got.holding(n)
			return true
		}
		got.free()
		if errors.Is(err, syscall.EAGAIN) {
			return false
		}
		if failure = io.EOF; err != nil {
			failure = &net.OpError{Op: "read", Net: "tcp", Source: socket.LocalAddr(), Addr: socket.RemoteAddr(), Err: os.NewSyscallError("read", err)}
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	return c, failure
}
