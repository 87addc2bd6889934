package mysql

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"

	mysqldriver "github.com/go-sql-driver/mysql"
)

// answer takes apart what a server answers to the statements of a reading, straight from the wire. The driver makes a value
// of each field, a copy of each column and lets a goroutine watch over each question, which is too much where one sidecar
// reads thousands of instances a second. An answer is used again for another instance as soon as it is parsed.
type answer struct {
	buf    []byte // what came and is not taken yet begins at from
	from   int
	seq    byte // of the next packet
	took   int  // bytes of this answer
	old    bool // results end as they did before MySQL 5.7.5: with EOF packets
	tables []grid
}

// grid is one result, with room for the next one that looks like it.
type grid struct {
	names []string
	rows  result
	heads map[place]head
}

// head is what columns a result had, and their packets as they came: most of an answer is these, and they are the same again
// and again, from one server as from the next.
type head struct {
	raw   []byte
	names []string
}

// place tells heads apart: packets are numbered, and begin at another number where a result before has more rows.
type place struct {
	seq   byte
	count int
}

const (
	packetMax  = 1<<24 - 1 // a packet of this length is continued; nothing that we ask for is as long
	keptBuffer = 64 << 10  // a larger buffer is not kept
	keptRows   = 256       // nor are more rows of a result
	keptHeads  = 8         // nor the columns of more results that look different
	answerMax  = 16 << 20  // bytes of an answer; more is none to our questions

	comQuit    = 0x01
	comQuery   = 0x03
	comPing    = 0x0e
	okHeader   = 0x00
	nullField  = 0xfb
	endHeader  = 0xfe
	moreFollow = 0x0008 // among the status flags: another result follows
)

var answers = sync.Pool{New: func() any { return &answer{buf: make([]byte, 0, 8<<10)} }}

// ask sends a text that may hold several statements, as query does. What it returns is valid until free is called,
// strings excepted, which last.
//
// Over TLS the driver has the connection, and is asked.
func (s *session) ask(ctx context.Context, statements string) (results []result, free func(), err error) {
	s.heard = false
	if !s.wire.plain() {
		results, err = s.query(ctx, statements)
		return results, func() {}, err
	}
	a := s.newAnswer()
	err = s.converse(ctx, func() error {
		if err := a.send(s.wire, comQuery, statements); err != nil {
			return err
		}
		for {
			res, more, err := a.result(s.wire, len(results))
			if err != nil {
				return err
			}
			if res != nil {
				results = append(results, res)
			}
			s.heard = true
			if !more {
				return nil
			}
		}
	})
	return results, a.free, err
}

// ping asks only whether the server answers: that costs both sides a fraction of a reading.
func (s *session) ping(ctx context.Context) error {
	if !s.wire.plain() {
		return s.guard(ctx, func() error { return s.conn.(driver.Pinger).Ping(ctx) })
	}
	return s.converse(ctx, func() error {
		if _, err := s.wire.Write(hail); err != nil {
			return err
		}
		return s.answered()
	})
}

// converse sends and reads what do does within ctx. The connection is of no use after it unless the server answered: what is
// left of an answer must not be taken for that to the next question.
func (s *session) converse(ctx context.Context, do func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = s.wire.Close() })
	err := s.guard(ctx, func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return do()
	})
	stop()
	if err != nil && Number(err) == 0 {
		s.abandon()
	}
	return err
}

// newAnswer is one to be free'd after use.
func (s *session) newAnswer() *answer {
	a := answers.Get().(*answer)
	a.buf, a.from, a.seq, a.took, a.old = a.buf[:0], 0, 1, 0, s.wire.endsWithEOF()
	return a
}

func (a *answer) free() {
	if a.small() {
		answers.Put(a)
	}
}

// small says that it may be kept for the next question: what it holds is of the size of an usual answer.
func (a *answer) small() bool {
	return cap(a.buf) <= keptBuffer && !slices.ContainsFunc(a.tables, func(t grid) bool { return len(t.rows) > keptRows })
}

func (a *answer) send(w io.Writer, command byte, text string) error {
	n := len(text) + 1
	a.buf = append(a.buf, byte(n), byte(n>>8), byte(n>>16), 0, command)
	a.buf = append(a.buf, text...)
	_, err := w.Write(a.buf)
	a.buf = a.buf[:0]
	return err
}

// result reads the answer to one statement; it is nil for a statement without a result. More says that another follows.
func (a *answer) result(r io.Reader, n int) (res result, more bool, err error) {
	p, err := a.packet(r)
	if err != nil {
		return nil, false, err
	}
	if p[0] == okHeader {
		more, err = a.ending(p)
		return nil, more, err
	}
	count, _, ok := length(p)
	if !ok || count == 0 || count > 1<<12 {
		return nil, false, fmt.Errorf("%w: a result of %d columns", errGarbled, count)
	}
	for len(a.tables) <= n {
		a.tables = append(a.tables, grid{rows: result{}})
	}
	t := &a.tables[n]
	if err := a.columns(r, t, int(count)); err != nil {
		return nil, false, err
	}
	for used := 0; ; used++ {
		p, err := a.packet(r)
		switch {
		case err != nil:
			return nil, false, err
		case p[0] == endHeader:
			more, err = a.ending(p)
			return t.rows[:used:used], more, err
		case used == rowLimit:
			return nil, false, fmt.Errorf("%w: more than %d rows in an answer", errGarbled, rowLimit)
		}
		if err := t.fill(used, p); err != nil {
			return nil, false, err
		}
	}
}

