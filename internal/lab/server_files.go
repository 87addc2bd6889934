package lab

import (
	"context"
	"fmt"
	"io"
	"os"
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

// Binlogs gives each of the server's binary logs to read, oldest first, under its name. The server may be running, or not: what
// a crash or a full disk cut short, or what is just being written, ends in the middle of an event.
func (s *Server) Binlogs(read func(name string, log io.Reader) error) error {
	files, err := s.binlogFiles()
	if err != nil {
		return fmt.Errorf("read the binary logs of %s: %w", s.Name, err)
	}
	for _, file := range files {
		if err := s.binlog(file, read); err != nil {
			return fmt.Errorf("read the binary log %s of %s: %w", filepath.Base(file), s.Name, err)
		}
	}
	return nil
}

func (s *Server) binlog(file string, read func(name string, log io.Reader) error) error {
	var log *os.File
	var err error
	s.lab.spawner.run(func() { log, err = os.Open(file) }) // it sees the server's disk
	if err != nil {
		return err
	}
	defer log.Close()
	return read(filepath.Base(file), log)
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
