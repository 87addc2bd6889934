package mysql

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/internal/gtid"
)

// inject commits an empty transaction for each of step.Until that a MySQL server does
// not have yet.
func (a *actor) inject(ctx context.Context, step failover.Step) error {
	r, err := a.read(ctx)
	switch {
	case err != nil:
		return err
	case r.state.Flavor != string(gtid.MySQL):
		return a.failed("%s cannot be given transactions behind its newest", r.state.Flavor)
	case !r.state.Writable():
		return a.failed("it takes no writes, so it is not the primary")
	}
	for _, id := range eachID(step.Until.Subtract(r.state.Executed)) {
		for _, st := range []statement{plain("SET SESSION gtid_next=%s", quote(id)), plain("BEGIN"), plain("COMMIT")} {
			if err := a.do(ctx, st); err != nil {
				return err
			}
		}
	}
	if err := a.do(ctx, plain("SET SESSION gtid_next='AUTOMATIC'")); err != nil {
		return err
	}
	if r, err = a.read(ctx); err != nil {
		return err
	}
	if !r.state.Executed.Contains(step.Until) {
		return a.failed("it took empty transactions and lacks %s", step.Until.Subtract(r.state.Executed))
	}
	return nil
}

// eachID lists the transactions of a set of MySQL's one by one.
func eachID(set gtid.Set) []string {
	var ids []string
	for source := range strings.SplitSeq(set.String(), ",") {
		uuid, rest, _ := strings.Cut(strings.TrimSpace(source), ":")
		name := uuid
		for part := range strings.SplitSeq(rest, ":") {
			first, last, isRange := strings.Cut(part, "-")
			low, err := strconv.ParseUint(first, 10, 64)
			if err != nil { // a tag: it holds for the intervals after it
				name = uuid + ":" + part
				continue
			}
			high := low
			if isRange {
				high, _ = strconv.ParseUint(last, 10, 64)
			}
			for n := low; n <= high; n++ {
				ids = append(ids, fmt.Sprintf("%s:%d", name, n))
			}
		}
	}
	return ids
}
