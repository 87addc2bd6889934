package archtest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// promises are words of the code that a page must name. Each pattern's groups are
// the words; what the code names and the page does not fails.
var promises = []struct {
	name  string
	files []string // patterns below the module's root
	words string
	page  string
	as    string // how the page spells a word
}{
	{"every finding has its line for 3 a.m.", []string{"failover/problems_*.go"}, `Code: +"(\w+)"`, "docs/operations.md", "| `%s`"},
	{"every check of the doctor is listed", []string{"doctor/checks_*.go"}, `Name: +"(\w+)"`, "docs/doctor.md", "| `%s` |"},
	{"every setting that the doctor may make is listed", []string{"doctor/safe.go"}, `(?m)^\t"([\w-]+)": +\{`, "docs/doctor.md", "`%s`"},
	{"every field of the doctor's report is documented", []string{"doctor/finding.go", "doctor/safe.go"}, `json:"(\w+)`, "docs/api.md", "%s"},
	{"every rule of a refusal is listed", []string{"failover/rules.go"}, `(?m)^\t\{"(\w+)", (?:true|false)`, "docs/operations.md", "`%s`"},
	{"every refusal's rule is listed", []string{"failover/*.go"}, `Rule: +"(\w+)"`, "docs/operations.md", "`%s`"},
	{"every route is documented", []string{"api/routes.go"}, `"((?:GET|POST|DELETE) /v1/[\w/{}]*\w\}?)"`, "docs/api.md", "## %s\n"},
	{"every field of the API is documented", []string{"api/types.go", "api/heartbeat.go"}, `json:"(\w+)`, "docs/api.md", "%s"},
	{"every field of a snapshot is documented", []string{"topology/s*.go", "topology/route.go", "topology/view.go", "failover/case.go", "failover/tries.go", "failover/intent.go", "failover/step.go"}, `json:"(\w+)`, "docs/snapshot.md", "`%s`"},
	{"every act is documented", []string{"failover/step.go"}, `(?m)^\t\w+ +Act = "(\w+)"`, "docs/snapshot.md", "| `%s` |"},
	{"every key is documented", []string{"sidecar/config.go", "sidecar/secret.go", "failover/policy*.go"}, `yaml:"(\w+)`, "docs/configuration.md", "%s"},
	{"every placeholder of a hook is documented", []string{"failover/placeholders.go"}, `(?m)^\t\{"(\w+)", (?:true|false)`, "docs/hooks.md", "`{%s}`"},
	{"every hook's key is documented", []string{"failover/hooks.go"}, `yaml:"(\w+)`, "docs/hooks.md", "`%s`"},
	{"every key is in the example", []string{"sidecar/config.go", "failover/policy*.go", "failover/hooks.go"}, `yaml:"(\w+)`, "config.yaml", "%s:"},
	{"every privilege is documented", []string{"mysql/grants.go"}, `"([A-Z]{3,}(?:[ _][A-Z]+)*)"`, "docs/privileges.md", "%s"},
	{"every make target of the pages exists", []string{"README.md", "CONTRIBUTING.md", "docs/*.md"}, "(?m)^(?:    )?make ([a-z]+)", "Makefile", "\n%s:"},
}

func TestThePagesKeepUpWithTheCode(t *testing.T) {
	for _, p := range promises {
		t.Run(p.name, func(t *testing.T) {
			page := read(t, p.page)
			words := map[string]bool{}
			for _, pattern := range p.files {
				for _, name := range glob(t, pattern) {
					for _, m := range regexp.MustCompile(p.words).FindAllStringSubmatch(read(t, name), -1) {
						words[m[1]] = true
					}
				}
			}
			if len(words) == 0 {
				t.Fatalf("%v: nothing matches %s", p.files, p.words)
			}
			for w := range words {
				if !strings.Contains(page, strings.ReplaceAll(p.as, "%s", w)) {
					t.Errorf("%s does not name %s", p.page, w)
				}
			}
		})
	}
}

// A promise is worth the test that holds it.
func TestTestsThatThePagesNameExist(t *testing.T) {
	named := regexp.MustCompile("`(Test\\w+)`")
	var tests strings.Builder
	for _, pattern := range []string{"*/*_test.go", "*/*/*_test.go", "*/*/*/*_test.go"} {
		names, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: no such file (%v)", pattern, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(text)
		}
	}
	count := 0
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		for _, page := range glob(t, pattern) {
			for _, m := range named.FindAllStringSubmatch(read(t, page), -1) {
				if count++; m[1] != "TestX" && !strings.Contains(tests.String(), "func "+m[1]+"(") {
					t.Errorf("%s names %s, which is nowhere", page, m[1])
				}
			}
		}
	}
	if count < 20 {
		t.Errorf("only %d tests are named", count)
	}
}

func TestLinksInThePagesLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*.md"} {
		for _, page := range glob(t, pattern) {
			for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
				if _, err := os.Stat(filepath.Join("..", "..", filepath.Dir(page), m[1])); err != nil {
					t.Errorf("%s: %v", page, err)
				}
			}
		}
	}
}

func TestTheREADMEIsShort(t *testing.T) {
	if n := strings.Count(read(t, "README.md"), "\n"); n >= 120 {
		t.Errorf("README.md has %d lines; below 120 it is read", n)
	}
}

// glob lists the files below the module's root that match, without tests.
func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(pattern)))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: no such file (%v)", pattern, err)
	}
	var names []string
	for _, name := range found {
		if !strings.HasSuffix(name, "_test.go") {
			names = append(names, strings.TrimPrefix(name, filepath.Join("..", "..")+string(filepath.Separator)))
		}
	}
	return names
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
