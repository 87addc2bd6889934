package wire

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
)

// Capability is a set of protocol capabilities.
type Capability uint32

// The capabilities that matter to a relay.
const (
	longPassword    Capability = 1 << 0
	FoundRows       Capability = 1 << 1
	longFlag        Capability = 1 << 2
	connectWithDB   Capability = 1 << 3
	ignoreSpace     Capability = 1 << 8
	protocol41      Capability = 1 << 9
	interactive     Capability = 1 << 10
	transactions    Capability = 1 << 13
	secure          Capability = 1 << 15
	multiStatements Capability = 1 << 16
	multiResults    Capability = 1 << 17
	psMultiResults  Capability = 1 << 18
	pluginAuth      Capability = 1 << 19
	connectAttrs    Capability = 1 << 20
	authLenenc      Capability = 1 << 21

	offered = longPassword | FoundRows | longFlag | connectWithDB | ignoreSpace | protocol41 | interactive | transactions |
		secure | multiStatements | multiResults | psMultiResults | pluginAuth | connectAttrs | authLenenc
	// relayed capabilities shape what the server sends, so the back end must agree on them with the client.
	relayed = FoundRows | longFlag | ignoreSpace | interactive | multiStatements | multiResults | psMultiResults
)

const nativePassword = "mysql_native_password"

// ErrProtocol says that the other side broke the protocol.
var ErrProtocol = errors.New("malformed packet")

// Login is what a client asked for when it connected.
type Login struct {
	User      string
	Schema    string
	Collation byte
	// Capabilities are those a back end must share.
	Capabilities Capability

	salt  []byte
	token []byte
}

// UsesPassword reports whether the client sent a password.
func (l *Login) UsesPassword() bool { return len(l.token) > 0 }

// Accept greets a client and reads its login; the password is checked with Login.Check.
func (c *Conn) Accept(version string, id uint32) (*Login, error) {
	salt := newSalt()
	c.Seq = 0
	if err := c.WriteFrame(greeting(version, id, salt)); err != nil {
		return nil, err
	}
	if err := c.Flush(); err != nil {
		return nil, err
	}
	p, err := c.ReadPacket()
	if err != nil {
		return nil, err
	}
	login, plugin, err := parseLogin(p)
	if err != nil {
		return nil, err
	}
	login.salt = salt
	if plugin == "" || plugin == nativePassword {
		return login, nil
	}
	request := append([]byte{headerEOF}, nativePassword...)
	request = append(append(append(request, 0), salt...), 0)
	if err := c.WriteFrame(request); err != nil {
		return nil, err
	}
	if err := c.Flush(); err != nil {
		return nil, err
	}
	if p, err = c.ReadPacket(); err != nil {
		return nil, err
	}
	login.token = append([]byte(nil), p...)
	return login, nil
}

func greeting(version string, id uint32, salt []byte) []byte {
	const utf8mb4 = 45
	p := append([]byte{10}, version...)
	p = append(p, 0)
	p = binary.LittleEndian.AppendUint32(p, id)
	p = append(p, salt[:8]...)
	p = append(p, 0)
	p = binary.LittleEndian.AppendUint16(p, uint16(offered&0xffff))
	p = append(p, utf8mb4)
	p = binary.LittleEndian.AppendUint16(p, StatusAutocommit)
	p = binary.LittleEndian.AppendUint16(p, uint16(offered>>16))
	p = append(p, byte(len(salt)+1))
	p = append(p, make([]byte, 10)...)
	p = append(append(p, salt[8:]...), 0)
	return append(append(p, nativePassword...), 0)
}

func parseLogin(p []byte) (*Login, string, error) {
	if len(p) < 33 {
		return nil, "", fmt.Errorf("login of %d bytes: %w", len(p), ErrProtocol)
	}
	caps := Capability(binary.LittleEndian.Uint32(p)) & offered
	if caps&protocol41 == 0 {
		return nil, "", fmt.Errorf("login without protocol 4.1: %w", ErrProtocol)
	}
	login := &Login{Collation: p[8], Capabilities: caps & relayed}
	p = p[32:]
	user, p, ok := cutString(p)
	if !ok {
		return nil, "", fmt.Errorf("login without a user: %w", ErrProtocol)
	}
	login.User = user
	size, rest := uint64(0), p
	if caps&(authLenenc|secure) != 0 {
		size, rest = lenenc(p)
	}
	if size > uint64(len(rest)) {
		return nil, "", fmt.Errorf("login without a token: %w", ErrProtocol)
	}
	login.token = append([]byte(nil), rest[:size]...)
	p = rest[size:]
	if caps&connectWithDB != 0 {
		login.Schema, p, _ = cutString(p)
	}
	plugin := ""
	if caps&pluginAuth != 0 {
		plugin, _, _ = cutString(p)
	}
	return login, plugin, nil
}

// cutString takes a string that ends at a zero byte, or at the end of the packet.
func cutString(p []byte) (string, []byte, bool) {
	if i := bytes.IndexByte(p, 0); i >= 0 {
		return string(p[:i]), p[i+1:], true
	}
	return string(p), nil, false
}

// newSalt avoids zero bytes, which end the salt for some clients.
func newSalt() []byte {
	salt := make([]byte, 20)
	_, _ = rand.Read(salt) // never fails
	for i := range salt {
		salt[i] = salt[i]%94 + 33
	}
	return salt
}
