package main

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/remora-ha/remora/failover"
)

// readCase reads a snapshot document strictly. Every error names the file and
// the field; all are reported at once. A document of another version is said to
// be that, whatever else is in it.
func readCase(file string, raw []byte) (*failover.Case, error) {
	var head struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, fmt.Errorf("%s: %w", where(file, raw, err), err)
	}
	switch {
	case head.Version == nil:
		return nil, fmt.Errorf("%s: no field \"version\": this is not what `remora snapshot` writes", file)
	case *head.Version != failover.CaseVersion:
		return nil, fmt.Errorf("%s: the document has version %d, and this remora reads version %d\nuse the remora that wrote it, or take the snapshot anew", file, *head.Version, failover.CaseVersion)
	}
	if bad := checkFields("", raw, reflect.TypeFor[failover.Case]()); len(bad) > 0 {
		for i := range bad {
			bad[i] = fmt.Errorf("%s: %w", file, bad[i])
		}
		return nil, errors.Join(bad...)
	}
	var c failover.Case
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", where(file, raw, err), err)
	}
	return &c, nil
}

// where adds the line of a syntax error to the file's name.
func where(file string, raw []byte, err error) string {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return file
	}
	before := raw[:min(int(syntax.Offset), len(raw))]
	return fmt.Sprintf("%s:%d", file, bytes.Count(before, []byte("\n"))+1)
}

// checkFields walks a JSON value beside the Go type that it is for and names
// each field that is unknown or does not fit, which encoding/json cannot.
func checkFields(at string, raw json.RawMessage, t reflect.Type) []error {
	if string(raw) == "null" {
		return nil
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	own := reflect.PointerTo(t)
	if own.Implements(reflect.TypeFor[json.Unmarshaler]()) || own.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return checkLeaf(at, raw, t)
	}
	switch t.Kind() {
	case reflect.Struct:
		return checkStruct(at, raw, t)
	case reflect.Slice:
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			return []error{fmt.Errorf("field %s is %s; want a list", at, brief(raw))}
		}
		var bad []error
		for i, item := range items {
			bad = append(bad, checkFields(fmt.Sprintf("%s[%d]", at, i), item, t.Elem())...)
		}
		return bad
	case reflect.Map:
		return checkMembers(at, raw, func(string) (reflect.Type, string) { return t.Elem(), "" })
	default:
		return checkLeaf(at, raw, t)
	}
}

func checkLeaf(at string, raw json.RawMessage, t reflect.Type) []error {
	err := json.Unmarshal(raw, reflect.New(t).Interface())
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong):
		return []error{fmt.Errorf("field %s is %s; want %s", at, brief(raw), kindOf(t))}
	default:
		return []error{fmt.Errorf("field %s: %w", at, err)}
	}
}

func checkStruct(at string, raw json.RawMessage, t reflect.Type) []error {
	fields := jsonFields(t)
	return checkMembers(at, raw, func(key string) (reflect.Type, string) {
		if f, ok := fields[key]; ok {
			return f, ""
		}
		return nil, "is not known here; known are " + strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
	})
}

func checkMembers(at string, raw json.RawMessage, typeOf func(key string) (t reflect.Type, unknown string)) []error {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return []error{fmt.Errorf("%s is %s; want an object", orText(at, "the document"), brief(raw))}
	}
	var bad []error
	for _, key := range slices.Sorted(maps.Keys(members)) {
		path := strings.TrimPrefix(at+"."+key, ".")
		t, unknown := typeOf(key)
		if t == nil {
			bad = append(bad, fmt.Errorf("field %s %s", path, unknown))
			continue
		}
		bad = append(bad, checkFields(path, members[key], t)...)
	}
	return bad
}

// jsonFields are a struct's fields by their JSON names, those of embedded
// structs among them.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
		case name == "" && f.Anonymous:
			maps.Copy(fields, jsonFields(f.Type))
		case name == "":
			fields[f.Name] = f.Type
		default:
			fields[name] = f.Type
		}
	}
	return fields
}

// brief shows a value in an error.
func brief(raw json.RawMessage) string {
	const limit = 40
	text := []rune(strings.Join(strings.Fields(string(raw)), " "))
	if len(text) > limit {
		return string(text[:limit]) + "…"
	}
	return string(text)
}

func kindOf(t reflect.Type) string {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return "a string"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a number that is not negative"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return t.String()
	}
}
