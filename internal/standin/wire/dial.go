package wire

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"
)

// Target says how to log in to a server.
type Target struct {
	Address      string
	User         string
	Secret       Secret
	Collation    byte
	Capabilities Capability
	Timeout      time.Duration
}

// Dial connects and logs in. A refusal by the server is an *Error.
func Dial(ctx context.Context, t Target) (*Conn, error) {
	dialer := net.Dialer{Timeout: t.Timeout}
	nc, err := dialer.DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	c := NewConn(nc)
	if err := nc.SetDeadline(time.Now().Add(t.Timeout)); err != nil {
		return nil, closing(nc, err)
	}
	if err := c.login(t); err != nil {
		return nil, closing(nc, err)
	}
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return nil, closing(nc, err)
	}
	return c, nil
}

func closing(nc net.Conn, err error) error {
	_ = nc.Close()
	return err
}

func (c *Conn) login(t Target) error {
	p, err := c.ReadPacket()
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if IsErr(p) {
		return ParseErr(p)
	}
	server, salt, plugin, err := parseGreeting(p)
	if err != nil {
		return err
	}
	caps := (t.Capabilities&relayed | longPassword | protocol41 | transactions | secure | pluginAuth) & server
	p = binary.LittleEndian.AppendUint32(nil, uint32(caps))
	p = binary.LittleEndian.AppendUint32(p, maxPacket)
	p = append(p, t.Collation)
	p = append(p, make([]byte, 23)...)
	p = append(append(p, t.User...), 0)
	token := t.Secret.answer(plugin, salt)
	p = append(append(p, byte(len(token))), token...)
	if caps&pluginAuth != 0 {
		p = append(append(p, plugin...), 0)
	}
	if err := c.send(p); err != nil {
		return err
	}
	return c.authenticate(t.Secret, salt)
}

func (c *Conn) authenticate(secret Secret, salt []byte) error {
	const more, fastOK, full, askKey = 1, 3, 4, 2
	for {
		p, err := c.ReadPacket()
		if err != nil {
			return fmt.Errorf("authentication: %w", err)
		}
		switch {
		case IsErr(p):
			return ParseErr(p)
		case IsOK(p):
			return nil
		case len(p) > 1 && p[0] == headerEOF:
			plugin, rest, _ := cutString(p[1:])
			salt = trimSalt(rest)
			err = c.send(secret.answer(plugin, salt))
		case len(p) == 2 && p[0] == more && p[1] == fastOK:
			continue
		case len(p) == 2 && p[0] == more && p[1] == full:
			err = c.send([]byte{askKey})
		case len(p) > 2 && p[0] == more:
			var sealed []byte
			if sealed, err = secret.sealed(salt, p[1:]); err == nil {
				err = c.send(sealed)
			}
		default:
			return fmt.Errorf("authentication: %w", ErrProtocol)
		}
		if err != nil {
			return fmt.Errorf("authentication: %w", err)
		}
	}
}

func (s Secret) answer(plugin string, salt []byte) []byte {
	if plugin == "caching_sha2_password" {
		return s.cachingSHA2(salt)
	}
	return s.native(salt)
}

func (c *Conn) send(p []byte) error {
	if err := c.WritePacket(p); err != nil {
		return err
	}
	return c.Flush()
}

func parseGreeting(p []byte) (Capability, []byte, string, error) {
	if len(p) < 1 || p[0] != 10 {
		return 0, nil, "", fmt.Errorf("greeting: %w", ErrProtocol)
	}
	_, p, ok := cutString(p[1:])
	if !ok || len(p) < 31 {
		return 0, nil, "", fmt.Errorf("greeting: %w", ErrProtocol)
	}
	salt := append([]byte(nil), p[4:12]...)
	caps := Capability(binary.LittleEndian.Uint16(p[13:])) | Capability(binary.LittleEndian.Uint16(p[18:]))<<16
	size := max(13, int(p[20])-8)
	p = p[31:]
	if size > len(p) {
		return 0, nil, "", fmt.Errorf("greeting: %w", ErrProtocol)
	}
	salt = append(salt, trimSalt(p[:size])...)
	plugin, _, _ := cutString(p[size:])
	if plugin == "" {
		plugin = nativePassword
	}
	return caps, salt, plugin, nil
}

// trimSalt copies a salt without the zero byte that ends it.
func trimSalt(p []byte) []byte {
	if n := len(p); n > 0 && p[n-1] == 0 {
		p = p[:n-1]
	}
	return append([]byte(nil), p...)
}
