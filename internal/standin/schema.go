package standin

import (
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

//go:embed schema
var schemaFiles embed.FS

var createTable = regexp.MustCompile(`(?s)CREATE TABLE (\w+) \(.*?\n\);`)

// table is a CREATE TABLE statement and the name it creates.
type table struct {
	name string
	sql  string
}

// in is the statement that creates the table in another attached database, or under a prefix.
func (t table) in(database, prefix string) string {
	return strings.Replace(t.sql, "CREATE TABLE "+t.name, "CREATE TABLE IF NOT EXISTS "+database+"."+prefix+t.name, 1)
}

// tables reads one of the schema files.
func tables(file string) ([]table, error) {
	text, err := fs.ReadFile(schemaFiles, "schema/"+file)
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	found := createTable.FindAllStringSubmatch(string(text), -1)
	list := make([]table, 0, len(found))
	for _, m := range found {
		list = append(list, table{name: m[1], sql: m[0]})
	}
	return list, nil
}

// variable is a row of global_variables as a fresh ProxySQL has it. A number has bounds; numbers without are not judged.
type variable struct {
	value    string
	bounded  bool
	min, max int
}

// defaultVariables reads lines of "name=value", or "name=value<tab>min..max".
func defaultVariables() (map[string]variable, error) {
	text, err := fs.ReadFile(schemaFiles, "schema/variables.txt")
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	all := make(map[string]variable)
	for line := range strings.Lines(string(text)) {
		line, bounds, bounded := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		name, value, _ := strings.Cut(line, "=")
		v := variable{value: value, bounded: bounded}
		if bounded {
			if _, err := fmt.Sscanf(bounds, "%d..%d", &v.min, &v.max); err != nil {
				return nil, fmt.Errorf("bounds of %s: %w", name, err)
			}
		}
		all[name] = v
	}
	return all, nil
}
