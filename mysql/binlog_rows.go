package mysql

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	binlog "github.com/go-mysql-org/go-mysql/replication"
)

// rows puts a row event into words: a statement a row, and the one that undoes it.
func (r *binlogReader) rows(ctx context.Context, e *binlog.RowsEvent) error {
	t, err := r.table(ctx, string(e.Table.Schema), string(e.Table.Table))
	if err != nil {
		return err
	}
	images := make([]image, len(e.Rows))
	for n, values := range e.Rows {
		images[n] = newImage(t, values)
		if n < len(e.SkippedColumns) && len(e.SkippedColumns[n]) > 0 {
			images[n].skip(e.SkippedColumns[n])
		}
	}
	step := 1
	if e.Type() == binlog.EnumRowsEventTypeUpdate {
		step = 2
	}
	for n := 0; n+step <= len(images); n += step {
		c := changeOf(e.Type(), t, images[n:n+step])
		if c.note == "" {
			c.note = r.note
		}
		if r.discards {
			c.do = ""
		} else {
			c.undo = ""
		}
		if r.size += len(c.do) + len(c.undo); r.size > transactionLimit {
			return errFull
		}
		c.table, r.note = t.name, ""
		r.now.changes = append(r.now.changes, c)
	}
	return nil
}

// changeOf puts one change into words; an update has the images before and after it.
func changeOf(kind binlog.EnumRowsEventType, t *table, rows []image) change {
	var c change
	before, after := rows[0], rows[len(rows)-1]
	switch kind {
	case binlog.EnumRowsEventTypeInsert:
		c = change{do: before.insert(), undo: before.remove(), fixed: before.fixed}
	case binlog.EnumRowsEventTypeDelete:
		c = change{do: before.remove(), undo: before.insert(), fixed: before.fixed}
	case binlog.EnumRowsEventTypeUpdate:
		c = change{do: before.update(after), undo: after.update(before), fixed: cmp.Or(before.fixed, after.fixed)}
		if c.do == "" {
			c.note = "a row of " + t.name + " was written as it was"
		}
	default:
		c = change{note: "rows of an unknown kind were changed in " + t.name, fixed: "rows of an unknown kind"}
	}
	if !before.replayable || !after.replayable {
		c.note, c.do = "not replayable: "+c.fixed+": "+c.do, ""
	}
	c.doubt = cmp.Or(before.doubt, after.doubt)
	return c
}

// image is one row as the binary log has it.
type image struct {
	table      *table
	names      []string // quoted
	literals   []string
	usable     []bool // in a comparison
	text       []bool // compared by a collation
	skipped    []bool
	generated  []bool
	fixed      string // why a change with it cannot be undone
	doubt      string // what its statements do not say exactly
	replayable bool
}

func newImage(t *table, values []any) image {
	n := len(values)
	i := image{
		table: t, names: make([]string, n), literals: make([]string, n), usable: make([]bool, n), text: make([]bool, n), skipped: make([]bool, n), generated: make([]bool, n),
		fixed: t.fixed, replayable: true,
	}
	known := len(t.columns) == n
	if !known {
		i.replayable = false
		if i.fixed = "the columns of " + t.name + " cannot be read, or are not what they were"; len(t.columns) == 0 {
			i.fixed = "the columns of " + t.name + " cannot be read: grant SELECT on it"
		}
	}
	for k, v := range values {
		col := tableColumn{name: fmt.Sprintf("@%d", k+1)}
		if known {
			col = t.columns[k]
		}
		i.names[k], i.generated[k] = quoteName(col.name), col.generated
		i.text[k] = col.charset != "" && col.kind != "enum" && col.kind != "set"
		lit, exact, ok := literal(v, col)
		i.literals[k], i.usable[k] = lit, exact
		if col.kind == "json" && v != nil { // MySQL's
			i.doubt = fmt.Sprintf("column %s of %s is JSON, whose decimals and times become strings", col.name, t.name)
			i.fixed = i.doubt
		}
		if !ok && known {
			i.replayable = false
			i.fixed = fmt.Sprintf("column %s of %s is of type %s, which is not put into words", col.name, t.name, col.kind)
		}
	}
	return i
}

// skip leaves columns out that the event does not have: it is no full image.
func (i *image) skip(columns []int) {
	for _, k := range columns {
		i.skipped[k] = true
	}
	if i.fixed == "" {
		i.fixed = "the binary log has only a part of each row of " + i.table.name + " (binlog_row_image)"
	}
}

func (i image) insert() string {
	var names, values []string
	for k := range i.names {
		if !i.skipped[k] && !i.generated[k] {
			names, values = append(names, i.names[k]), append(values, i.literals[k])
		}
	}
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", i.table.name, strings.Join(names, ", "), strings.Join(values, ", "))
}

func (i image) remove() string {
	return fmt.Sprintf("DELETE FROM %s WHERE %s LIMIT 1", i.table.name, i.where())
}

func (i image) update(to image) string {
	var set []string
	changes := false
	for k := range to.names {
		if to.skipped[k] || to.generated[k] {
			continue
		}
		// Also what stays as it is: ON UPDATE CURRENT_TIMESTAMP is for what is not named.
		set = append(set, to.names[k]+"="+to.literals[k])
		changes = changes || i.skipped[k] || to.literals[k] != i.literals[k]
	}
	if !changes { // the same row again
		return ""
	}
	return fmt.Sprintf("UPDATE %s SET %s WHERE %s LIMIT 1", i.table.name, strings.Join(set, ", "), i.where())
}

// where compares all columns that can be compared exactly: a row that was changed
// since is not met.
func (i image) where() string {
	var terms []string
	for k := range i.names {
		switch {
		case i.skipped[k] || !i.usable[k] || i.generated[k]:
		case i.literals[k] == "NULL":
			terms = append(terms, i.names[k]+" IS NULL")
		case i.text[k]: // a collation takes others for equal; the first term is for the index
			terms = append(terms, fmt.Sprintf("%s=%s AND CAST(%s AS BINARY)=CAST(%s AS BINARY)", i.names[k], i.literals[k], i.names[k], i.literals[k]))
		default:
			terms = append(terms, i.names[k]+"="+i.literals[k])
		}
	}
	if len(terms) == 0 {
		return "FALSE"
	}
	return strings.Join(terms, " AND ")
}
