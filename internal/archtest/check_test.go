package archtest_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/remora-ha/remora"

// source is one file: the package that it belongs to, by its path in the module,
// and its text.
type source struct{ pkg, name, text string }

// check lists how files break the rules, one sentence each.
func check(files []source) []string {
	var broken []string
	for _, f := range files {
		fset := token.NewFileSet()
		tree, err := parser.ParseFile(fset, path.Join(f.pkg, f.name), f.text, parser.SkipObjectResolution)
		if err != nil {
			broken = append(broken, fmt.Sprintf("%s/%s: %v", f.pkg, f.name, err))
			continue
		}
		i := slices.IndexFunc(rules, func(r rule) bool { return r.pkg == f.pkg })
		if i < 0 {
			broken = append(broken, fmt.Sprintf("%s: the package has no row in internal/archtest/rules_test.go", f.pkg))
			continue
		}
		c := checker{rule: rules[i], test: strings.HasSuffix(f.name, "_test.go"), fset: fset, names: map[string]string{}}
		c.file(tree)
		broken = append(broken, c.broken...)
	}
	slices.Sort(broken)
	return slices.Compact(broken)
}

// checker checks one file.
type checker struct {
	rule
	test   bool
	fset   *token.FileSet
	names  map[string]string // import paths by the names they have in the file
	broken []string
}

func (c *checker) file(tree *ast.File) {
	for _, spec := range tree.Imports {
		c.imported(spec)
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if c.pure && !c.test {
				c.breaks(n, "starts a goroutine, and %s is pure", c.pkg)
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && c.names[x.Name] != "" {
				c.used(n, c.names[x.Name]+"."+n.Sel.Name)
			}
		}
		return true
	})
}

func (c *checker) imported(spec *ast.ImportSpec) {
	p, _ := strconv.Unquote(spec.Path.Value) // the parser took it
	name := path.Base(p)
	if spec.Name != nil {
		name = spec.Name.Name
	}
	c.names[name] = p
	own, ours := strings.CutPrefix(p, module+"/")
	switch {
	case ours && c.test && own == c.pkg:
	case ours:
		if !has(c.imports, own) && !(c.test && has(c.tests, own)) {
			c.breaks(spec, "%s imports %s; it may import %s", c.who(), own, c.may())
		}
	case strings.Contains(strings.Split(p, "/")[0], "."):
		if !begins(c.imports, p) && !(c.test && begins(c.tests+" "+everyTest, p)) {
			c.breaks(spec, "%s imports %s; it may import %s", c.who(), p, c.may())
		}
	case c.pure && !c.test:
		if !has(pureImports, p) && c.exception(p) == "" {
			c.breaks(spec, "%s imports %s, and it is pure", c.pkg, p)
		}
	}
}

func (c *checker) used(at ast.Node, what string) {
	if c.test {
		if has(noTestMay, what) {
			c.breaks(at, "a test uses %s; wait for a condition with a deadline", what)
		}
		return
	}
	if !c.pure {
		return
	}
	if has(impure, what) {
		c.breaks(at, "%s uses %s, and it is pure", c.pkg, what)
	}
	if uses := c.exception(strings.TrimSuffix(what, path.Ext(what))); uses != "" && !has(uses, what) {
		c.breaks(at, "%s uses %s; of that import it may use %s", c.pkg, what, uses)
	}
}

// exception is what a pure package may use of an import that others may not have.
func (c *checker) exception(importPath string) string {
	for _, e := range exceptions {
		if e.pkg == c.pkg && e.path == importPath {
			return e.uses
		}
	}
	return ""
}

func (c *checker) who() string {
	if c.test {
		return "a test of " + c.pkg
	}
	return c.pkg
}

func (c *checker) may() string {
	may := c.imports
	if c.test {
		may += " " + c.tests
	}
	if may = strings.Join(strings.Fields(may), ", "); may == "" {
		return "none"
	}
	return may
}

func (c *checker) breaks(at ast.Node, format string, args ...any) {
	c.broken = append(c.broken, fmt.Sprintf("%s: %s", c.fset.Position(at.Pos()), fmt.Sprintf(format, args...)))
}

// has says whether a list separated by spaces holds a word.
func has(list, word string) bool { return slices.Contains(strings.Fields(list), word) }

// begins says whether a list separated by spaces holds a prefix of a path.
func begins(list, p string) bool {
	return slices.ContainsFunc(strings.Fields(list), func(prefix string) bool {
		return p == prefix || strings.HasPrefix(p, strings.TrimSuffix(prefix, "/")+"/")
	})
}
