package sidecar

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// checkKeys walks a YAML document beside the Go type that it will be decoded
// into and reports every key that the type does not have, with its line and what
// is allowed there: yaml.v3's own strictness names neither.
func checkKeys(file string, n *yaml.Node, t reflect.Type, at string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case n.Kind == yaml.DocumentNode && len(n.Content) > 0:
		return checkKeys(file, n.Content[0], t, at)
	case n.Kind == yaml.SequenceNode && t.Kind() == reflect.Slice:
		var errs []error
		for i, item := range n.Content {
			errs = append(errs, checkKeys(file, item, t.Elem(), fmt.Sprintf("%s[%d]", at, i)))
		}
		return errors.Join(errs...)
	case n.Kind == yaml.MappingNode && (t.Kind() == reflect.Struct || t.Kind() == reflect.Map):
		return checkMapping(file, n, t, at)
	}
	return nil
}

func checkMapping(file string, n *yaml.Node, t reflect.Type, at string) error {
	var errs []error
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		path := strings.TrimPrefix(at+"."+key.Value, ".")
		if first, twice := seen[key.Value]; twice {
			errs = append(errs, fmt.Errorf("%s:%d: %s is given twice, first in line %d", file, key.Line, path, first))
		}
		seen[key.Value] = key.Line
		if t.Kind() == reflect.Map {
			errs = append(errs, checkKeys(file, value, t.Elem(), path))
			continue
		}
		field, allowed := yamlField(t, key.Value)
		if field == nil {
			errs = append(errs, fmt.Errorf("%s:%d: %s is not a key of Remora's configuration; allowed here: %s",
				file, key.Line, path, strings.Join(allowed, ", ")))
			continue
		}
		errs = append(errs, checkKeys(file, value, field, path))
	}
	return errors.Join(errs...)
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

// lineOf finds the line of a key path such as "clusters.main.policy.lag.max",
// or of the nearest parent that is there.
func lineOf(n *yaml.Node, path string) int {
	for n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	line := n.Line
	for path != "" && n.Kind == yaml.MappingNode {
		next := -1
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if rest, ok := strings.CutPrefix(path, key); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
				next, line, path = i+1, n.Content[i].Line, strings.TrimPrefix(rest, ".")
				break
			}
		}
		if next < 0 {
			return line
		}
		n = n.Content[next]
	}
	return line
}
