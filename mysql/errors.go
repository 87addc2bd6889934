package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/remora-ha/remora/topology"
)

// Error is why an act failed.
type Error struct {
	Op        string        // the act
	Addr      topology.Addr // the instance
	Statement string        // what was asked of it, passwords blanked; empty when none was sent
	// Arrived says that the server answered: it refused, or what it answered was
	// not what the act is for. When it is false, nothing came back, and the
	// statement may have been carried out or not.
	Arrived bool
	Err     error
}

func (e *Error) Error() string {
	what := "did not answer"
	if e.Arrived {
		what = "refused"
	}
	if e.Statement == "" {
		return fmt.Sprintf("%s %s: %v", e.Op, e.Addr, e.Err)
	}
	return fmt.Sprintf("%s %s: the server %s [%s]: %v", e.Op, e.Addr, what, e.Statement, e.Err)
}

// Unwrap gives the driver's or the network's error.
func (e *Error) Unwrap() error { return e.Err }

// Number is the server's error number in err, 0 when it holds none.
func Number(err error) int {
	var refused *mysqldriver.MySQLError
	if errors.As(err, &refused) {
		return int(refused.Number)
	}
	return 0
}

// The server's error numbers that matter here.
const (
	erTooManyConnections   = 1040
	erDatabaseDenied       = 1044
	erAccessDenied         = 1045
	erNotReady             = 1047 // of a member of Galera that is not part of it
	erShutdown             = 1053
	erParse                = 1064
	erNoSuchThread         = 1094
	erNotOwner             = 1095
	erHostBlocked          = 1129
	erHostNotPrivileged    = 1130
	erTableDenied          = 1142
	erColumnDenied         = 1143
	erUserConnections      = 1203
	erUserLimit            = 1226
	erSpecificAccessDenied = 1227
	erAccessDeniedNoPass   = 1698
	erPasswordExpired      = 1820
	erPasswordExpiredLogIn = 1862
	erOffline              = 3032
	erAccountLocked        = 3118
	erWantsTLS             = 3159
	erTooManyPasswords     = 3955
)

// lacksPrivilege says that a statement was refused for want of a privilege, in a
// session that is fine otherwise.
func lacksPrivilege(err error) bool {
	switch Number(err) {
	case erSpecificAccessDenied, erTableDenied, erColumnDenied, erDatabaseDenied:
		return true
	}
	return false
}

// vague says that an error of the driver tells only that the connection is of no use
// any more. Others say what they met, such as a certificate, and that counts even
// where the server has hung up since.
func vague(err error) bool {
	for _, known := range []error{
		driver.ErrBadConn, mysqldriver.ErrInvalidConn, net.ErrClosed, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	var operation *net.OpError
	return errors.As(err, &operation) && !isTLS(err)
}

func isTLS(err error) bool {
	return strings.Contains(err.Error(), "tls: ") || strings.Contains(err.Error(), "x509: ")
}

// errStalled is a reading that began to arrive and stopped.
var errStalled = errors.New("the server answered a part of the reading and then nothing more")

// reachOf tells how an attempt to read an instance ended. What says nothing of the
// instance (our own files, descriptors, a caller that gave up) is Unknown.
func reachOf(err error) topology.Reach {
	var (
		refused *mysqldriver.MySQLError
		ours    *configError
		dns     *net.DNSError
		timeout net.Error
	)
	switch {
	case err == nil:
		return topology.Answered
	case errors.As(err, &ours), errors.Is(err, errClosed):
		return topology.Unknown
	case errors.As(err, &refused):
		return reachOfNumber(int(refused.Number))
	case errors.Is(err, errStalled), errors.Is(err, errGarbled):
		return topology.Garbled
	case errors.Is(err, errHungUp), isErrno(err, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED):
		return topology.Refused
	case isErrno(err, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN):
		return topology.TimedOut // a router's word, or no route: no sign of the host itself
	case isErrno(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EPERM):
		return topology.Unknown
	case errors.Is(err, context.Canceled):
		return topology.Unknown
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &dns), errors.As(err, &timeout) && timeout.Timeout():
		return topology.TimedOut
	default:
		return reachOfDriver(err)
	}
}

func reachOfNumber(n int) topology.Reach {
	switch n {
	case erTooManyConnections, erAccessDenied, erAccessDeniedNoPass, erDatabaseDenied, erHostBlocked, erHostNotPrivileged,
		erUserConnections, erUserLimit, erSpecificAccessDenied, erTableDenied, erColumnDenied, erAccountLocked, erShutdown,
		erNotReady, erPasswordExpired, erPasswordExpiredLogIn, erOffline, erWantsTLS, erTooManyPasswords:
		return topology.Denied
	}
	return topology.Garbled
}

// reachOfDriver judges the driver's own errors: a disagreement about how to log in
// is a denial, all else is no sense.
func reachOfDriver(err error) topology.Reach {
	for _, disagreement := range []error{
		mysqldriver.ErrNoTLS, mysqldriver.ErrCleartextPassword, mysqldriver.ErrNativePassword,
		mysqldriver.ErrOldPassword, mysqldriver.ErrUnknownPlugin,
	} {
		if errors.Is(err, disagreement) {
			return topology.Denied
		}
	}
	if isTLS(err) {
		return topology.Denied
	}
	return topology.Garbled
}

func isErrno(err error, numbers ...syscall.Errno) bool {
	for _, n := range numbers {
		if errors.Is(err, n) {
			return true
		}
	}
	return false
}
