package wire

import (
	"encoding/binary"
	"fmt"
)

// Commands of the protocol.
const (
	ComQuit             = 0x01
	ComInitDB           = 0x02
	ComQuery            = 0x03
	ComFieldList        = 0x04
	ComStatistics       = 0x09
	ComPing             = 0x0e
	ComChangeUser       = 0x11
	ComStmtPrepare      = 0x16
	ComStmtExecute      = 0x17
	ComStmtSendLongData = 0x18
	ComStmtClose        = 0x19
	ComStmtReset        = 0x1a
	ComSetOption        = 0x1b
	ComResetConnection  = 0x1f
)

// Status flags of a server's answer.
const (
	StatusInTrans     uint16 = 0x0001
	StatusAutocommit  uint16 = 0x0002
	StatusMoreResults uint16 = 0x0008
)

// First bytes of answers.
const (
	headerOK    = 0x00
	headerLocal = 0xfb
	headerEOF   = 0xfe
	headerErr   = 0xff
)

// Error is an error packet.
type Error struct {
	Code    uint16
	State   string
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%d (%s): %s", e.Code, e.State, e.Message) }

// OK is what an OK packet says.
type OK struct {
	AffectedRows uint64
	LastInsertID uint64
	Status       uint16
	Warnings     uint16
	Info         string
}

// IsErr reports whether p is an error packet.
func IsErr(p []byte) bool { return len(p) > 0 && p[0] == headerErr }

// IsOK reports whether the first packet of an answer is an OK packet.
func IsOK(p []byte) bool { return len(p) > 0 && p[0] == headerOK }

// IsEOF reports whether p ends a list of columns or rows.
func IsEOF(p []byte) bool { return len(p) > 0 && len(p) < 9 && p[0] == headerEOF }

// IsLocalInfile reports whether the server asks for a file.
func IsLocalInfile(p []byte) bool { return len(p) > 0 && p[0] == headerLocal }

// ParseErr reads an error packet.
func ParseErr(p []byte) *Error {
	e := &Error{State: "HY000"}
	if len(p) < 3 {
		return e
	}
	e.Code = binary.LittleEndian.Uint16(p[1:])
	p = p[3:]
	if len(p) >= 6 && p[0] == '#' {
		e.State, p = string(p[1:6]), p[6:]
	}
	e.Message = string(p)
	return e
}

// ParseOK reads an OK packet; a short one yields what it holds.
func ParseOK(p []byte) OK {
	var ok OK
	p = p[1:]
	ok.AffectedRows, p = lenenc(p)
	ok.LastInsertID, p = lenenc(p)
	if len(p) >= 4 {
		ok.Status = binary.LittleEndian.Uint16(p)
		ok.Warnings = binary.LittleEndian.Uint16(p[2:])
	}
	return ok
}

// ParseEOF reads warnings and status of an EOF packet.
func ParseEOF(p []byte) (warnings, status uint16) {
	if len(p) < 5 {
		return 0, 0
	}
	return binary.LittleEndian.Uint16(p[1:]), binary.LittleEndian.Uint16(p[3:])
}

// ColumnCount reads the first packet of a result set.
func ColumnCount(p []byte) int {
	n, _ := lenenc(p)
	return int(n)
}

// WriteOK buffers an OK packet.
func (c *Conn) WriteOK(ok OK) error {
	p := []byte{headerOK}
	p = appendLenenc(p, ok.AffectedRows)
	p = appendLenenc(p, ok.LastInsertID)
	p = binary.LittleEndian.AppendUint16(p, ok.Status)
	p = binary.LittleEndian.AppendUint16(p, ok.Warnings)
	if ok.Info != "" {
		p = appendLenencString(p, ok.Info)
	}
	return c.WriteFrame(p)
}

// WriteErr buffers an error packet.
func (c *Conn) WriteErr(e *Error) error {
	p := []byte{headerErr}
	p = binary.LittleEndian.AppendUint16(p, e.Code)
	p = append(p, '#')
	p = append(p, e.State...)
	p = append(p, e.Message...)
	return c.WritePacket(p)
}

// WriteEOF buffers an EOF packet.
func (c *Conn) WriteEOF(status uint16) error {
	p := []byte{headerEOF, 0, 0}
	return c.WriteFrame(binary.LittleEndian.AppendUint16(p, status))
}

// WriteText buffers a result set of text columns; a nil value is NULL.
func (c *Conn) WriteText(columns []string, rows [][]*string, status uint16) error {
	if err := c.WriteFrame(appendLenenc(nil, uint64(len(columns)))); err != nil {
		return err
	}
	for _, name := range columns {
		if err := c.WriteFrame(textColumn(name)); err != nil {
			return err
		}
	}
	if err := c.WriteEOF(status); err != nil {
		return err
	}
	var p []byte
	for _, row := range rows {
		p = p[:0]
		for _, v := range row {
			if v == nil {
				p = append(p, headerLocal)
				continue
			}
			p = appendLenencString(p, *v)
		}
		if err := c.WritePacket(p); err != nil {
			return err
		}
	}
	return c.WriteEOF(status)
}

func textColumn(name string) []byte {
	const varString, utf8, notNull = 253, 33, 1
	p := appendLenencString(nil, "def")
	for range 3 { // schema, table, original table
		p = append(p, 0)
	}
	p = appendLenencString(p, name)
	p = append(p, 0, 0x0c)
	p = binary.LittleEndian.AppendUint16(p, utf8)
	p = binary.LittleEndian.AppendUint32(p, 15)
	p = append(p, varString)
	p = binary.LittleEndian.AppendUint16(p, notNull)
	return append(p, 0x1f, 0, 0)
}

func lenenc(p []byte) (uint64, []byte) {
	if len(p) == 0 {
		return 0, nil
	}
	size := 0
	switch p[0] {
	case 0xfc:
		size = 2
	case 0xfd:
		size = 3
	case 0xfe:
		size = 8
	default:
		return uint64(p[0]), p[1:]
	}
	if len(p) < 1+size {
		return 0, nil
	}
	var n uint64
	for i := range size {
		n |= uint64(p[1+i]) << (8 * i)
	}
	return n, p[1+size:]
}

func appendLenenc(p []byte, n uint64) []byte {
	switch {
	case n < 251:
		return append(p, byte(n))
	case n < 1<<16:
		return append(p, 0xfc, byte(n), byte(n>>8))
	case n < 1<<24:
		return append(p, 0xfd, byte(n), byte(n>>8), byte(n>>16))
	}
	return binary.LittleEndian.AppendUint64(append(p, 0xfe), n)
}

func appendLenencString(p []byte, s string) []byte {
	return append(appendLenenc(p, uint64(len(s))), s...)
}
