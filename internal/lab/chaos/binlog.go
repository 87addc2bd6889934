package chaos

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/remora-ha/remora/internal/lab"
)

// row names a row of lab.writes.
type row struct {
	writer int
	seq    int64
}

// commit is a transaction that wrote a row, as a binary log has it.
type commit struct {
	server int    // that executed it: the middle of its GTID
	number uint64 // its place in the history: the end of its GTID
	at     int64  // when the server executed it, by that server's clock, in microseconds
}

// logs are what the binary logs of all servers say, of all their lives.
type logs struct {
	commits map[row][]commit            // more than one of a row only where it was written twice
	numbers map[uint64]map[int]struct{} // who used each sequence number; more than one is a fork
	foreign int                         // rows whose server is not that of their GTID: the measurement is broken
}

func newLogs() *logs {
	return &logs{commits: map[row][]commit{}, numbers: map[uint64]map[int]struct{}{}}
}

// forks are how many sequence numbers were used by two servers.
func (l *logs) forks() (n int) {
	for _, servers := range l.numbers {
		if len(servers) > 1 {
			n++
		}
	}
	return n
}

// read adds all that a server has.
func (l *logs) read(ctx context.Context, s *lab.Server) error {
	p := parser{logs: l}
	if err := s.Binlogs(ctx, p.line); err != nil {
		return err
	}
	return p.err
}

// The triggers' columns are the third and the fourth.
var addOrigin = []string{
	"ALTER TABLE lab.writes ADD server INT UNSIGNED NOT NULL DEFAULT 0, ADD at BIGINT NOT NULL DEFAULT 0",
	originTrigger,
}

// originTrigger stamps a row on the server that executes the statement. Replicas get the row as it was stamped: they fire no
// trigger for it. A function in the clients' statement would do as well, but ProxySQL pins a session that names a variable.
const originTrigger = "CREATE TRIGGER lab.origin BEFORE INSERT ON lab.writes FOR EACH ROW " +
	"SET NEW.server = @@server_id, NEW.at = CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)"

// parser reads what mariadb-binlog prints.
type parser struct {
	logs   *logs
	server int // of the transaction being read
	number uint64
	insert bool // the columns of a row are being read
	values [4]int64
	err    error
}

const insertWrites = "### INSERT INTO `lab`.`writes`"

func (p *parser) line(text string) {
	switch {
	case strings.HasPrefix(text, "#") && strings.Contains(text, "\tGTID "):
		_, gtid, _ := strings.Cut(text, "\tGTID ")
		gtid, _, _ = strings.Cut(gtid, " ")
		p.gtid(gtid)
	case text == insertWrites:
		p.insert, p.values = true, [4]int64{}
	case p.insert && strings.HasPrefix(text, "###   @"):
		p.column(strings.TrimPrefix(text, "###   @"))
	}
}

// gtid begins a transaction.
func (p *parser) gtid(text string) {
	p.insert = false
	parts := strings.Split(text, "-")
	if len(parts) != 3 {
		p.fail("the GTID %q", text)
		return
	}
	server, err1 := strconv.Atoi(parts[1])
	number, err2 := strconv.ParseUint(parts[2], 10, 64)
	if err1 != nil || err2 != nil {
		p.fail("the GTID %q", text)
		return
	}
	p.server, p.number = server, number
	if p.logs.numbers[number] == nil {
		p.logs.numbers[number] = map[int]struct{}{}
	}
	p.logs.numbers[number][server] = struct{}{}
}

// column reads "1=17" and the like; the fourth ends a row.
func (p *parser) column(text string) {
	name, value, _ := strings.Cut(text, "=")
	value, _, _ = strings.Cut(value, " ") // a negative number is followed by itself without a sign
	i, err1 := strconv.Atoi(name)
	v, err2 := strconv.ParseInt(value, 10, 64)
	if err1 != nil || err2 != nil || i < 1 {
		p.fail("the column %q", text)
		return
	}
	if i > len(p.values) {
		return
	}
	p.values[i-1] = v
	if i == len(p.values) {
		p.insert = false
		p.add()
	}
}

func (p *parser) add() {
	key := row{writer: int(p.values[0]), seq: p.values[1]}
	c := commit{server: p.server, number: p.number, at: p.values[3]}
	if int(p.values[2]) != p.server {
		p.logs.foreign++
	}
	for _, known := range p.logs.commits[key] {
		if known == c {
			return
		}
	}
	p.logs.commits[key] = append(p.logs.commits[key], c)
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("read a binary log: it makes no sense: "+format, args...)
	}
}
