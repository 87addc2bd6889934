package consensus

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

var (
	// ErrNotLeader says that only the leader can do this, and this node is not it.
	// Nothing was done. The error is a [*NotLeaderError].
	ErrNotLeader = errors.New("not the leader")
	// ErrAmbiguous says that a command may have been, or may yet be, applied: the
	// leadership went or the time ran out. Send it again with the same id.
	ErrAmbiguous = errors.New("outcome unknown")
	// ErrClosed says that the node is closed.
	ErrClosed = errors.New("node is closed")
	// ErrDirInUse says that another process holds the node's directory.
	ErrDirInUse = errors.New("directory is in use by another process")
	// ErrForeignDir says that the directory holds something that this node did not
	// write. It is left as it is.
	ErrForeignDir = errors.New("directory is not this node's")
	// ErrDamagedDir says that the log in the directory cannot be read.
	ErrDamagedDir = errors.New("log is damaged")
	// ErrHalted says that this node met an entry or a snapshot that it does not
	// understand and applies nothing any more, for its state would differ from the
	// others'. The log is kept; a version that understands it goes on from there.
	ErrHalted = errors.New("node has halted")
)

// NotLeaderError is an [ErrNotLeader] that names the leader.
type NotLeaderError struct {
	Leader string // empty when unknown
}

func (e *NotLeaderError) Error() string {
	if e.Leader == "" {
		return "not the leader, and none is known"
	}
	return fmt.Sprintf("not the leader, %s is", e.Leader)
}

// Is makes it an [ErrNotLeader].
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader }

// notStarted says whether raft certainly did nothing.
func notStarted(err error) bool {
	return errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipTransferInProgress)
}
