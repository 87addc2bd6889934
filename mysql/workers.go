package mysql

import (
	"context"

	"github.com/remora-ha/remora/topology"
)

// errWorkerBefore is what a parallel worker of MySQL ends with when one before it has
// failed. The server shows the error that came last, so this one may hide the one
// that says what the matter is.
const errWorkerBefore = 3030

// unhide puts the error of the worker that failed first in place of
// errWorkerBefore; it takes a round trip more, where there is such a one. Without the
// privilege, or with no answer, what the server says at first sight stays.
func (s *session) unhide(ctx context.Context, r *reading) {
	for i := range r.channels {
		c := &r.channels[i]
		if c.SQL != topology.ThreadNo || c.SQLErrno != errWorkerBefore {
			continue
		}
		query, ok := s.dialect.firstFailure(c.Channel)
		if !ok {
			continue
		}
		results, err := s.query(ctx, query)
		if err != nil || len(results) != 1 || len(results[0]) == 0 {
			continue
		}
		first := results[0].first()
		c.SQLErrno, c.SQLError = first.integer("number"), first["message"]
		r.state.Sources[i].SQLErrno, r.state.Sources[i].SQLError = c.SQLErrno, c.SQLError
	}
}
