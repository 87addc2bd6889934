package standin

import (
	"bytes"
	"regexp"
	"strings"
)

// rule is a row of mysql_query_rules as far as the stand-in regards it.
type rule struct {
	username    string
	schemaname  string
	flagIn      int
	digest      *regexp.Regexp
	pattern     *regexp.Regexp
	negate      bool
	flagOut     *int
	destination *int
	retries     *int
	multiplex   *int
	apply       bool
}

// rules are the active ones in the order of their ids.
type rules struct {
	list       []rule
	needDigest bool
}

// match finds where a statement goes: the user's hostgroup, unless a rule knows better.
func (r *rules) match(s *session, text []byte) target {
	t := target{group: s.user.hostgroup, retries: -1, multiplex: -1}
	if len(r.list) == 0 {
		return t
	}
	var digested []byte
	if r.needDigest {
		digested = digestOf(text)
	}
	flag := 0
	for i := range r.list {
		rule := &r.list[i]
		if rule.flagIn != flag || !rule.matches(s, text, digested) {
			continue
		}
		if rule.destination != nil && *rule.destination >= 0 {
			t.group = *rule.destination
		}
		if rule.retries != nil {
			t.retries = *rule.retries
		}
		if rule.multiplex != nil {
			t.multiplex = *rule.multiplex
		}
		if rule.flagOut != nil {
			flag = *rule.flagOut
		}
		if rule.apply {
			break
		}
	}
	return t
}

func (r *rule) matches(s *session, text, digested []byte) bool {
	if r.username != "" && r.username != s.user.name || r.schemaname != "" && r.schemaname != s.schema {
		return false
	}
	if r.digest != nil && r.digest.Match(digested) == r.negate {
		return false
	}
	return r.pattern == nil || r.pattern.Match(text) != r.negate
}

// compileRule reads a pattern with the modifiers of its row; one that Go's engine does not know matches nothing, and
// is reported by the caller.
func compileRule(pattern, modifiers string) (*regexp.Regexp, error) {
	if pattern == "" {
		return nil, nil
	}
	if strings.Contains(strings.ToUpper(modifiers), "CASELESS") {
		pattern = "(?i)" + pattern
	}
	return regexp.Compile(pattern)
}

// digestOf replaces literals by question marks and runs of blanks by one, as far as rules commonly rely on it.
func digestOf(text []byte) []byte {
	out := make([]byte, 0, len(text))
	text = skipBlank(bytes.TrimRight(text, " \t\r\n;"))
	for i := 0; i < len(text); i++ {
		c := text[i]
		last := byte(' ')
		if len(out) > 0 {
			last = out[len(out)-1]
		}
		switch {
		case c == '\'' || c == '"':
			i = skipQuoted(text, i)
			out = append(out, '?')
		case c >= '0' && c <= '9' && !isNameByte(last):
			for i+1 < len(text) && (isNameByte(text[i+1]) || text[i+1] == '.') {
				i++
			}
			out = append(out, '?')
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if last != ' ' {
				out = append(out, ' ')
			}
		default:
			out = append(out, c)
		}
	}
	return out
}

func isNameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}
