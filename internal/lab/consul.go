package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ConsulOptions describe a Consul agent. The zero value but for a name is one like `consul agent -dev`: a server and
// client at once, which keeps everything in memory, so that it has an empty store after a new start.
type ConsulOptions struct {
	// Name is unique in the lab.
	Name string
	// Binary is the program, as ConsulBinary gives it.
	Binary string
	// Datacenter is dc1 when empty.
	Datacenter string
	// Persistent keeps the store on disk.
	Persistent bool
	// ACL turns access control on, denying by default; Consul.Token may do everything.
	ACL bool
}

// Consul is a Consul agent. The methods of Process end, freeze and start it.
type Consul struct {
	*Process
	// Addr is the "127.0.0.1:port" of the HTTP API.
	Addr string
	// Token is that of the management, empty without ACL.
	Token string
}

// ErrNoConsul tells that there is no Consul, and that none could be built.
var ErrNoConsul = errors.New("no Consul")

// ConsulBinary gives the path of a Consul: the one that CONSUL_BIN names, else the one on PATH, else the one of
// tools/consul, which is built once into the user's cache; that takes minutes, and progress is told on w. The working
// directory has to lie in the module, unless Consul is on PATH.
func ConsulBinary(ctx context.Context, w io.Writer) (string, error) {
	if path := os.Getenv("CONSUL_BIN"); path != "" {
		return path, nil
	}
	if path, err := exec.LookPath("consul"); err == nil {
		return path, nil
	}
	root, err := moduleRoot()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoConsul, err)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts", "consul"))
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, io.MultiWriter(&said, w)
	// The compiler ends with the script.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: build it: %w\n%s", ErrNoConsul, errors.Join(err, context.Cause(ctx)), said.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// moduleRoot is the directory of the module that the working directory lies in.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("the working directory lies in no module")
		}
		dir = filepath.Dir(dir)
	}
}

// ConsulForTest gives the path of a Consul. Where none can be had the test is skipped, and says why; with
// REMORA_LAB=required in the environment it fails instead.
func ConsulForTest(t TB) string {
	t.Helper()
	path, err := ConsulBinary(context.Background(), os.Stderr)
	switch {
	case err == nil:
		return path
	case os.Getenv("REMORA_LAB") == "required":
		t.Fatalf("NOT RUN: %v", err)
	default:
		t.Skipf("NOT RUN: %v", err)
	}
	return ""
}

// Consul starts an agent and waits until its store can be written.
func (l *Lab) Consul(ctx context.Context, opts ConsulOptions) (*Consul, error) {
	ctx, leave, err := l.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	defer leave()
	c, err := l.newConsul(opts)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	return c, c.Start(ctx)
}

func (l *Lab) newConsul(opts ConsulOptions) (*Consul, error) {
	dir, err := l.subdir(opts.Name)
	if err != nil {
		return nil, err
	}
	c := &Consul{}
	ports := map[string]int{"dns": -1, "grpc": -1, "grpc_tls": -1, "serf_wan": -1}
	for _, name := range []string{"http", "serf_lan", "server"} {
		if ports[name], err = l.Port(); err != nil {
			return nil, err
		}
	}
	c.Addr = loopback(ports["http"])
	config := map[string]any{
		"node_name": opts.Name, "datacenter": orDefault(opts.Datacenter, "dc1"), "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1", "ports": ports,
		"log_level": "warn", "disable_update_check": true, "disable_remote_exec": true, "connect": map[string]any{"enabled": false},
	}
	if opts.ACL {
		b := make([]byte, 16)
		_, _ = rand.Read(b)                                                             // never fails
		c.Token = fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]) // Consul demands a UUID
		config["acl"] = map[string]any{
			"enabled": true, "default_policy": "deny", "tokens": map[string]string{"initial_management": c.Token, "agent": c.Token},
		}
	}
	file := filepath.Join(dir, "consul.json")
	run := ProcessOptions{Name: opts.Name, Path: opts.Binary, Args: []string{"agent", "-config-file", file}, Ready: c.ready, dir: dir}
	if opts.Persistent {
		config["data_dir"], config["server"], config["bootstrap_expect"] = filepath.Join(dir, "data"), true, 1
		config["performance"] = map[string]int{"raft_multiplier": 1}
	} else {
		run.Args = append(run.Args, "-dev")
	}
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	c.Process, err = l.newProcess(run)
	return c, err
}

// ready tries a write that changes nothing: there is a leader, and the token counts.
func (c *Consul) ready(ctx context.Context) (bool, string) {
	status, text, err := c.Call(ctx, http.MethodDelete, "/v1/kv/lab/ready", "")
	if err != nil {
		return false, err.Error()
	}
	return status == http.StatusOK, text
}

// Call speaks to the HTTP API with the management's token, for what a test does by hand. It bounds itself.
func (c *Consul) Call(ctx context.Context, method, path, body string) (status int, answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.Addr+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("X-Consul-Token", c.Token)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}
