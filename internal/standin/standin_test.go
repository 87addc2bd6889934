package standin_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/standin"
)

// These run the stand-in inside the test, where the race detector and the search for leaked goroutines see it.

func start(t testing.TB, c standin.Config) *standin.Server {
	t.Helper()
	c.Admin, c.Listen = "127.0.0.1:0", "127.0.0.1:0"
	if c.Data == "" {
		c.Data = t.TempDir()
	}
	s, err := standin.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func open(t testing.TB, user, password, addr string) *sql.DB {
	t.Helper()
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr, cfg.Logger = user, password, "tcp", addr, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// serving is a stand-in before a real server.
func serving(t testing.TB, l *lab.Lab) (*standin.Server, *sql.DB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server, err := l.Server(ctx, lab.ServerOptions{Name: "db", Writable: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.DB().ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS lab"); err != nil {
		t.Fatal(err)
	}
	s := start(t, standin.Config{})
	admin := open(t, "admin", "admin", s.Admin())
	for _, statement := range []string{
		fmt.Sprintf("INSERT INTO mysql_servers (hostname, port) VALUES ('%s', %d)", server.Host, server.Port),
		fmt.Sprintf("INSERT INTO mysql_users (username, password) VALUES ('%s', '%s')", lab.AppUser.Name, lab.AppUser.Password),
		"LOAD MYSQL SERVERS TO RUNTIME", "LOAD MYSQL USERS TO RUNTIME",
	} {
		if _, err := admin.ExecContext(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	return s, admin
}

func TestCloseEndsSessionsThatAreHeldAndIdle(t *testing.T) {
	l := lab.ForTest(t, lab.Options{Logf: func(string, ...any) {}})
	s, admin := serving(t, l)
	app := open(t, lab.AppUser.Name, lab.AppUser.Password, s.Listen())
	idle, err := app.Conn(t.Context())
	check(t, err)
	defer func() { _ = idle.Close() }()
	_, err = idle.ExecContext(t.Context(), "BEGIN")
	check(t, err)
	run(t, t.Context(), admin, "UPDATE mysql_servers SET status='OFFLINE_SOFT'", "LOAD MYSQL SERVERS TO RUNTIME")
	held := make(chan error, 1)
	go func() {
		_, err := app.ExecContext(t.Context(), "DO 1")
		held <- err
	}()
	check(t, lab.Eventually(t.Context(), "a held statement", 5*time.Millisecond, func() (bool, string) {
		var n int
		err := admin.QueryRowContext(t.Context(),
			"SELECT COUNT(*) FROM stats_mysql_processlist WHERE command='Query'").Scan(&n)
		return n == 1, fmt.Sprint(n, err)
	}))
	check(t, s.Close())
	if err := <-held; err == nil {
		t.Fatal("a held statement survived Close")
	}
	check(t, s.Close())
}

func TestSessionsAndLoadsAtOnce(t *testing.T) {
	l := lab.ForTest(t, lab.Options{Logf: func(string, ...any) {}})
	s, admin := serving(t, l)
	app := open(t, lab.AppUser.Name, lab.AppUser.Password, s.Listen())
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				var n int
				if err := app.QueryRowContext(t.Context(), "SELECT ?", 7).Scan(&n); err != nil || n != 7 {
					t.Errorf("%d, %v", n, err)
					return
				}
			}
		})
	}
	for status := 0; ctx.Err() == nil; status++ {
		run(t, t.Context(), admin,
			"UPDATE mysql_servers SET status='"+[]string{"OFFLINE_SOFT", "ONLINE"}[status%2]+"'", "LOAD MYSQL SERVERS TO RUNTIME",
			"SELECT * FROM stats_mysql_connection_pool", "SELECT * FROM stats_mysql_processlist")
	}
	run(t, t.Context(), admin, "UPDATE mysql_servers SET status='ONLINE'", "LOAD MYSQL SERVERS TO RUNTIME")
	wg.Wait()
}

func TestNoStartServesClientsOnlyWhenTold(t *testing.T) {
	s := start(t, standin.Config{NoStart: true, AdminCredentials: "root:secret"})
	if c, err := net.Dial("tcp", s.Listen()); err == nil {
		_ = c.Close()
		t.Fatal("clients are let in before PROXYSQL START")
	}
	run(t, t.Context(), open(t, "root", "secret", s.Admin()), "PROXYSQL START")
	c, err := net.Dial("tcp", s.Listen())
	check(t, err)
	check(t, c.Close())
	run(t, t.Context(), open(t, "root", "secret", s.Admin()), "PROXYSQL SHUTDOWN")
	<-s.Done()
}

func TestStatisticsUsersMayOnlyRead(t *testing.T) {
	s := start(t, standin.Config{})
	db := open(t, "stats", "stats", s.Admin())
	run(t, t.Context(), db, "SELECT * FROM stats_mysql_global")
	for _, statement := range []string{"DELETE FROM mysql_servers", "LOAD MYSQL SERVERS TO RUNTIME"} {
		_, err := db.ExecContext(t.Context(), statement)
		wantCode(t, err, 1045)
	}
	run(t, t.Context(), open(t, "admin", "admin", s.Admin()), "DELETE FROM mysql_servers")
}

func TestSchedulerRunsWithoutAnEnvironment(t *testing.T) {
	file := t.TempDir() + "/ran"
	s := start(t, standin.Config{})
	run(t, t.Context(), open(t, "admin", "admin", s.Admin()),
		"INSERT INTO scheduler (interval_ms, filename, arg1, arg2) VALUES (100, '/bin/sh', '-c', 'env -u PWD -u _ -u SHLVL -u OLDPWD > "+
			file+".new && mv "+file+".new "+file+"')", "LOAD SCHEDULER TO RUNTIME")
	check(t, lab.Eventually(t.Context(), "the program to run", 20*time.Millisecond, func() (bool, string) {
		return readable(file)
	}))
}

func BenchmarkStatements(b *testing.B) {
	l := lab.ForTest(b, lab.Options{Logf: func(string, ...any) {}})
	s, _ := serving(b, l)
	app := open(b, lab.AppUser.Name, lab.AppUser.Password, s.Listen())
	app.SetMaxIdleConns(16)
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var n int
			if err := app.QueryRowContext(b.Context(), "SELECT 1").Scan(&n); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "statements/s")
}
