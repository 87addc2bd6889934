package wire

import (
	"encoding/binary"
	"strconv"
)

// Columns are the columns of a result, written out once for all answers that have them.
type Columns struct{ packets [][]byte }

// NewColumns makes text columns.
func NewColumns(names ...string) Columns {
	var c Columns
	for _, name := range names {
		c.packets = append(c.packets, textColumn(name))
	}
	return c
}

// Answer collects the packets that answer one command, to be sent in one write. Its memory is used again after Reset.
type Answer struct {
	b     []byte
	seq   byte
	start int // of the packet that is being written
}

// Reset begins an answer to the command that was read last.
func (a *Answer) Reset() { a.b, a.seq = a.b[:0], 1 }

// Bytes is what was collected.
func (a *Answer) Bytes() []byte { return a.b }

// OK adds an OK packet; more says that another answer follows it.
func (a *Answer) OK(more bool) {
	a.begin()
	a.b = append(a.b, headerOK, 0, 0)
	a.b = binary.LittleEndian.AppendUint16(a.b, status(more))
	a.b = append(a.b, 0, 0)
	a.end()
}

// Err adds an error packet, which ends an answer.
func (a *Answer) Err(e *Error) {
	a.begin()
	a.b = append(a.b, headerErr)
	a.b = binary.LittleEndian.AppendUint16(a.b, e.Code)
	a.b = append(append(a.b, '#'), e.State...)
	a.b = append(a.b, e.Message...)
	a.end()
}

// Columns begins a result; rows follow, and EndRows.
func (a *Answer) Columns(c Columns) {
	a.begin()
	a.b = appendLenenc(a.b, uint64(len(c.packets)))
	a.end()
	for _, p := range c.packets {
		a.begin()
		a.b = append(a.b, p...)
		a.end()
	}
	a.eof(false)
}

// Row begins a row; as many values follow as there are columns, and EndRow.
func (a *Answer) Row() { a.begin() }

// Text adds a value.
func (a *Answer) Text(s string) { a.b = appendLenencString(a.b, s) }

// Number adds a value.
func (a *Answer) Number(n int64) {
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	a.b = append(appendLenenc(a.b, uint64(len(text))), text...)
}

// Null adds a NULL.
func (a *Answer) Null() { a.b = append(a.b, headerLocal) }

// EndRow ends a row.
func (a *Answer) EndRow() { a.end() }

// EndRows ends a result; more says that another answer follows it.
func (a *Answer) EndRows(more bool) { a.eof(more) }

func (a *Answer) eof(more bool) {
	a.begin()
	a.b = append(a.b, headerEOF, 0, 0)
	a.b = binary.LittleEndian.AppendUint16(a.b, status(more))
	a.end()
}

func status(more bool) uint16 {
	if more {
		return StatusAutocommit | StatusMoreResults
	}
	return StatusAutocommit
}

func (a *Answer) begin() {
	a.start = len(a.b)
	a.b = append(a.b, 0, 0, 0, a.seq)
	a.seq++
}

func (a *Answer) end() {
	n := len(a.b) - a.start - 4
	a.b[a.start], a.b[a.start+1], a.b[a.start+2] = byte(n), byte(n>>8), byte(n>>16)
}
