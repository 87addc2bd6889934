package chaos

import (
	"bytes"
	"encoding/binary"
	"testing"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	binlog "github.com/go-mysql-org/go-mysql/replication"
	"github.com/google/go-cmp/cmp"

	"github.com/remora-ha/remora/internal/gtid"
)

const uuids = "11111111-2222-3333-4444-55555555555"

// rowOf is a row event of a table.
func rowOf(table string, columns ...any) *binlog.RowsEvent {
	return &binlog.RowsEvent{Table: &binlog.TableMapEvent{Schema: []byte("lab"), Table: []byte(table)}, Rows: [][]any{columns}}
}

func TestReadBinaryLogs(t *testing.T) {
	mariadb := func(server uint32, number uint64) binlog.Event {
		return &binlog.MariadbGTIDEvent{GTID: gomysql.MariadbGTID{ServerID: server, SequenceNumber: number}}
	}
	type said struct {
		server uint32
		event  binlog.Event
	}
	for _, tc := range []struct {
		name   string
		copied string
		events []said
		want   map[row][]commit
		forks  int
		odd    int
	}{
		{
			"MariaDB", "",
			[]said{
				{1, mariadb(1, 7)},
				{2, mariadb(2, 8)}, {2, rowOf("writes", int32(3), int64(17), int32(2), int64(1763748258000123))},
				{1, mariadb(1, 8)}, {1, rowOf("other", int32(3), int64(18))},
			},
			map[row][]commit{{3, 17}: {{server: 2, number: 8, at: 1763748258000123}}}, 1, 0,
		},
		{
			"MySQL: the place is how many came before", "",
			[]said{
				{1, &binlog.PreviousGTIDsEvent{GTIDSets: uuids + "1:1-5," + uuids + "2:1-3"}},
				{2, &binlog.GTIDEvent{GNO: 4}}, {2, rowOf("writes", int32(3), int64(17), int32(2), int64(20))},
				{1, &binlog.GTIDEvent{GNO: 6}}, {1, rowOf("writes", int32(3), int64(18), int32(1), int64(30))},
			},
			map[row][]commit{{3, 17}: {{server: 2, number: 9, at: 20}}, {3, 18}: {{server: 1, number: 10, at: 30}}}, 0, 0,
		},
		{
			"MySQL that was cloned: its logs lack what it got", uuids + "1:1-5," + uuids + "2:1-3",
			[]said{
				{1, &binlog.PreviousGTIDsEvent{GTIDSets: uuids + "2:4"}},
				{1, &binlog.GTIDEvent{GNO: 6}}, {1, rowOf("writes", int32(3), int64(18), int32(1), int64(30))},
			},
			map[row][]commit{{3, 18}: {{server: 1, number: 10, at: 30}}}, 0, 0,
		},
		{
			"a row of another server than its GTID, and one with two places", "",
			[]said{
				{1, &binlog.GTIDEvent{GNO: 1}}, {1, rowOf("writes", int32(3), int64(1), int32(2), int64(20))},
				{1, &binlog.GTIDEvent{GNO: 2}}, {1, rowOf("writes", int32(3), int64(2), int32(1), int64(30))},
				{1, &binlog.PreviousGTIDsEvent{}},
				{1, &binlog.GTIDEvent{GNO: 2}}, {1, rowOf("writes", int32(3), int64(2), int32(1), int64(30))},
			},
			map[row][]commit{{3, 1}: {{1, 1, 20}}, {3, 2}: {{1, 2, 30}, {1, 1, 30}}}, 0, 2,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLogs()
			r := reader{logs: l, copied: gtid.MustParse(tc.copied)}
			for _, s := range tc.events {
				if err := r.event(&binlog.EventHeader{ServerID: s.server, EventType: binlog.WRITE_ROWS_EVENTv2}, s.event); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tc.want, l.commits, cmp.AllowUnexported(row{}, commit{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if l.forks() != tc.forks || l.foreign != tc.odd {
				t.Errorf("%d forks, %d foreign rows", l.forks(), l.foreign)
			}
		})
	}
	r := reader{logs: newLogs()}
	if err := r.event(&binlog.EventHeader{EventType: binlog.WRITE_ROWS_EVENTv1}, rowOf("writes", "three", int64(1), int32(1), int64(1))); err == nil {
		t.Error("nonsense was read")
	}
}

func TestABinaryLogEndsWhereItWasCutShort(t *testing.T) {
	event := func(number uint64) []byte { // MariaDB's GTID event
		body := binary.LittleEndian.AppendUint64(nil, number)
		body = append(body, make([]byte, 11)...)
		head := make([]byte, binlog.EventHeaderSize)
		head[4] = byte(binlog.MARIADB_GTID_EVENT)
		binary.LittleEndian.PutUint32(head[5:], 1)
		binary.LittleEndian.PutUint32(head[9:], uint32(len(head)+len(body)))
		return append(head, body...)
	}
	whole := append([]byte(magic), event(7)...)
	whole = append(whole, event(8)...)
	for _, cut := range []struct{ off, numbers int }{{0, 2}, {1, 1}, {25, 1}, {len(event(8)), 1}} {
		l := newLogs()
		r := reader{logs: l, parser: binlog.NewBinlogParser()}
		if err := r.file(bytes.NewReader(whole[:len(whole)-cut.off])); err != nil || len(l.numbers) != cut.numbers {
			t.Errorf("%d bytes cut off: %d transactions, %v", cut.off, len(l.numbers), err)
		}
	}
	for _, nonsense := range []string{"", "#!/bin/sh", magic + "this is no event, and says it has a length"} {
		r := reader{logs: newLogs(), parser: binlog.NewBinlogParser()}
		if err := r.file(bytes.NewReader([]byte(nonsense))); err == nil && nonsense[:min(4, len(nonsense))] != magic {
			t.Errorf("%q was read", nonsense)
		}
	}
}
