package mysql

import (
	"context"
	"strings"
)

// table is what is known of a table whose rows are put into words.
type table struct {
	name    string // `db`.`table`
	columns []tableColumn
	// fixed says why changes of the table cannot be undone; empty where they can.
	fixed string
}

// tableColumn is a column of a table as it is now.
type tableColumn struct {
	name      string
	kind      string // DATA_TYPE, in lower case
	charset   string // empty for what is no text
	unsigned  bool
	generated bool
	octets    int // of a BINARY
}

// table reads a table's columns, once. One that the account may not see, or that is
// gone, has none.
func (r *binlogReader) table(ctx context.Context, db, name string) (*table, error) {
	key := quoteName(db) + "." + quoteName(name)
	if t := r.tables[key]; t != nil {
		return t, nil
	}
	where := " WHERE TABLE_SCHEMA=" + quote(db) + " AND TABLE_NAME=" + quote(name)
	query := "SELECT COLUMN_NAME AS name, DATA_TYPE AS kind, COLUMN_TYPE AS full, CHARACTER_SET_NAME AS charset, EXTRA AS extra," +
		" CHARACTER_OCTET_LENGTH AS octets FROM information_schema.COLUMNS" + where + " ORDER BY ORDINAL_POSITION;" +
		"SELECT COUNT(*) AS n FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA=" + quote(db) + " AND EVENT_OBJECT_TABLE=" + quote(name) + ";" +
		"SELECT COUNT(*) AS n FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE UNIQUE_CONSTRAINT_SCHEMA=" + quote(db) +
		" AND REFERENCED_TABLE_NAME=" + quote(name) + " AND (DELETE_RULE IN ('CASCADE','SET NULL') OR UPDATE_RULE IN ('CASCADE','SET NULL'));" +
		"SELECT ENGINE AS engine FROM information_schema.TABLES" + where
	results, err := r.session.query(ctx, query)
	if err != nil {
		return nil, r.fail(plain("the columns of %s", key), err)
	}
	t := &table{name: key}
	for _, line := range results[0] {
		t.columns = append(t.columns, tableColumn{
			name: line["name"], kind: strings.ToLower(line["kind"]), charset: line["charset"],
			unsigned:  strings.Contains(strings.ToLower(line["full"]), "unsigned"),
			generated: strings.Contains(strings.ToUpper(line["extra"]), "GENERATED") && !strings.Contains(strings.ToUpper(line["extra"]), "DEFAULT_GENERATED"),
			octets:    line.integer("octets"),
		})
	}
	switch {
	case len(t.columns) == 0:
		t.fixed = "its columns cannot be read"
	case results[1].first()["n"] != "0":
		t.fixed = "it has triggers, which would run again"
	case results[2].first()["n"] != "0":
		t.fixed = "a foreign key cascades from it, which leaves no trace in the binary log"
	case !strings.EqualFold(results[3].first()["engine"], "InnoDB"):
		t.fixed = "its engine is not InnoDB, so nothing of it could be taken back"
	}
	r.tables[key] = t
	return t, nil
}
