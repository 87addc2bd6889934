package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// SidecarOptions describe a sidecar.
type SidecarOptions struct {
	// Name is unique in the lab.
	Name string
	// Binary is the program; BuildTool makes one.
	Binary string
	// Config is the text of its configuration file. It is written into the sidecar's folder, and ConfigFile finds it.
	Config string
	// Args run it; empty for "run --config FILE". The file's path follows them when they are given.
	Args []string
	// Env is added to the caller's environment.
	Env []string
	// Host is where it runs; nil for the machine itself.
	Host *Host
	// Disk is the size in bytes of a disk of its own, mounted as the folder "data" in the sidecar's folder, which can be
	// filled; 0 for none. It needs root.
	Disk int64
	// Ready tells whether a started sidecar serves; nil for as soon as it is started.
	Ready func(ctx context.Context) (done bool, state string)
}

// configFile is the name of a sidecar's configuration in its folder.
const configFile = "remora.yaml"

// Sidecar writes a sidecar's configuration, starts it and waits until it is ready.
func (l *Lab) Sidecar(ctx context.Context, opts SidecarOptions) (*Process, error) {
	ctx, leave, err := l.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	defer leave()
	dir, err := l.subdir(opts.Name)
	if err != nil {
		return nil, err
	}
	p := ProcessOptions{Name: opts.Name, Path: opts.Binary, Env: opts.Env, Ready: opts.Ready, Host: opts.Host, dir: dir}
	if opts.Disk > 0 {
		if p.disk, err = l.disk(filepath.Join(dir, "data"), opts.Disk); err != nil {
			return nil, fmt.Errorf("start %s: %w", opts.Name, err)
		}
	}
	file := filepath.Join(dir, configFile)
	if err := os.WriteFile(file, []byte(opts.Config), 0o600); err != nil {
		return nil, fmt.Errorf("start %s: write its configuration: %w", opts.Name, err)
	}
	p.Args = append(append([]string(nil), opts.Args...), file)
	if len(opts.Args) == 0 {
		p.Args = []string{"run", "--config", file}
	}
	return l.Process(ctx, p)
}

// Disk is the one that a sidecar was given; nil without.
func (p *Process) Disk() *Disk { return p.opts.disk }

// ConfigFile is where Lab.Sidecar wrote the configuration of a sidecar; what is changed there counts at its next start.
func (p *Process) ConfigFile() string { return filepath.Join(p.dir, configFile) }
