// Command remora is the sidecar and everything that an operator does with it:
// `remora run` is the process beside a ProxySQL, the other commands ask a
// running one over HTTP, or work on files alone.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(newApp().run(ctx, os.Args[1:]))
}
