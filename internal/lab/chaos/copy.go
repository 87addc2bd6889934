package chaos

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"github.com/remora-ha/remora/internal/lab"
)

// copy makes a MariaDB server anew by hand, from a consistent copy of the primary's rows. Its cable is out meanwhile, so that
// nobody takes it for an empty replica.
func (c *run) copy(ctx context.Context, s, primary *lab.Server) (err error) {
	host := c.f.Network.Hosts[len(c.f.Nodes)+slices.Index(c.f.DB.Servers, s)]
	if err := c.f.Network.Unplug(ctx, host); err != nil {
		return err
	}
	defer func() {
		if plug := c.f.Network.Plug(context.WithoutCancel(ctx), host); err == nil {
			err = plug
		}
	}()
	if err := s.Kill(); err != nil {
		return err
	}
	if err := c.logs.read(ctx, s); err != nil {
		return err
	}
	if err := s.Reset(ctx); err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	position, err := copyRows(ctx, primary, s)
	if err != nil {
		return err
	}
	if err := s.Exec(ctx, "SET GLOBAL gtid_slave_pos='"+position+"'"); err != nil {
		return err
	}
	return s.Follow(ctx, primary, 0)
}

// copyRows copies the table from one server to another as of one position of the binary log, which it returns.
func copyRows(ctx context.Context, from, to *lab.Server) (position string, err error) {
	source, err := from.DB().Conn(ctx)
	if err != nil {
		return "", err
	}
	defer discard(source)
	if err := execAll(ctx, source, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT"); err != nil {
		return "", fmt.Errorf("%s: %w", from.Name, err)
	}
	if position, err = snapshotPosition(ctx, source); err != nil {
		return "", fmt.Errorf("%s: %w", from.Name, err)
	}
	target, err := to.DB().Conn(ctx)
	if err != nil {
		return "", err
	}
	defer discard(target)
	var name, create string
	if err := source.QueryRowContext(ctx, "SHOW CREATE TABLE lab.writes").Scan(&name, &create); err != nil {
		return "", fmt.Errorf("%s: %w", from.Name, err)
	}
	create = strings.Replace(create, "CREATE TABLE ", "CREATE TABLE lab.", 1)
	if err := execAll(ctx, target, "SET SESSION sql_log_bin=0", "CREATE DATABASE lab", create); err != nil {
		return "", fmt.Errorf("%s: %w", to.Name, err)
	}
	rows, err := source.QueryContext(ctx, "SELECT writer, seq, server, at FROM lab.writes")
	if err != nil {
		return "", fmt.Errorf("%s: %w", from.Name, err)
	}
	defer rows.Close()
	if err := insert(ctx, target, rows); err != nil {
		return "", fmt.Errorf("copy the rows of %s to %s: %w", from.Name, to.Name, err)
	}
	// The trigger last: it would stamp the rows.
	return position, execAll(ctx, target, originTrigger)
}

// discard closes a connection whose session nobody else is to get.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
}

// snapshotPosition is the position of the transaction's snapshot.
func snapshotPosition(ctx context.Context, conn *sql.Conn) (position string, err error) {
	var name, file, offset string
	if err := conn.QueryRowContext(ctx, "SHOW STATUS LIKE 'binlog_snapshot_file'").Scan(&name, &file); err != nil {
		return "", err
	}
	if err := conn.QueryRowContext(ctx, "SHOW STATUS LIKE 'binlog_snapshot_position'").Scan(&name, &offset); err != nil {
		return "", err
	}
	var found sql.NullString
	if err := conn.QueryRowContext(ctx, fmt.Sprintf("SELECT BINLOG_GTID_POS('%s', %s)", file, offset)).Scan(&found); err != nil {
		return "", err
	}
	if found.String == "" {
		return "", fmt.Errorf("it has no position at %s:%s", file, offset)
	}
	return found.String, nil
}

func execAll(ctx context.Context, conn *sql.Conn, statements ...string) error {
	for _, st := range statements {
		if _, err := conn.ExecContext(ctx, st); err != nil {
			return fmt.Errorf("%s: %w", st, err)
		}
	}
	return nil
}

// insert copies rows in batches, as one transaction.
func insert(ctx context.Context, conn *sql.Conn, rows *sql.Rows) error {
	if err := execAll(ctx, conn, "START TRANSACTION"); err != nil {
		return err
	}
	var batch []string
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := execAll(ctx, conn, "INSERT INTO lab.writes (writer, seq, server, at) VALUES "+strings.Join(batch, ","))
		batch = batch[:0]
		return err
	}
	for rows.Next() {
		var writer, seq, server, at int64
		if err := rows.Scan(&writer, &seq, &server, &at); err != nil {
			return err
		}
		if batch = append(batch, fmt.Sprintf("(%d,%d,%d,%d)", writer, seq, server, at)); len(batch) == 1000 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	return execAll(ctx, conn, "COMMIT")
}
