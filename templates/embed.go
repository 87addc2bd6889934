package templates

import (
	"embed"
	"fmt"
	"os"
	"path"
	"strings"
)

// Embedded is what the name of a shipped template begins with as a source.
const Embedded = "embedded:"

// The shipped templates, as sources.
const (
	HAProxy  = Embedded + "haproxy.cfg.ctmpl"
	ProxySQL = Embedded + "proxysql.cnf.ctmpl"
)

//go:embed haproxy.cfg.ctmpl proxysql.cnf.ctmpl
var shipped embed.FS

// Load reads a template: a shipped one, or a file.
func Load(source string) (string, error) {
	name, ok := strings.CutPrefix(source, Embedded)
	if !ok {
		b, err := os.ReadFile(source)
		if err != nil {
			return "", fmt.Errorf("read the template: %w", err)
		}
		return string(b), nil
	}
	b, err := shipped.ReadFile(path.Clean(name))
	if err != nil {
		return "", fmt.Errorf("no template %q is shipped; there are %s and %s", source, HAProxy, ProxySQL)
	}
	return string(b), nil
}
