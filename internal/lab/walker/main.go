// Command walker is a sidecar that can be told to end itself with SIGKILL in the
// middle of a recovery, for the tests that interrupt every step of one. It is the
// real sidecar; only what it is connected to is counted.
//
//	walker run --config FILE
//
// REMORA_WALK names a file with an order, "after 3" or "during 3": the leader that
// begins the next recovery takes the file away and ends itself right after the
// third step, or while the third is under way. With "before 3" it stops itself with
// SIGSTOP instead, when all is ready for the third step, and takes it when it is
// woken. A step may also be named, "after commit route". What the leader did is
// written to the file's name with ".steps" added, a line each: "stopped" and "awake"
// where it was, and "end" where the recovery had no such step.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/remora-ha/remora/sidecar"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "walker:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 || args[0] != "run" || args[1] != "--config" {
		return fmt.Errorf("usage: walker run --config FILE, not %q", args)
	}
	cfg, err := sidecar.LoadConfig(args[2])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	w := &walk{order: os.Getenv("REMORA_WALK")}
	return sidecar.Serve(ctx, cfg, cfg.Log.Logger(os.Stderr), "walker", w.watch)
}
