package mysql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/remora-ha/remora/topology"
)

// packet frames a payload of the protocol.
func packet(seq byte, payload string) []byte {
	n := len(payload)
	return append([]byte{byte(n), byte(n >> 8), byte(n >> 16), seq}, payload...)
}

// goodGreeting is that of a MariaDB server that takes any password.
func goodGreeting() []byte {
	return packet(0, "\x0a5.5.5-10.11.6-MariaDB\x00"+"\x07\x00\x00\x00"+"12345678\x00"+"\x00\xa2"+"\x21"+"\x02\x00"+
		"\x0f\x80"+"\x15"+strings.Repeat("\x00", 10)+"123456789012\x00"+"mysql_native_password\x00")
}

const okPacket = "\x00\x00\x00\x02\x00\x00\x00"

// logIn plays a server until the first query has arrived.
func logIn(c net.Conn) {
	buf := make([]byte, 4096)
	_, _ = c.Write(goodGreeting())
	_, _ = c.Read(buf)
	_, _ = c.Write(packet(2, okPacket))
	_, _ = c.Read(buf)
}

// fakeServer serves each connection by a function, and ends them all with the test.
func fakeServer(t *testing.T, serve func(c net.Conn, end <-chan struct{})) topology.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c, end)
			}()
		}
	}()
	t.Cleanup(func() {
		close(end)
		_ = l.Close()
		<-done
	})
	return topology.MustParseAddr(l.Addr().String())
}

// drip writes a byte now and then.
func drip(c net.Conn, end <-chan struct{}, b []byte, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := range b {
		select {
		case <-end:
			return
		case <-tick.C:
		}
		if _, err := c.Write(b[i : i+1]); err != nil {
			return
		}
	}
	<-end
}

