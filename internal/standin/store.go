package standin

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // the SQL dialect of the admin interface
)

// store holds the memory layer with the disk layer attached (and, as running, what was loaded to the runtime last), as
// one SQLite handle that all admin sessions share.
// Its caller serialises: the real one holds a mutex for a statement, and this one relies on it.
type store struct {
	db   *sql.DB
	conn *sql.Conn
	// config are the tables that exist in memory, on disk and at runtime.
	config []table
}

// answer is what a statement yields; columns are nil when it yields no rows.
type answer struct {
	columns  []string
	rows     [][]*string
	affected int64
}

func openStore(ctx context.Context, dir string) (_ *store, err error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, fmt.Errorf("open memory: %w", err)
	}
	db.SetMaxOpenConns(1)
	s := &store{db: db}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.conn, err = db.Conn(ctx); err != nil {
		return nil, fmt.Errorf("open memory: %w", err)
	}
	disk := url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(dir, "proxysql.db"))}
	for _, attach := range []string{
		fmt.Sprintf("ATTACH DATABASE %s AS disk", quote(disk.String())),
		"ATTACH DATABASE ':memory:' AS stats",
		"ATTACH DATABASE ':memory:' AS monitor",
		"ATTACH DATABASE ':memory:' AS running",
		"PRAGMA disk.synchronous=0",
	} {
		if err := s.exec(ctx, attach); err != nil {
			return nil, err
		}
	}
	return s, s.create(ctx)
}

func (s *store) Close() error {
	var err error
	if s.conn != nil {
		err = s.conn.Close()
	}
	return errors.Join(err, s.db.Close())
}

func (s *store) create(ctx context.Context) error {
	var err error
	if s.config, err = tables("config.sql"); err != nil {
		return err
	}
	for _, t := range s.config {
		for _, sql := range []string{t.in("main", ""), t.in("main", "runtime_"), t.in("disk", ""), t.in("running", "")} {
			if err := s.exec(ctx, sql); err != nil {
				return err
			}
		}
	}
	for _, database := range []string{"stats", "monitor"} {
		list, err := tables(database + ".sql")
		if err != nil {
			return err
		}
		for _, t := range list {
			if err := s.exec(ctx, t.in(database, "")); err != nil {
				return err
			}
		}
	}
	variables, err := defaultVariables()
	if err != nil {
		return err
	}
	for name, v := range variables {
		if err := s.insert(ctx, "main.global_variables", name, v.value); err != nil {
			return err
		}
	}
	return nil
}

// exec runs a statement of the stand-in's own.
func (s *store) exec(ctx context.Context, statement string) error {
	if _, err := s.conn.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// query runs the first statement of a text and ignores the rest, as sqlite3_prepare does. The count of affected rows
// is that of the shared handle: a statement that changes nothing reports the change before it.
func (s *store) query(ctx context.Context, text string) (*answer, error) {
	rows, err := s.conn.QueryContext(ctx, firstStatement(text))
	if err != nil {
		return nil, err
	}
	a, err := collect(rows)
	if err != nil {
		return nil, err
	}
	if len(a.columns) > 0 {
		return a, nil
	}
	a.columns = nil
	return a, s.conn.QueryRowContext(ctx, "SELECT changes()").Scan(&a.affected)
}

func collect(rows *sql.Rows) (_ *answer, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	a := &answer{columns: columns}
	values := make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := make([]*string, len(columns))
		for i, v := range values {
			row[i] = asText(v)
		}
		a.rows = append(a.rows, row)
	}
	return a, rows.Err()
}

// asText renders a value as sqlite3_column_text does; NULL is nil.
func asText(v any) *string {
	var text string
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		text = v
	case []byte:
		text = string(v)
	case int64:
		text = strconv.FormatInt(v, 10)
	case float64:
		text = strconv.FormatFloat(v, 'g', 15, 64)
		if mantissa, exponent, scientific := strings.Cut(text, "e"); !strings.ContainsAny(mantissa, ".IN") {
			text = mantissa + ".0"
			if scientific {
				text += "e" + exponent
			}
		}
	default:
		text = fmt.Sprint(v)
	}
	return &text
}

// quote makes an SQLite string literal.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// firstStatement cuts a text at its first semicolon outside of quotes and comments.
func firstStatement(text string) string {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == ';':
			return text[:i]
		case c == '\'' || c == '"' || c == '`':
			end := strings.IndexByte(text[i+1:], c)
			if end < 0 {
				return text
			}
			i += end + 1
		case strings.HasPrefix(text[i:], "--"):
			end := strings.IndexByte(text[i:], '\n')
			if end < 0 {
				return text
			}
			i += end
		case strings.HasPrefix(text[i:], "/*"):
			end := strings.Index(text[i:], "*/")
			if end < 0 {
				return text
			}
			i += end + 1
		}
	}
	return text
}
