package proxysql

import (
	"context"
	"database/sql"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/remora-ha/remora/internal/lab"
)

// client is one session of an application.
type client struct{ conn *sql.Conn }

func openClient(t testing.TB, b *bench) *client {
	t.Helper()
	cfg, err := mysql.ParseDSN(b.DSN(lab.AppUser, ""))
	must(t, err)
	cfg.Logger = &mysql.NopLogger{} // killed sessions are what is tested
	connector, err := mysql.NewConnector(cfg)
	must(t, err)
	db := sql.OpenDB(connector)
	conn, err := db.Conn(within(t))
	must(t, err)
	t.Cleanup(func() {
		_ = conn.Close() // it may have been killed
		must(t, db.Close())
	})
	return &client{conn}
}

func (c *client) exec(t testing.TB, statement string) {
	t.Helper()
	if _, err := c.conn.ExecContext(within(t), statement); err != nil {
		t.Fatalf("client: %s: %v", statement, err)
	}
}

func (c *client) ping() error {
	_, err := c.conn.ExecContext(context.Background(), "SELECT 1")
	return err
}
