package archtest_test

// rule says what the files of one package may import besides the standard
// library. Lists are separated by spaces; Remora's packages are named by their
// path in the module, others by a prefix.
type rule struct {
	pkg     string
	imports string
	tests   string // what its test files may import besides
	pure    bool   // no I/O, no goroutine, no clock, no logging: see pureImports and impure
}

// rules is the whole architecture. A package that is not named here fails: give
// it a row, and docs/architecture.md its reason.
var rules = []rule{
	// The core, pure.
	{pkg: "internal/gtid", pure: true, tests: "github.com/go-sql-driver/mysql internal/lab"},
	{pkg: "topology", pure: true, imports: "internal/gtid"},
	{pkg: "failover", pure: true, imports: "topology internal/gtid"},
	{pkg: "ledger", pure: true, imports: "topology failover", tests: "internal/gtid"},
	{pkg: "doctor", pure: true, imports: "topology failover"},

	// The adapters: each knows the core and the outside world, none knows another.
	{
		pkg: "consensus", imports: "ledger github.com/hashicorp/ go.etcd.io/bbolt",
		tests: "topology failover internal/lab",
	},
	{pkg: "mysql", imports: "topology failover doctor internal/gtid github.com/go-sql-driver/mysql github.com/go-mysql-org/go-mysql/", tests: "internal/lab internal/lab/endpoints internal/standin"},
	{pkg: "proxysql", imports: "topology doctor github.com/go-sql-driver/mysql", tests: "failover internal/lab internal/standin modernc.org/sqlite"},
	{pkg: "consul", imports: "topology doctor github.com/hashicorp/consul/api", tests: "internal/lab"},
	{pkg: "templates", imports: "github.com/hashicorp/consul-template/", tests: "internal/lab"},
	{pkg: "hooks"},
	{pkg: "api", imports: "topology failover doctor internal/gtid ledger"},

	// The composition.
	{
		pkg:     "sidecar",
		imports: "api consensus ledger doctor failover topology internal/gtid mysql proxysql consul templates hooks golang.org/x/sys/unix gopkg.in/yaml.v3",
		tests:   "internal/lab internal/lab/fleet internal/standin github.com/go-sql-driver/mysql",
	},
	{
		pkg:     "cmd/remora",
		imports: "sidecar api templates ledger doctor failover topology internal/gtid github.com/spf13/ golang.org/x/term golang.org/x/sys gopkg.in/yaml.v3",
		tests:   "internal/lab internal/lab/fleet",
	},

	// The simulation.
	{
		pkg:     "internal/world",
		imports: "sidecar api consensus ledger failover topology internal/gtid proxysql github.com/hashicorp/raft github.com/anishathalye/porcupine",
	},

	// The lab: it starts real programs and knows no other package of Remora.
	{pkg: "internal/lab", imports: "github.com/go-sql-driver/mysql golang.org/x/"},
	{
		pkg: "internal/lab/fleet", imports: "internal/lab api doctor failover topology golang.org/x/ github.com/go-sql-driver/mysql",
		tests: "internal/gtid",
	},
	{pkg: "internal/lab/endpoints", imports: "internal/standin/wire"},
	{pkg: "internal/lab/scale", imports: "internal/lab internal/lab/endpoints api failover topology"},
	{pkg: "internal/lab/scale/cmd/scale", imports: "internal/lab internal/lab/scale"},
	{pkg: "internal/lab/walker", imports: "sidecar failover ledger"},
	{pkg: "internal/lab/chaos", imports: "internal/lab internal/lab/fleet api failover internal/gtid github.com/go-mysql-org/go-mysql/"},
	{pkg: "internal/lab/bench", imports: "internal/lab internal/lab/fleet failover"},
	{pkg: "internal/lab/bench/cmd/bench", imports: "internal/lab internal/lab/bench"},
	{pkg: "internal/lab/chaos/cmd/chaos", imports: "internal/lab internal/lab/chaos"},
	{
		pkg: "internal/standin", imports: "internal/standin/wire modernc.org/sqlite golang.org/x/ github.com/dolthub/vitess/",
		tests: "internal/lab github.com/go-sql-driver/mysql",
	},
	{pkg: "internal/standin/wire", imports: "github.com/dolthub/vitess/", tests: "github.com/go-sql-driver/mysql"},
	{pkg: "internal/standin/cmd/standin", imports: "internal/standin"},
	{pkg: "examples/demo", imports: "internal/lab internal/lab/fleet golang.org/x/"},

	{pkg: "internal/archtest"},
}

// everyTest is what all test files may import besides.
const everyTest = "github.com/google/go-cmp pgregory.net/rapid go.uber.org/goleak"

// pureImports is all that a pure package may import of the standard library.
const pureImports = "bytes cmp encoding encoding/json errors fmt hash/fnv io iter maps math math/bits path regexp slices sort " +
	"strconv strings time unicode unicode/utf8"

// exceptions are imports of a pure package beyond pureImports, with all that it
// may use of them.
var exceptions = []struct{ pkg, path, uses, why string }{
	{"topology", "net", "net.SplitHostPort net.JoinHostPort net.ParseIP", "addresses are parsed; no name is resolved and nothing dialled"},
}

// impure is what the imports above offer and a pure package must not use: the
// clock, and the process's own output.
const impure = "time.Now time.Since time.Until time.Sleep time.After time.AfterFunc time.Tick time.NewTimer time.NewTicker " +
	"fmt.Print fmt.Printf fmt.Println fmt.Scan fmt.Scanf fmt.Scanln"

// noTestMay is what no test file of the module may use: a test waits for a
// condition with a deadline, or runs in virtual time.
const noTestMay = "time.Sleep"
