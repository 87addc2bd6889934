package mysql

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	binlogclient "github.com/go-mysql-org/go-mysql/client"
	binlogmysql "github.com/go-mysql-org/go-mysql/mysql"
	binlog "github.com/go-mysql-org/go-mysql/replication"

	"github.com/remora-ha/remora/internal/gtid"
	"github.com/remora-ha/remora/topology"
)

// binlogStream reads a server's binary logs from the beginning of one file to the
// present end. It does not register as a replica, so that nobody takes it for one.
type binlogStream struct {
	conn   *binlogclient.Conn
	parser *binlog.BinlogParser
	flavor string
	stop   func() bool // lets go of the context
}

// dumpNonBlock asks the server to end at the end of its logs; dumpAnnotated, for
// MariaDB, to send the statements that rows came from.
const (
	dumpNonBlock  = 1
	dumpAnnotated = 2
)

// noTLS is what the library says of a server without TLS; it has no error to test for.
const noTLS = "does not support TLS"

// errLogsEnd is the end of the binary logs.
var errLogsEnd = errors.New("the end of the binary logs")

// openBinlog connects and asks for a file. The stream ends with ctx.
func openBinlog(ctx context.Context, cfg Config, addr topology.Addr, flavor, file string) (s *binlogStream, err error) {
	conf, fallback, err := cfg.TLS.config()
	if err != nil {
		return nil, &configError{err}
	}
	if conf != nil && conf.ServerName == "" {
		conf.ServerName = addr.Host()
	}
	dialer := &net.Dialer{KeepAlive: 5 * time.Second}
	connect := func(conf *tls.Config) (*binlogclient.Conn, error) {
		return binlogclient.ConnectWithDialer(ctx, "tcp", string(addr), cfg.User, cfg.Password, "", dialer.DialContext, func(c *binlogclient.Conn) error {
			if conf != nil {
				c.SetTLSConfig(conf)
			}
			return nil
		})
	}
	conn, err := connect(conf)
	if err != nil && fallback && strings.Contains(err.Error(), noTLS) {
		conn, err = connect(nil)
	}
	if err != nil {
		return nil, err
	}
	s = &binlogStream{conn: conn, flavor: flavor, parser: binlog.NewBinlogParser()}
	s.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	s.parser.SetFlavor(flavor)
	s.parser.SetTimestampStringLocation(time.UTC)
	if err := s.ask(file); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// ask sends COM_BINLOG_DUMP. The server id is 0, as no server's is: another one
// would end the stream of the replica that has it.
func (s *binlogStream) ask(file string) error {
	flags := uint16(dumpNonBlock)
	setup := []string{"SET @master_binlog_checksum='NONE', @source_binlog_checksum='NONE'"}
	if s.flavor == string(gtid.MariaDB) {
		flags |= dumpAnnotated
		setup = append(setup, "SET @mariadb_slave_capability=4") // it knows GTID events
	}
	for _, statement := range setup {
		if _, err := s.conn.Execute(statement); err != nil {
			return err
		}
	}
	s.conn.ResetSequence()
	const header, first = 4, 4 // the packet's; where events begin in a file
	data := make([]byte, header, header+11+len(file))
	data = append(data, binlogmysql.COM_BINLOG_DUMP)
	data = binary.LittleEndian.AppendUint32(data, first)
	data = binary.LittleEndian.AppendUint16(data, flags)
	data = binary.LittleEndian.AppendUint32(data, 0)
	return s.conn.WritePacket(append(data, file...))
}

func (s *binlogStream) close() {
	s.stop()
	_ = s.conn.Close()
}

// next gives the next event that `want` asks for by its type; errLogsEnd at the end.
func (s *binlogStream) next(want func(binlog.EventType) bool) (event *binlog.BinlogEvent, err error) {
	defer func() {
		if r := recover(); r != nil { // the library's, on malformed events
			err = fmt.Errorf("%w: %v", errGarbled, r)
		}
	}()
	for {
		data, err := s.conn.ReadPacket()
		switch {
		case err != nil:
			return nil, err
		case len(data) == 0:
			return nil, fmt.Errorf("%w: an empty packet among binary log events", errGarbled)
		case data[0] == binlogmysql.ERR_HEADER:
			return nil, s.conn.HandleErrorPacket(data)
		case data[0] == binlogmysql.EOF_HEADER && len(data) < 9:
			return nil, errLogsEnd
		case data[0] != binlogmysql.OK_HEADER || len(data) < 1+binlog.EventHeaderSize:
			return nil, fmt.Errorf("%w: a packet that is no binary log event", errGarbled)
		}
		kind := binlog.EventType(data[1+4])
		if kind != binlog.FORMAT_DESCRIPTION_EVENT && !want(kind) {
			continue
		}
		event, err := s.parser.Parse(data[1:])
		var bad *binlog.EventError
		if errors.As(err, &bad) { // its text is the whole event, with people's data
			return nil, fmt.Errorf("%w: a %s that ends at %d cannot be read", errGarbled, bad.Header.EventType, bad.Header.LogPos)
		}
		return event, err
	}
}

// start reads what the file's first events say of the history before it.
func (s *binlogStream) start() (gtid.Set, error) {
	lists := func(t binlog.EventType) bool {
		return t == binlog.MARIADB_GTID_LIST_EVENT || t == binlog.PREVIOUS_GTIDS_EVENT
	}
	for {
		event, err := s.next(lists)
		if err != nil {
			return gtid.Set{}, err
		}
		switch e := event.Event.(type) {
		case *binlog.PreviousGTIDsEvent:
			return gtid.ParseMySQL(e.GTIDSets)
		case *binlog.MariadbGTIDListEvent:
			set := gtid.Set{}
			for _, g := range e.GTIDs {
				one, err := gtid.ParseMariaDB(g.String())
				if err != nil {
					return gtid.Set{}, err
				}
				set = set.Union(one)
			}
			return set, nil
		}
	}
}

// transactionID is the GTID that an event begins, alone in a set; ok is false for
// any other event.
func transactionID(event *binlog.BinlogEvent) (id gtid.Set, ok bool, err error) {
	var text string
	switch e := event.Event.(type) {
	case *binlog.MariadbGTIDEvent:
		text = fmt.Sprintf("%d-%d-(%d)", e.GTID.DomainID, e.GTID.ServerID, e.GTID.SequenceNumber)
	case *binlog.GTIDEvent:
		if event.Header.EventType == binlog.ANONYMOUS_GTID_EVENT {
			return gtid.Set{}, true, nil
		}
		text = oracleID(e.SID, e.Tag, e.GNO)
	case *binlog.GtidTaggedLogEvent:
		text = oracleID(e.SID, e.Tag, e.GNO)
	default:
		return gtid.Set{}, false, nil
	}
	id, err = gtid.Parse(text)
	return id, true, err
}

func oracleID(sid []byte, tag string, number int64) string {
	h := hex.EncodeToString(sid)
	if len(h) != 32 {
		return h
	}
	text := h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	if tag != "" {
		text += ":" + tag
	}
	return fmt.Sprintf("%s:%d", text, number)
}
