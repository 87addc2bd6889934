package templates

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What Switch fails with; test with errors.Is.
var (
	// ErrSocket: the socket refused, broke off or did not answer in time.
	ErrSocket = errors.New("HAProxy's socket did not answer")
	// ErrNoBackend: HAProxy runs without the cluster's writer backend; a reload
	// with a newer file is what helps.
	ErrNoBackend = errors.New("HAProxy has no writer backend for the cluster")
	// ErrNotSwitched: all commands were answered, but HAProxy does not show what
	// was wanted.
	ErrNotSwitched = errors.New("HAProxy was not switched")
)

const (
	answerLimit  = 16 << 20 // of one answer, in bytes
	quoteLimit   = 300      // of what an error repeats of it, in characters
	retirePasses = 20       // over the sessions of an old worker, of which some may be about to begin
)

// The bits of srv_admin_state that keep traffic from a server: maintenance by
// command, by tracking, by name resolution.
const maintenance = 0x01 | 0x02 | 0x20 | 0x40

var clusterName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// Switch makes HAProxy send a cluster's writes to writer, host:port, and nowhere
// when that is empty. The socket is that of HAProxy's master, or of its stats.
//
// The server is put into maintenance and its sessions are shut down before it gets
// the new address, so nobody goes on writing to the old one. Behind a master's
// socket this holds for the workers from before a reload too. Where all is as
// wanted already nothing is done, and sessions live on. It is bounded by ctx.
func Switch(ctx context.Context, socket, cluster, writer string) error {
	if !clusterName.MatchString(cluster) {
		return fmt.Errorf("switch HAProxy: %q cannot be the name of a cluster", cluster)
	}
	s := &haproxy{socket: socket, server: cluster + "_writer/writer", backend: cluster + "_writer"}
	if err := s.aim(ctx, writer); err != nil {
		return fmt.Errorf("switch HAProxy: writer %q of cluster %s: %w", writer, cluster, err)
	}
	workers, old, err := s.workers(ctx)
	if err != nil {
		return fmt.Errorf("switch HAProxy: %w", err)
	}
	var errs []error
	for _, w := range workers {
		errs = append(errs, s.steer(ctx, w))
	}
	for _, w := range old {
		errs = append(errs, s.retire(ctx, w))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("switch HAProxy: cluster %s to %s: %w", cluster, orDefault(writer, "no writer"), err)
	}
	return nil
}

// haproxy is one switch.
type haproxy struct {
	socket, backend, server string
	ip, port                string // of the writer; empty: nobody
}

// server as `show servers state` gives it.
type serverState struct {
	ip, port string
	up       bool
}

// aim finds the writer's IP address: the socket takes no names.
func (s *haproxy) aim(ctx context.Context, writer string) error {
	if writer == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(writer)
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port %q", port)
	}
	if net.ParseIP(host) == nil {
		addrs, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			return err
		}
		host = addrs[0]
	}
	s.ip, s.port = net.ParseIP(host).String(), port
	return nil
}

// workers lists the prefixes of commands: those of the workers that listen, and of
// those that are left from before a reload.
func (s *haproxy) workers(ctx context.Context) (now, old []string, err error) {
	answer, err := s.ask(ctx, "show proc")
	if err != nil {
		return nil, nil, err
	}
	if !strings.HasPrefix(answer, "#<PID>") {
		return []string{""}, nil, nil // a stats socket: one worker
	}
	section := ""
	for line := range strings.Lines(answer) {
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "# "):
			section = strings.TrimSpace(line)
		case len(fields) < 2 || fields[1] != "worker":
		case section == "# workers":
			now = append(now, "@!"+fields[0]+" ")
		case section == "# old workers":
			old = append(old, "@!"+fields[0]+" ")
		}
	}
	if len(now) == 0 {
		return nil, nil, fmt.Errorf("%w: its master has no worker", ErrNoBackend)
	}
	return now, old, nil
}

// generation tells the workers that listen from those before a reload.
func (s *haproxy) generation(ctx context.Context) (string, error) {
	now, _, err := s.workers(ctx)
	if err != nil || now[0] != "" {
		return strings.Join(now, ""), err
	}
	answer, err := s.ask(ctx, "show info")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(answer) {
		if pid, ok := strings.CutPrefix(line, "Pid: "); ok {
			return strings.TrimSpace(pid), nil
		}
	}
	return "", fmt.Errorf("%w: no process id in %q", ErrSocket, clip(answer, quoteLimit))
}

