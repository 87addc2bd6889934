package archtest_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheModuleKeepsItsArchitecture(t *testing.T) {
	files := sources(t)
	if len(files) < 50 {
		t.Fatalf("found %d files only: the test does not see the module", len(files))
	}
	for _, sentence := range check(files) {
		t.Error(sentence)
	}
}

// TestBrokenRulesAreFound proves that the test above can fail.
func TestBrokenRulesAreFound(t *testing.T) {
	imports := func(paths ...string) string {
		text := "package p\n"
		for _, p := range paths {
			text += "import \"" + p + "\"\n"
		}
		return text
	}
	for _, tc := range []struct {
		name string
		file source
		want string // of the one sentence; empty: nothing is broken
	}{
		{
			"an import of the table",
			source{"failover", "a.go", imports(module+"/topology", "time", "strings")}, "",
		},
		{
			"an adapter that imports another",
			source{"mysql", "a.go", imports(module + "/proxysql")},
			"mysql/a.go:2:8: mysql imports proxysql; it may import topology, failover, doctor, internal/gtid, github.com/go-sql-driver/mysql, github.com/go-mysql-org/go-mysql/",
		},
		{
			"the core importing an adapter",
			source{"topology", "a.go", imports(module + "/mysql")},
			"topology/a.go:2:8: topology imports mysql; it may import internal/gtid",
		},
		{
			"an adapter's test may use the lab",
			source{"proxysql", "a_test.go", imports(module+"/internal/lab", module+"/proxysql", "go.uber.org/goleak")}, "",
		},
		{
			"an adapter itself may not",
			source{"proxysql", "a.go", imports(module + "/internal/lab")},
			"proxysql/a.go:2:8: proxysql imports internal/lab; it may import topology, doctor, github.com/go-sql-driver/mysql",
		},
		{
			"the lab importing the product",
			source{"internal/lab", "a.go", imports(module + "/sidecar")},
			"internal/lab/a.go:2:8: internal/lab imports sidecar; it may import github.com/go-sql-driver/mysql, golang.org/x/",
		},
		{
			"raft beyond consensus",
			source{"sidecar", "a.go", imports("github.com/hashicorp/raft")},
			"sidecar/a.go:2:8: sidecar imports github.com/hashicorp/raft; it may import api, consensus, ledger, doctor, failover, topology, internal/gtid, mysql, proxysql, consul, templates, hooks, golang.org/x/sys/unix, gopkg.in/yaml.v3",
		},
		{
			"a library whose name only begins alike",
			source{"consensus", "a.go", imports("go.etcd.io/bboltx")},
			"consensus/a.go:2:8: consensus imports go.etcd.io/bboltx; it may import ledger, github.com/hashicorp/, go.etcd.io/bbolt",
		},
		{
			"a package without a row",
			source{"utils", "a.go", imports()},
			"utils: the package has no row in internal/archtest/rules_test.go",
		},
		{
			"a pure package that logs",
			source{"ledger", "a.go", imports("log/slog")},
			"ledger/a.go:2:8: ledger imports log/slog, and it is pure",
		},
		{
			"a pure package that reads the clock",
			source{"failover", "a.go", imports("time") + "var now = time.Now()"},
			"failover/a.go:3:11: failover uses time.Now, and it is pure",
		},
		{
			"also under another name",
			source{"failover", "a.go", "package p\nimport t \"time\"\nvar f = t.Sleep"},
			"failover/a.go:3:9: failover uses time.Sleep, and it is pure",
		},
		{
			"a pure package that starts a goroutine",
			source{"topology", "a.go", "package p\nfunc f() { go f() }"},
			"topology/a.go:2:12: starts a goroutine, and topology is pure",
		},
		{
			"an exception, used as it was granted",
			source{"topology", "a.go", imports("net") + "var ip = net.ParseIP(\"::1\")"}, "",
		},
		{
			"an exception, used for more",
			source{"topology", "a.go", imports("net") + "var d = net.Dial"},
			"topology/a.go:3:9: topology uses net.Dial; of that import it may use net.SplitHostPort net.JoinHostPort net.ParseIP",
		},
		{
			"a test of a pure package reads golden files",
			source{"ledger", "a_test.go", imports("os", "pgregory.net/rapid")}, "",
		},
		{
			"a test that sleeps",
			source{"sidecar", "a_test.go", imports("time") + "func f() { time.Sleep(1) }"},
			"sidecar/a_test.go:3:12: a test uses time.Sleep; wait for a condition with a deadline",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var want []string
			if tc.want != "" {
				want = []string{tc.want}
			}
			if diff := cmp.Diff(want, check([]source{tc.file})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// sources reads every Go file of the module. It walks the directories itself, where `go list` would hide new packages
// from the cache of test results.
func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	var files []source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch base := filepath.Base(name); {
		case err != nil:
			return err
		case d.IsDir() && name != root && (base[0] == '.' || base[0] == '_' || base == "testdata" || base == "bin"):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		pkg, err := filepath.Rel(root, filepath.Dir(name))
		files = append(files, source{filepath.ToSlash(pkg), filepath.Base(name), string(text)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
