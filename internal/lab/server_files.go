package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Reset gives a server that has ended a fresh data directory, as if it had never been started; Start starts it.
func (s *Server) Reset(ctx context.Context) error {
	ctx, leave, err := s.lab.enter(ctx)
	if err != nil {
		return fmt.Errorf("reset %s: %w", s.Name, err)
	}
	defer leave()
	if s.Running() {
		return fmt.Errorf("reset %s: it runs", s.Name)
	}
	if s.Disk != nil {
		err = s.Disk.clear()
	} else {
		err = os.RemoveAll(s.data)
	}
	if err == nil {
		err = s.lab.copyTemplate(ctx, s.engine, s.program, s.data)
	}
	if err != nil {
		return fmt.Errorf("reset %s: %w", s.Name, err)
	}
	return nil
}

// Binlogs reads all that a MariaDB server has in its binary logs, as mariadb-binlog prints it with rows decoded, line by line. The
// server may be running, or not. An event that a crash or a full disk cut short ends its file and is left out.
func (s *Server) Binlogs(ctx context.Context, line func(string)) error {
	program, err := find("mariadb-binlog")
	if err != nil {
		return fmt.Errorf("read the binary logs of %s: %w", s.Name, err)
	}
	files, err := s.binlogFiles()
	if err != nil {
		return fmt.Errorf("read the binary logs of %s: %w", s.Name, err)
	}
	for _, file := range files {
		if err := s.binlog(ctx, program, file, line); err != nil {
			return fmt.Errorf("read the binary log %s of %s: %w", filepath.Base(file), s.Name, err)
		}
	}
	return nil
}

func (s *Server) binlog(ctx context.Context, program, file string, line func(string)) error {
	// The number of a transaction that was cut short is used again, which is not strict.
	cmd := exec.CommandContext(ctx, program, "--no-defaults", "--base64-output=DECODE-ROWS", "--verbose", "--skip-annotate-row-events",
		"--skip-gtid-strict-mode", file)
	cmd.Dir = s.dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	s.lab.spawner.run(func() { err = cmd.Start() }) // it sees the server's disk
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		line(lines.Text())
	}
	_, _ = io.Copy(io.Discard, out)
	ended := cmd.Wait()
	if strings.Contains(stderr.String(), "Event truncated") {
		ended = nil
	}
	if err := errors.Join(lines.Err(), ended); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// binlogFiles are the server's binary logs, oldest first.
func (s *Server) binlogFiles() (files []string, err error) {
	var index []byte
	s.lab.spawner.run(func() { index, err = os.ReadFile(filepath.Join(s.data, "binlog.index")) })
	for name := range strings.Lines(string(index)) {
		files = append(files, filepath.Join(s.data, strings.TrimSpace(name)))
	}
	return files, err
}
