package templates

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
)

// tap takes what consul-template writes to the process's standard logger: all that
// it does goes there, at DEBUG its whole configuration with the token. That level
// is dropped, the others become slog's debug level, for what matters is in Status.
// Lines of other packages pass.
var tap logTap

type logTap struct {
	mu      sync.Mutex
	logger  *slog.Logger
	secrets map[string]bool
	before  io.Writer // where the standard logger wrote
}

var levelPrefix = regexp.MustCompile(`(?s)^.*?\[(TRACE|DEBUG|INFO|WARN|ERR|ERROR)\] (.*)$`)

// install makes the standard logger write here, unless it does already. The last
// logger wins.
func (t *logTap) install(logger *slog.Logger, secret string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.secrets == nil {
		t.secrets = map[string]bool{}
	}
	if secret != "" {
		t.secrets[secret] = true
	}
	t.logger = logger
	if w := log.Writer(); w != t {
		t.before = w
		log.SetOutput(t)
	}
}

// Write takes one line of the standard logger.
func (t *logTap) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := string(p)
	for secret := range t.secrets {
		text = redact(text, secret)
	}
	m := levelPrefix.FindStringSubmatch(text)
	switch {
	case m == nil:
		if _, err := io.WriteString(t.before, text); err != nil {
			return 0, err
		}
	case m[1] == "TRACE" || m[1] == "DEBUG":
	case standardHandler(t.logger):
		// It would write to the standard logger again, whose lock is held.
		_, _ = io.WriteString(os.Stderr, text)
	default:
		t.logger.Log(context.Background(), slog.LevelDebug, "consul-template: "+strings.TrimSpace(m[2]))
	}
	return len(p), nil
}

func standardHandler(l *slog.Logger) bool {
	return fmt.Sprintf("%T", l.Handler()) == "*slog.defaultHandler"
}