func TestWhatAnswersDecidesTheReach(t *testing.T) {
	const limit = 250 * time.Millisecond
	for _, c := range []struct {
		name  string
		serve func(c net.Conn, end <-chan struct{})
		want  topology.Reach
		soon  bool // long before the deadline
		says  string
	}{
		{"accepts and never answers", func(c net.Conn, end <-chan struct{}) { <-end }, topology.TimedOut, false, "no answer within"},
		{"hangs up at once", func(net.Conn, <-chan struct{}) {}, topology.Refused, true, "closed the connection"},
		{"resets the connection", func(c net.Conn, _ <-chan struct{}) {
			_ = c.(*net.TCPConn).SetLinger(0)
		}, topology.Refused, true, ""},
		{"speaks HTTP", func(c net.Conn, end <-chan struct{}) {
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			<-end
		}, topology.Garbled, true, "not a MySQL or MariaDB server"},
		{"speaks SSH", func(c net.Conn, end <-chan struct{}) {
			_, _ = c.Write([]byte("SSH-2.0-OpenSSH_9.2p1\r\n"))
			<-end
		}, topology.Garbled, true, ""},
		{"greets with a packet that ends too soon", func(c net.Conn, end <-chan struct{}) {
			_, _ = c.Write(packet(0, "\x0a8.0.36\x00\x01\x02\x03\x04ab"))
			<-end
		}, topology.Garbled, true, ""},
		{"greets without an end of its version", func(c net.Conn, end <-chan struct{}) {
			_, _ = c.Write(packet(0, "\x0a"+strings.Repeat("8", 9000)))
			<-end
		}, topology.Garbled, true, ""},
		{"has no room", func(c net.Conn, end <-chan struct{}) {
			_, _ = c.Write(packet(0, "\xff\x10\x04#08004Too many connections"))
			<-end
		}, topology.Denied, true, "Too many connections"},
		{"blocks our host", func(c net.Conn, end <-chan struct{}) {
			_, _ = c.Write(packet(1, "\xff\x69\x04Host is blocked"))
			<-end
		}, topology.Denied, true, "blocked"},
		{"greets a byte at a time", func(c net.Conn, end <-chan struct{}) {
			drip(c, end, goodGreeting(), 40*time.Millisecond)
		}, topology.TimedOut, false, ""},
		{"greets and then is silent", func(c net.Conn, end <-chan struct{}) {
			_, _ = c.Write(goodGreeting())
			<-end
		}, topology.TimedOut, false, ""},
		{"greets and hangs up", func(c net.Conn, _ <-chan struct{}) { _, _ = c.Write(goodGreeting()) }, topology.Refused, true, ""},
		{"lets us in and then is silent", func(c net.Conn, end <-chan struct{}) { logIn(c); <-end }, topology.TimedOut, false, ""},
		{"lets us in and answers nonsense", func(c net.Conn, end <-chan struct{}) {
			logIn(c)
			_, _ = c.Write(packet(77, "\x01\x02\x03"))
			<-end
		}, topology.Garbled, true, ""},
		{"answers a part of the reading", func(c net.Conn, end <-chan struct{}) {
			logIn(c)
			_, _ = c.Write(packet(1, "\x01"))
			_, _ = c.Write(packet(2, "\x03def\x00\x00\x00\x01a\x00\x0c\x21\x00\x01\x00\x00\x00\xfd\x00\x00\x00\x00\x00"))
			_, _ = c.Write(packet(3, "\xfe\x00\x00\x0a\x00")) // more results follow
			_, _ = c.Write(packet(4, "\x011"))
			_, _ = c.Write(packet(5, "\xfe\x00\x00\x0a\x00"))
			<-end
		}, topology.Garbled, false, "a part of the reading"},
		{"answers without end", func(c net.Conn, end <-chan struct{}) {
			logIn(c)
			_, _ = c.Write(packet(1, "\x01"))
			_, _ = c.Write(packet(2, "\x03def\x00\x00\x00\x01a\x00\x0c\x21\x00\x01\x00\x00\x00\xfd\x00\x00\x00\x00\x00"))
			_, _ = c.Write(packet(3, "\xfe\x00\x00\x02\x00"))
			var rows []byte // until the number of the first comes again
			for n := range 256 {
				rows = append(rows, packet(byte(4+n), "\x011")...)
			}
			for {
				if _, err := c.Write(rows); err != nil {
					return
				}
			}
		}, topology.Garbled, false, "more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _ := prober(t, fakeServer(t, c.serve), testConfig())
			start := time.Now()
			v := probeWithin(t, p, limit)
			if v.Reach != c.want || !strings.Contains(v.Error, c.says) {
				t.Errorf("%s: %s; want %s", v.Reach, v.Error, c.want)
			}
			if took := time.Since(start); c.soon && took > limit/2 {
				t.Errorf("it took %v", took)
			}
			if alive := c.want == topology.Denied || c.want == topology.Garbled; alive != (v.Failures == 0) {
				t.Errorf("failures: %d", v.Failures)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	a := topology.MustParseAddr(l.Addr().String())
	must(t, l.Close())
	p, broke := prober(t, a, testConfig())
	for i := 1; i < 4; i++ {
		if v := probeWithin(t, p, time.Second); v.Reach != topology.Refused || v.Failures != i || v.State != nil {
			t.Errorf("%s, failures %d: %s", v.Reach, v.Failures, v.Error)
		}
	}
	if len(broke) != 0 {
		t.Error("a connection that never was is reported as broken")
	}
}

func TestAProbeThatIsCancelledLearnsNothing(t *testing.T) {
	p, _ := prober(t, fakeServer(t, func(_ net.Conn, end <-chan struct{}) { <-end }), testConfig())
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	if v := p.Probe(ctx); v.Reach != topology.Unknown || v.Failures != 0 {
		t.Errorf("%s, failures %d: %s", v.Reach, v.Failures, v.Error)
	}
}

func TestABrokenConfigurationIsOurOwnTrouble(t *testing.T) {
	cfg := testConfig()
	cfg.TLS = TLS{Mode: TLSVerify, CA: "/nonexistent.pem"}
	p, _ := prober(t, "127.0.0.1:1", cfg)
	if v := probeWithin(t, p, time.Second); v.Reach != topology.Unknown || !strings.Contains(v.Error, "/nonexistent.pem") {
		t.Errorf("%s: %s", v.Reach, v.Error)
	}
	if err := cfg.Check(); err == nil {
		t.Error("Check finds nothing wrong")
	}
}

func TestReachOfAnError(t *testing.T) {
	dial := func(n syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", n)}
	}
	for _, c := range []struct {
		err  error
		want topology.Reach
	}{
		{nil, topology.Answered},
		{dial(syscall.ECONNREFUSED), topology.Refused},
		{dial(syscall.ECONNRESET), topology.Refused},
		{errHungUp, topology.Refused},
		{dial(syscall.EHOSTUNREACH), topology.TimedOut},
		{dial(syscall.ENETUNREACH), topology.TimedOut},
		{dial(syscall.ETIMEDOUT), topology.TimedOut},
		{context.DeadlineExceeded, topology.TimedOut},
		{&net.DNSError{Err: "no such host", Name: "db1", IsNotFound: true}, topology.TimedOut},
		{context.Canceled, topology.Unknown},
		{dial(syscall.EMFILE), topology.Unknown},
		{dial(syscall.EADDRNOTAVAIL), topology.Unknown},
		{&mysqldriver.MySQLError{Number: 1040}, topology.Denied},
		{&mysqldriver.MySQLError{Number: 1045}, topology.Denied},
		{&mysqldriver.MySQLError{Number: 1129}, topology.Denied},
		{&mysqldriver.MySQLError{Number: 1203}, topology.Denied},
		{&mysqldriver.MySQLError{Number: 1226}, topology.Denied},
		{&mysqldriver.MySQLError{Number: 1820}, topology.Denied}, // the password has expired
		{&mysqldriver.MySQLError{Number: 3032}, topology.Denied}, // offline_mode
		{&mysqldriver.MySQLError{Number: 3159}, topology.Denied}, // require_secure_transport
		{&mysqldriver.MySQLError{Number: 1047}, topology.Denied}, // WSREP has not yet prepared node for application use
		{&mysqldriver.MySQLError{Number: 1064}, topology.Garbled},
		{mysqldriver.ErrNoTLS, topology.Denied},
		{mysqldriver.ErrMalformPkt, topology.Garbled},
		{fmt.Errorf("%w: %w", errStalled, context.DeadlineExceeded), topology.Garbled},
		{errors.New("something else"), topology.Garbled},
	} {
		if got := reachOf(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}