// columns takes the names of the columns. Packets that are those of a result before are not taken apart.
func (a *answer) columns(r io.Reader, t *grid, count int) error {
	at := place{a.seq, count}
	if known, ok := t.heads[at]; ok && bytes.HasPrefix(a.buf[a.from:], known.raw) {
		t.names = known.names
		a.from, a.seq, a.took = a.from+len(known.raw), a.seq+byte(count), a.took+len(known.raw)-4*count
	} else if err := a.newColumns(r, t, at); err != nil {
		return err
	}
	if !a.old {
		return nil
	}
	_, err := a.packet(r)
	return err
}

func (a *answer) newColumns(r io.Reader, t *grid, at place) error {
	h := head{names: make([]string, at.count)}
	for i := range h.names {
		p, err := a.packet(r)
		if err != nil {
			return err
		}
		h.raw = append(append(h.raw, byte(len(p)), byte(len(p)>>8), byte(len(p)>>16), a.seq-1), p...)
		for range 4 { // catalog, schema, table and its other name
			var ok bool
			if _, _, p, ok = field(p); !ok {
				return fmt.Errorf("%w: a column without a name", errGarbled)
			}
		}
		name, _, _, ok := field(p)
		if !ok {
			return fmt.Errorf("%w: a column without a name", errGarbled)
		}
		h.names[i] = string(name)
	}
	t.names = h.names
	if len(h.raw) > keptBuffer {
		return nil
	}
	if t.heads == nil || len(t.heads) == keptHeads {
		t.heads = map[place]head{}
	}
	t.heads[at] = h
	return nil
}

// fill makes row n of a packet. All its values are parts of one string, so what is kept of them is cloned: see reading.own.
func (t *grid) fill(n int, p []byte) error {
	if n == len(t.rows) {
		t.rows = append(t.rows, make(row, len(t.names)))
	}
	line := t.rows[n]
	clear(line)
	rest := string(p)
	for _, name := range t.names {
		value, null, after, ok := field(rest)
		if !ok {
			return fmt.Errorf("%w: a row that ends before %s", errGarbled, name)
		}
		if !null {
			line[name] = value
		}
		rest = after
	}
	return nil
}

// ending says whether another result follows the packet that ends one.
func (a *answer) ending(p []byte) (more bool, err error) {
	at := p[1:]
	if p[0] == endHeader && a.old {
		if len(at) >= 2 {
			at = at[2:] // warnings
		}
	} else {
		for range 2 { // affected rows, last id
			var ok bool
			if _, at, ok = length(at); !ok {
				break
			}
		}
	}
	if len(at) < 2 {
		return false, fmt.Errorf("%w: a result that ends without a status", errGarbled)
	}
	return binary.LittleEndian.Uint16(at)&moreFollow != 0, nil
}

// packet is the next packet, valid until the one after it. An error of the server's is an error.
func (a *answer) packet(r io.Reader) ([]byte, error) {
	for {
		have := a.buf[a.from:]
		if len(have) >= 4 {
			size := int(have[0]) | int(have[1])<<8 | int(have[2])<<16
			if size == 0 || size == packetMax || have[3] != a.seq {
				return nil, fmt.Errorf("%w: a packet of %d bytes, number %d in place of %d", errGarbled, size, have[3], a.seq)
			}
			if a.took+size > answerMax {
				return nil, fmt.Errorf("%w: more than %d bytes in an answer", errGarbled, answerMax)
			}
			if len(have) >= 4+size {
				a.took += size
				a.from += 4 + size
				a.seq++
				return have[4 : 4+size], refusalOf(have[4 : 4+size])
			}
		}
		a.buf, a.from = append(a.buf[:0], have...), 0
		if len(a.buf) == cap(a.buf) {
			a.buf = append(a.buf, 0)[:len(a.buf)]
		}
		n, err := r.Read(a.buf[len(a.buf):cap(a.buf)])
		if err != nil {
			return nil, err
		}
		a.buf = a.buf[:len(a.buf)+n]
	}
}

// refusalOf is the error that a packet tells of, nil when it is another one.
func refusalOf(p []byte) error {
	if p[0] != errorPacket {
		return nil
	}
	if len(p) < 3 {
		return fmt.Errorf("%w: an error without a number", errGarbled)
	}
	e := &mysqldriver.MySQLError{Number: binary.LittleEndian.Uint16(p[1:])}
	p = p[3:]
	if len(p) >= 6 && p[0] == '#' {
		copy(e.SQLState[:], p[1:6])
		p = p[6:]
	}
	e.Message = string(p)
	return e
}

// field takes a value off the beginning of p.
func field[T string | []byte](p T) (value T, null bool, rest T, ok bool) {
	if len(p) > 0 && p[0] == nullField {
		return value, true, p[1:], true
	}
	n, rest, ok := length(p)
	if !ok || n > uint64(len(rest)) {
		return value, false, rest, false
	}
	return rest[:n], false, rest[n:], true
}

// length takes a number off the beginning of p, in the protocol's encoding by one to nine bytes.
func length[T string | []byte](p T) (n uint64, rest T, ok bool) {
	if len(p) == 0 {
		return 0, rest, false
	}
	size := 0
	switch p[0] {
	case 0xfc:
		size = 2
	case 0xfd:
		size = 3
	case 0xfe:
		size = 8
	case nullField, errorPacket:
		return 0, rest, false
	default:
		return uint64(p[0]), p[1:], true
	}
	if len(p) < 1+size {
		return 0, rest, false
	}
	for i := range size {
		n |= uint64(p[1+i]) << (8 * i)
	}
	return n, p[1+size:], true
}