// steer brings a worker to the writer.
func (s *haproxy) steer(ctx context.Context, worker string) error {
	have, err := s.state(ctx, worker)
	if err != nil {
		return err
	}
	if s.ip == "" && !have.up || s.at(have) && have.up {
		return nil
	}
	said, err := s.close(ctx, worker)
	if err != nil {
		return err
	}
	if s.ip != "" {
		more, err := s.tell(ctx, worker, fmt.Sprintf("set server %s addr %s port %s", s.server, s.ip, s.port), "set server "+s.server+" state ready")
		if err != nil {
			return err
		}
		said += more
	}
	have, err = s.state(ctx, worker)
	switch {
	case err != nil:
		return err
	case s.ip == "" && have.up, s.ip != "" && (!have.up || !s.at(have)):
		return fmt.Errorf("%w: it is at %s (taking traffic: %t); it said %q", ErrNotSwitched, net.JoinHostPort(have.ip, have.port), have.up, clip(said, quoteLimit))
	}
	return nil
}

// retire ends the sessions that an old worker still has to another writer.
func (s *haproxy) retire(ctx context.Context, worker string) error {
	have, err := s.state(ctx, worker)
	if err != nil {
		// It may have ended meanwhile, or have been made from a file without the cluster.
		if _, old, werr := s.workers(ctx); werr == nil && !slices.Contains(old, worker) || errors.Is(err, ErrNoBackend) {
			return nil
		}
		return err
	}
	if s.at(have) {
		return nil
	}
	// It takes no command for its servers any more ("Proxy is disabled"), but for
	// each session.
	for range retirePasses {
		answer, err := s.ask(ctx, worker+"show sess")
		if err != nil {
			return err
		}
		ids := s.sessions(answer)
		if len(ids) == 0 {
			return nil
		}
		for _, id := range ids {
			if _, err := s.ask(ctx, worker+"shutdown session "+id); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("%w: sessions to %s stay in a worker from before a reload", ErrNotSwitched, net.JoinHostPort(have.ip, have.port))
}

// sessions are the ids of those to the cluster's writer in what `show sess` says.
func (s *haproxy) sessions(answer string) []string {
	var ids []string
	for line := range strings.Lines(answer) {
		id, rest, ok := strings.Cut(line, ": ")
		if fields := strings.Fields(rest); ok && slices.Contains(fields, "be="+s.backend) && slices.Contains(fields, "srv=writer") {
			ids = append(ids, id)
		}
	}
	return ids
}

func (s *haproxy) at(have serverState) bool {
	return s.ip != "" && have.ip == s.ip && have.port == s.port
}

// close keeps traffic from the server and ends its sessions, also where its file
// has no on-marked-down shutdown-sessions.
func (s *haproxy) close(ctx context.Context, worker string) (string, error) {
	return s.tell(ctx, worker, "set server "+s.server+" state maint", "shutdown sessions server "+s.server)
}

// state reads the cluster's server.
func (s *haproxy) state(ctx context.Context, worker string) (serverState, error) {
	answer, err := s.ask(ctx, worker+"show servers state "+s.backend)
	if err != nil {
		return serverState{}, err
	}
	var names []string
	for line := range strings.Lines(answer) {
		fields := strings.Fields(line)
		if len(fields) > 0 && fields[0] == "#" {
			names = fields[1:]
			continue
		}
		row := map[string]string{}
		for i := range min(len(names), len(fields)) {
			row[names[i]] = fields[i]
		}
		if row["be_name"] != s.backend || row["srv_name"] != "writer" {
			continue
		}
		admin, err := strconv.ParseUint(row["srv_admin_state"], 10, 16)
		if err != nil {
			return serverState{}, fmt.Errorf("%w: state %q", ErrSocket, row["srv_admin_state"])
		}
		return serverState{ip: row["srv_addr"], port: row["srv_port"], up: admin&maintenance == 0}, nil
	}
	return serverState{}, fmt.Errorf("%w: it said %q", ErrNoBackend, clip(answer, quoteLimit))
}

// tell sends commands whose answers are only for people.
func (s *haproxy) tell(ctx context.Context, worker string, commands ...string) (said string, err error) {
	for _, c := range commands {
		answer, err := s.ask(ctx, worker+c)
		if err != nil {
			return said, err
		}
		said += strings.TrimSpace(answer)
	}
	return said, nil
}

// ask sends one command over a connection of its own.
func (s *haproxy) ask(ctx context.Context, line string) (string, error) {
	fail := func(err error) (string, error) {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return "", fmt.Errorf("%w: %s, %q: %w", ErrSocket, s.socket, line, err)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", s.socket)
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return fail(err)
	}
	// A master's socket keeps the connection until it sees the end of the commands.
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		return fail(err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, answerLimit))
	if err != nil {
		return fail(err)
	}
	return string(answer), nil
}

// clip cuts a text to at most n characters.
func clip(s string, n int) string {
	s = strings.TrimSpace(s)
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}
