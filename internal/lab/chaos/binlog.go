package chaos

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	binlog "github.com/go-mysql-org/go-mysql/replication"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/internal/lab"
)

// row names a row of lab.writes.
type row struct {
	writer int
	seq    int64
}

// commit is a transaction that wrote a row, as a binary log has it.
type commit struct {
	server int // that executed it
	// number is its place in the history. MariaDB's GTIDs end in it; with MySQL it is how many transactions a server has executed
	// with this one, which is the same on all, for they execute them in one order.
	number uint64
	at     int64 // when the server executed it, by that server's clock, in microseconds
}

// logs are what the binary logs of all servers say, of all their lives.
type logs struct {
	commits map[row][]commit            // more than one of a row only where it was written twice
	numbers map[uint64]map[int]struct{} // who used each number; more than one is a fork
	// foreign are rows whose server is not that of their GTID, or whose place is not the same in all logs: the measurement is
	// broken.
	foreign int
	copied  map[int]gtid.Set // what a MySQL server that was cloned got without its logs, by its id
}

func newLogs() *logs {
	return &logs{commits: map[row][]commit{}, numbers: map[uint64]map[int]struct{}{}, copied: map[int]gtid.Set{}}
}

// forks are how many numbers were used by two servers.
func (l *logs) forks() (n int) {
	for _, servers := range l.numbers {
		if len(servers) > 1 {
			n++
		}
	}
	return n
}

// read adds all that a server has, which runs or not.
func (l *logs) read(ctx context.Context, s *lab.Server) error {
	if s.Flavor() == lab.MySQL && s.Running() {
		if err := l.purged(ctx, s); err != nil {
			return err
		}
	}
	return s.Binlogs(func(_ string, log io.Reader) error {
		r := reader{logs: l, copied: l.copied[s.ServerID], parser: binlog.NewBinlogParser()}
		r.parser.SetFlavor(string(s.Flavor()))
		return r.file(log)
	})
}

// purged asks a MySQL server what it has without its logs, of which it deletes none: that came with a clone.
func (l *logs) purged(ctx context.Context, s *lab.Server) error {
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	row, err := s.Row(ctx, "SELECT @@GLOBAL.gtid_purged AS purged")
	if err != nil {
		return err
	}
	l.copied[s.ServerID], err = gtid.ParseMySQL(row["purged"])
	return err
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

// reader reads one file.
type reader struct {
	logs   *logs
	copied gtid.Set
	parser *binlog.BinlogParser
	place  uint64 // MySQL: how many transactions came before, with those of the logs
	server int    // of the transaction being read
	number uint64
}

const magic = "\xfebin"

// file reads to the end, or to where an event was cut short.
func (r *reader) file(log io.Reader) error {
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(log, head); err != nil || string(head) != magic {
		return fmt.Errorf("it begins with %q (%w)", head, err)
	}
	for {
		event := make([]byte, binlog.EventHeaderSize)
		_, err := io.ReadFull(log, event)
		if err == nil {
			rest := int64(binary.LittleEndian.Uint32(event[9:])) - binlog.EventHeaderSize
			if rest < 0 {
				return fmt.Errorf("an event of %d bytes", rest+binlog.EventHeaderSize)
			}
			event = append(event, make([]byte, rest)...)
			_, err = io.ReadFull(log, event[binlog.EventHeaderSize:])
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
		e, err := r.parser.Parse(event)
		if err == nil {
			err = r.event(e.Header, e.Event)
		}
		if err != nil {
			return err
		}
	}
}

func (r *reader) event(h *binlog.EventHeader, event binlog.Event) error {
	switch e := event.(type) {
	case *binlog.PreviousGTIDsEvent:
		before, err := gtid.ParseMySQL(e.GTIDSets)
		r.place = before.Union(r.copied).Count()
		return err
	case *binlog.GTIDEvent:
		r.place++
		r.begin(int(h.ServerID), r.place)
	case *binlog.MariadbGTIDEvent:
		r.begin(int(e.GTID.ServerID), e.GTID.SequenceNumber)
	case *binlog.RowsEvent:
		inserts := h.EventType == binlog.WRITE_ROWS_EVENTv1 || h.EventType == binlog.WRITE_ROWS_EVENTv2 // MariaDB's, MySQL's
		if inserts && string(e.Table.Schema) == "lab" && string(e.Table.Table) == "writes" {
			return r.rows(e.Rows)
		}
	}
	return nil
}

// begin begins a transaction.
func (r *reader) begin(server int, number uint64) {
	r.server, r.number = server, number
	if r.logs.numbers[number] == nil {
		r.logs.numbers[number] = map[int]struct{}{}
	}
	r.logs.numbers[number][server] = struct{}{}
}

// rows adds those that were inserted: the writer, its number, the server and the instant.
func (r *reader) rows(all [][]any) error {
	for _, columns := range all {
		if len(columns) < 4 { // before the trigger was there
			continue
		}
		var values [4]int64
		for i := range values {
			switch v := columns[i].(type) {
			case int32:
				values[i] = int64(v)
			case int64:
				values[i] = v
			default:
				return fmt.Errorf("column %d of a row of lab.writes is %v, a %T", i, v, v)
			}
		}
		r.add(row{writer: int(values[0]), seq: values[1]}, int(values[2]), commit{server: r.server, number: r.number, at: values[3]})
	}
	return nil
}

func (r *reader) add(key row, stamped int, c commit) {
	foreign := stamped != c.server
	for _, known := range r.logs.commits[key] {
		if known == c {
			return
		}
		foreign = foreign || known.server == c.server && known.at == c.at
	}
	if foreign {
		r.logs.foreign++
	}
	r.logs.commits[key] = append(r.logs.commits[key], c)
}
