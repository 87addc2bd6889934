package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Class tells the errors of a client apart.
type Class string

const (
	// ConnectFailed: no connection could be made.
	ConnectFailed Class = "connect failed"
	// ConnectionLost: the connection broke while a write was under way.
	ConnectionLost Class = "connection lost"
	// ServerError: an error came as the answer; the connection goes on.
	ServerError Class = "SQL error"
	// TimedOut: no answer came in time.
	TimedOut Class = "timeout"
	// Doubled: the row was there already, so the one statement that wrote it was executed twice. That is a ServerError
	// by nature, kept apart as it means that the write happened.
	Doubled Class = "executed twice"
)

// Failure is an error that a client saw.
type Failure struct {
	At     time.Time
	Writer int
	// Seq is the row that was being written; 0 when connecting.
	Seq   int64
	Class Class
	Err   error
}

func (f Failure) String() string {
	if f.Seq == 0 {
		return fmt.Sprintf("writer %d, %s: %v", f.Writer, f.Class, f.Err)
	}
	return fmt.Sprintf("writer %d, row %d, %s: %v", f.Writer, f.Seq, f.Class, f.Err)
}

// duplicateKey is the server's number for a row that is there already.
const duplicateKey = 1062

func classify(err error) Class {
	var answer *mysql.MySQLError
	var network net.Error
	switch {
	case errors.As(err, &answer) && answer.Number == duplicateKey:
		return Doubled
	case errors.As(err, &answer):
		return ServerError
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &network) && network.Timeout():
		return TimedOut
	default:
		return ConnectionLost
	}
}
