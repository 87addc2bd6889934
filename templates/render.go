package templates

import (
	"context"
	"fmt"
	"io"
	"os"
)

// Render renders one file: once, or until ctx ends. A dry run is one that writes
// the file to out, checks it, and changes nothing.
func Render(ctx context.Context, cfg Config, once, dryRun bool, out io.Writer) error {
	r, err := New(cfg)
	if err != nil {
		return err
	}
	if dryRun {
		r.dry = out
	}
	if once || dryRun {
		return r.Once(ctx)
	}
	r.Run(ctx)
	return nil
}

// rehearse checks new contents and shows them.
func (r *Runner) rehearse(ctx context.Context, contents []byte) error {
	dir, err := os.MkdirTemp("", "remora-render-*")
	if err != nil {
		return &failure{state: NotWritten, err: fmt.Errorf("write a temporary file for the check: %w", err)}
	}
	defer os.RemoveAll(dir)
	tmp, err := r.temporary(dir, contents)
	if err != nil {
		return &failure{state: NotWritten, err: fmt.Errorf("write a temporary file for the check: %w", err)}
	}
	if err := r.check(ctx, tmp); err != nil {
		return err
	}
	if _, err := r.dry.Write(contents); err != nil {
		return &failure{state: NotWritten, err: err}
	}
	return nil
}
