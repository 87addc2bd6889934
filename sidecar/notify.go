package sidecar

import (
	"net"
	"os"
	"time"
)

// notifyTimeout bounds telling systemd, which may hang itself.
const notifyTimeout = 20 * time.Millisecond

// notify tells systemd how this process is, such as "READY=1", where a unit of
// Type=notify started it; elsewhere it does nothing. See sd_notify(3).
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(notifyTimeout)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(state))
	return err
}
