package sidecar

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/remora-ha/remora/topology"
)

// complaints are what is wrong with a configuration file, by line.
type complaints struct {
	file string
	list []complaint
}

type complaint struct {
	line int
	text string
}

func (c *complaints) add(line int, format string, args ...any) {
	c.list = append(c.list, complaint{line, fmt.Sprintf("%s:%d: ", c.file, line) + fmt.Sprintf(format, args...)})
}

// err is nil where nothing is wrong, else one line for each complaint in the
// order of the file.
func (c *complaints) err() error {
	slices.SortStableFunc(c.list, func(a, b complaint) int { return a.line - b.line })
	var errs []error
	for _, one := range c.list {
		errs = append(errs, errors.New(one.text))
	}
	return errors.Join(errs...)
}

// check walks a YAML document beside the Go type that it will be decoded into.
// It reports every key that the type does not have and every value that does not
// fit, with its line and what is allowed there: yaml.v3 itself names neither the
// key nor, of a text that a type refuses, the line. A key without a value keeps
// its default.
func (c *complaints) check(n *yaml.Node, t reflect.Type, at string) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	kind := t.Kind()
	switch {
	case n.Kind == yaml.DocumentNode && len(n.Content) > 0:
		c.check(n.Content[0], t, at)
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
	case t == reflect.TypeFor[Secret]():
		c.checkSecret(n, t, at)
	case n.Kind == yaml.SequenceNode && kind == reflect.Slice:
		for i, item := range n.Content {
			c.check(item, t.Elem(), fmt.Sprintf("%s[%d]", at, i))
		}
	case n.Kind == yaml.MappingNode && (kind == reflect.Struct || kind == reflect.Map):
		c.checkMapping(n, t, at)
	case n.Kind == yaml.ScalarNode && kind != reflect.Struct && kind != reflect.Map && kind != reflect.Slice:
		c.checkScalar(n, t, at)
	default:
		given := map[yaml.Kind]string{yaml.MappingNode: "keys are", yaml.SequenceNode: "a list is", yaml.ScalarNode: "a single value is"}
		c.add(n.Line, "%s: %s given, want %s", orTop(at), given[n.Kind], wanted(t))
	}
}

func (c *complaints) checkMapping(n *yaml.Node, t reflect.Type, at string) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		path := strings.TrimPrefix(at+"."+key.Value, ".")
		if first, twice := seen[key.Value]; twice {
			c.add(key.Line, "%s is given twice, first in line %d", path, first)
		}
		seen[key.Value] = key.Line
		if t.Kind() == reflect.Map {
			c.check(value, t.Elem(), path)
			continue
		}
		field, allowed := yamlField(t, key.Value)
		if field == nil {
			c.add(key.Line, "%s is not a key of Remora's configuration; allowed here: %s", path, strings.Join(allowed, ", "))
			continue
		}
		c.check(value, field, path)
	}
}

// checkSecret never shows what it finds in the place of a secret: it may be one.
func (c *complaints) checkSecret(n *yaml.Node, t reflect.Type, at string) {
	ok := n.Kind == yaml.MappingNode
	for i := 0; ok && i+1 < len(n.Content); i += 2 {
		field, _ := yamlField(t, n.Content[i].Value)
		ok = field != nil && n.Content[i+1].Kind == yaml.ScalarNode
	}
	if !ok {
		c.add(n.Line, "%s: a secret is never in this file; want %s", at, wanted(t))
		return
	}
	c.checkMapping(n, t, at)
}

func (c *complaints) checkScalar(n *yaml.Node, t reflect.Type, at string) {
	v := reflect.New(t)
	err := n.Decode(v.Interface())
	_, text := v.Interface().(encoding.TextUnmarshaler)
	if err == nil && t.Kind() == reflect.Int && !text && n.ShortTag() != "!!int" {
		err = errors.New("yaml.v3 would cut its fraction off")
	}
	if err == nil && t.Kind() == reflect.Float64 && (math.IsNaN(v.Elem().Float()) || math.IsInf(v.Elem().Float(), 0)) {
		err = errors.New("not finite")
	}
	if err == nil {
		return
	}
	if text {
		c.add(n.Line, "%s: %v", at, err) // it quotes the text and says what is allowed
		return
	}
	c.add(n.Line, "%s: %q is not %s", at, n.Value, wanted(t))
}

// wanted says what a value of the type looks like.
func wanted(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Secret]():
		return "{file: PATH} or {env: NAME}"
	case reflect.TypeFor[topology.Duration]():
		return "a duration such as 250ms, 10s or 5m"
	case reflect.TypeFor[topology.Addr]():
		return "host:port"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "a text"
	case reflect.Slice:
		return "a list"
	case reflect.Map:
		return "names with what belongs to each"
	default:
		_, allowed := yamlField(t, "")
		return "keys of " + strings.Join(allowed, ", ")
	}
}

func orTop(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

// yamlField finds the type of a struct's key, and all keys.
func yamlField(t reflect.Type, key string) (found reflect.Type, allowed []string) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		allowed = append(allowed, name)
		if name == key {
			found = f.Type
		}
	}
	slices.Sort(allowed)
	return found, allowed
}

// lineOf finds the line of a key path such as "clusters.main.policy.lag.max" or
// "nodes[1].name", or of the nearest parent that is there.
func lineOf(n *yaml.Node, path string) int {
	line := n.Line
	for {
		switch {
		case n.Kind == yaml.AliasNode:
			n = n.Alias
			continue
		case n.Kind == yaml.DocumentNode && len(n.Content) > 0:
			n = n.Content[0]
			line = n.Line
			continue
		}
		next, rest := stepInto(n, path)
		if next == nil {
			return line
		}
		line, path = next.Line, rest
		if n.Kind == yaml.MappingNode { // next is the key: its value follows
			next = n.Content[slices.Index(n.Content, next)+1]
		}
		n = next
	}
}

// stepInto finds the first part of a path in a node: the key of a mapping or the
// item of a list; nil where there is none.
func stepInto(n *yaml.Node, path string) (next *yaml.Node, rest string) {
	switch {
	case path == "":
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			rest, ok := strings.CutPrefix(path, n.Content[i].Value)
			if ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
				return n.Content[i], strings.TrimPrefix(rest, ".")
			}
		}
	case n.Kind == yaml.SequenceNode:
		index, rest, _ := strings.Cut(strings.TrimPrefix(path, "["), "]")
		if i, err := strconv.Atoi(index); err == nil && i < len(n.Content) {
			return n.Content[i], strings.TrimPrefix(rest, ".")
		}
	}
	return nil, ""
}
