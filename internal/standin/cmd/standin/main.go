// Command standin runs a stand-in for ProxySQL.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/remora-ha/remora/internal/standin"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "standin:", err)
		os.Exit(1)
	}
}

func run() error {
	var c standin.Config
	var verbose bool
	flag.StringVar(&c.Admin, "admin", "127.0.0.1:6032", "address of the admin interface")
	flag.StringVar(&c.Listen, "listen", "127.0.0.1:6033", "address for clients")
	flag.StringVar(&c.Data, "data", "", "folder of the disk layer (required)")
	flag.StringVar(&c.AdminCredentials, "admin-credentials", "", "user:password;… of the admin interface (default admin:admin)")
	flag.BoolVar(&c.NoStart, "no-start", false, "serve clients only after PROXYSQL START")
	flag.BoolVar(&verbose, "verbose", false, "log at debug level")
	flag.Parse()
	if c.Data == "" {
		return fmt.Errorf("--data is required")
	}
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	c.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	s, err := standin.Start(c)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	select {
	case <-ctx.Done():
	case <-s.Done():
	}
	return s.Close()
}
