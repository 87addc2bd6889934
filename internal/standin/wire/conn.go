// Package wire speaks as much of the MySQL client/server protocol as a proxy needs: frames, the two sides of the
// handshake, and the packets that a server writes of its own accord.
//
// It promises that what it relays arrives byte for byte. It does not offer TLS, compression, LOCAL INFILE or
// CLIENT_DEPRECATE_EOF: both sides of the proxy negotiate them away, so that a result can be passed on unparsed.
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
)

const (
	maxFrame   = 1<<24 - 1
	bufferSize = 16 << 10
	// maxPacket bounds a joined command, as mysql-max_allowed_packet does.
	maxPacket = 64 << 20
)

// ErrPacketTooLarge is returned for a command beyond the allowed size.
var ErrPacketTooLarge = errors.New("packet too large")

// Conn frames packets over a network connection. It is not safe for concurrent use, save for Close.
type Conn struct {
	net.Conn
	// Seq is the number of the next frame to be written.
	Seq byte

	r *bufio.Reader
	w *bufio.Writer
	// size is that of each buffer.
	size int
	// peeked counts the bytes of the frame handed out last, which the next read discards.
	peeked int
	large  []byte
}

// NewConn wraps a connection.
func NewConn(c net.Conn) *Conn { return NewConnSize(c, bufferSize) }

// NewConnSize wraps a connection with buffers of a size, for whoever has thousands of them.
func NewConnSize(c net.Conn, size int) *Conn {
	return &Conn{Conn: c, size: size, r: bufio.NewReaderSize(c, size), w: bufio.NewWriterSize(c, size)}
}

// ReadFrame returns the payload of one frame; it is valid until the next read. A payload of the greatest length is
// continued by the next frame.
func (c *Conn) ReadFrame() ([]byte, error) {
	if c.peeked > 0 {
		if _, err := c.r.Discard(c.peeked); err != nil {
			return nil, err
		}
		c.peeked = 0
	}
	header, err := c.r.Peek(4)
	if err != nil {
		return nil, err
	}
	n := int(header[0]) | int(header[1])<<8 | int(header[2])<<16
	c.Seq = header[3] + 1
	if n+4 <= c.size {
		frame, err := c.r.Peek(n + 4)
		if err != nil {
			return nil, unexpected(err)
		}
		c.peeked = n + 4
		return frame[4:], nil
	}
	if _, err := c.r.Discard(4); err != nil {
		return nil, err
	}
	if cap(c.large) < n {
		c.large = make([]byte, n)
	}
	if _, err := io.ReadFull(c.r, c.large[:n]); err != nil {
		return nil, unexpected(err)
	}
	return c.large[:n], nil
}

// ReadPacket joins the frames of one packet; the result is valid until the next read.
func (c *Conn) ReadPacket() ([]byte, error) {
	frame, err := c.ReadFrame()
	if err != nil || len(frame) < maxFrame {
		return frame, err
	}
	packet := append([]byte(nil), frame...)
	for len(frame) == maxFrame {
		if frame, err = c.ReadFrame(); err != nil {
			return nil, err
		}
		if packet = append(packet, frame...); len(packet) > maxPacket {
			return nil, ErrPacketTooLarge
		}
	}
	return packet, nil
}

// WriteFrame buffers one frame.
func (c *Conn) WriteFrame(payload []byte) error {
	var header [4]byte
	binary.LittleEndian.PutUint32(header[:], uint32(len(payload)))
	header[3] = c.Seq
	c.Seq++
	if _, err := c.w.Write(header[:]); err != nil {
		return err
	}
	_, err := c.w.Write(payload)
	return err
}

// WritePacket buffers a packet, split into frames where it must be.
func (c *Conn) WritePacket(payload []byte) error {
	for len(payload) >= maxFrame {
		if err := c.WriteFrame(payload[:maxFrame]); err != nil {
			return err
		}
		payload = payload[maxFrame:]
	}
	return c.WriteFrame(payload)
}

// Flush sends what is buffered.
func (c *Conn) Flush() error { return c.w.Flush() }

// Command sends a command and resets the sequence, as every command does.
func (c *Conn) Command(payload []byte) error {
	c.Seq = 0
	if err := c.WritePacket(payload); err != nil {
		return err
	}
	return c.Flush()
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
