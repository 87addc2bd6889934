package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// LoadConfig reads and checks a configuration file. Every error names the file,
// the line, the key and what is allowed; all are reported at once, save that
// values are only judged when every key and type is right.
func LoadConfig(file string) (Config, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	return ParseConfig(file, raw)
}

// ParseConfig is LoadConfig for text; file is only named in errors.
func ParseConfig(file string, raw []byte) (Config, error) {
	doc, err := parseYAML(file, raw)
	if err != nil {
		return Config{}, err
	}
	wrong := &complaints{file: file}
	wrong.check(doc, reflect.TypeFor[Config](), "")
	if err := wrong.err(); err != nil {
		return Config{}, err
	}
	cfg := DefaultConfig()
	if err := decode(doc, &cfg); err != nil {
		return Config{}, fmt.Errorf("%s: %w", file, err)
	}
	cfg.validate(func(path, format string, args ...any) {
		wrong.add(lineOf(doc, path), "%s: %s", path, fmt.Sprintf(format, args...))
	})
	if err := wrong.err(); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// parseYAML reads the one document of a file.
func parseYAML(file string, raw []byte) (*yaml.Node, error) {
	var doc, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s: the file is empty; config.yaml in the documentation is a commented example", file)
	case err != nil:
		return nil, syntaxError(file, err)
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		return nil, fmt.Errorf("%s:%d: a second document begins here (after ---); only one is read, so keep one", file, second.Line)
	case !errors.Is(err, io.EOF):
		return nil, syntaxError(file, err)
	}
	return &doc, nil
}

var (
	yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)
	// yamlGrammar are the errors whose line yaml.v3 counts from 0, not from 1.
	yamlGrammar = regexp.MustCompile(`did not find expected (node content|key|'|,|<)`)
)

// syntaxError puts the line where every other error has it.
func syntaxError(file string, err error) error {
	text := err.Error()
	if strings.HasPrefix(text, "yaml: unknown anchor") {
		// The parser quotes the name, which may be a secret where it does not belong.
		return fmt.Errorf("%s: not YAML: a value begins with * and names no anchor; put a text that begins so in quotes", file)
	}
	line := 1 // the parser names no first line
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		if yamlGrammar.MatchString(text) {
			line++
		}
		text = text[len(m[0]):]
	}
	return fmt.Errorf("%s:%d: not YAML: %s", file, line, strings.TrimPrefix(text, "yaml: "))
}

// decode fills cfg twice: first all but the clusters, whose policies begin as
// copies of the common policy, then the clusters on top of those copies.
func decode(doc *yaml.Node, cfg *Config) error {
	if err := doc.Decode(cfg); err != nil {
		return err
	}
	var names struct {
		Clusters map[string]yaml.Node `yaml:"clusters"`
	}
	if err := doc.Decode(&names); err != nil {
		return err
	}
	for name, n := range names.Clusters {
		c := ClusterConfig{Policy: cfg.Policy}
		c.Policy.Servers = nil
		if err := n.Decode(&c); err != nil {
			return err
		}
		// The cluster's rules come after the common ones, so they win value by value.
		c.Policy.Servers = slices.Concat(cfg.Policy.Servers, c.Policy.Servers)
		cfg.Clusters[name] = c
	}
	return nil
}
