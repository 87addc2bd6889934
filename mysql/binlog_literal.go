package mysql

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// literal spells a value of a row event as SQL, for a session that speaks utf8mb4
// in UTC. exact says that a comparison with it finds the value; ok is false where
// the value cannot be spelled.
func literal(v any, col tableColumn) (text string, exact, ok bool) {
	switch v := v.(type) {
	case nil:
		return "NULL", true, true
	case int8, int16, int32, int64, int:
		return integerLiteral(v, col), true, true
	case uint8, uint16, uint32, uint64:
		return fmt.Sprint(v), true, true
	case float32:
		return strconv.FormatFloat(float64(v), 'e', -1, 64), true, true // as it compares
	case float64:
		return strconv.FormatFloat(v, 'e', -1, 64), true, true
	case string:
		return textLiteral(v, col)
	case []byte:
		return textLiteral(string(v), col)
	default:
		return fmt.Sprintf("/* %T */ NULL", v), false, false
	}
}

// integerLiteral gives an unsigned column its value back: the log knows no sign.
func integerLiteral(v any, col tableColumn) string {
	var n int64
	bits := 64
	switch v := v.(type) {
	case int8:
		n, bits = int64(v), 8
	case int16:
		n, bits = int64(v), 16
	case int32:
		n, bits = int64(v), 32
		if col.kind == "mediumint" {
			bits = 24
		}
	case int64:
		n = v
	case int:
		n = int64(v)
	}
	if n < 0 && (col.unsigned || col.kind == "bit" || col.kind == "set") {
		return strconv.FormatUint(uint64(n)&(1<<(bits-1)|(1<<(bits-1)-1)), 10)
	}
	return strconv.FormatInt(n, 10)
}

// textLiteral spells what the log has as bytes, by the type of its column.
func textLiteral(s string, col tableColumn) (text string, exact, ok bool) {
	switch col.kind {
	case "decimal":
		return s, true, true
	case "date", "datetime", "timestamp", "time", "year":
		return quote(s), true, true
	case "json": // MySQL's; MariaDB's is a longtext
		return readable(s), false, true
	case "binary":
		if pad := col.octets - len(s); pad > 0 { // the log leaves zeros at the end out
			s += strings.Repeat("\x00", pad)
		}
		return "X'" + hex.EncodeToString([]byte(s)) + "'", true, true
	case "varbinary", "tinyblob", "blob", "mediumblob", "longblob",
		"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection":
		return "X'" + hex.EncodeToString([]byte(s)) + "'", true, true
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext":
		switch col.charset {
		case "utf8", "utf8mb3", "utf8mb4", "ascii":
			if printable(s) {
				return readable(s), true, true
			}
		}
		return "_" + col.charset + " X'" + hex.EncodeToString([]byte(s)) + "'", true, true
	}
	// A type that is not known here, such as uuid or inet6, or no table to ask.
	if printable(s) {
		return readable(s), false, false
	}
	return "X'" + hex.EncodeToString([]byte(s)) + "'", false, false
}

// readable keeps a literal on one line, so that no value can end a comment.
func readable(s string) string {
	return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(quote(s))
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r) && r != '\n' && r != '\r' && r != '\t'
	})
}
