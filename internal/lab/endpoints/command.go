package endpoints

import (
	"slices"
	"strings"
	"sync"

	"github.com/remora-ha/remora/internal/standin/wire"
)

// command is one statement as it is understood. It writes a whole answer, or gives an error.
type command struct {
	// changes says that the fleet's lock is to be held for writing.
	changes bool
	// reads says that it is what makes a command a reading.
	reads bool
	run   func(in *Instance, a *wire.Answer, more bool) *wire.Error
}

// commands keeps what texts mean: the same few are sent again and again.
type commands struct {
	known   sync.Map // text → []command
	mu      sync.Mutex
	kept    int
	unknown strangers
}

// keptTexts bounds what is kept of texts that do not come again.
const keptTexts = 1000

// strangers are statements that were not understood.
type strangers struct {
	mu    sync.Mutex
	texts []string
}

func (s *strangers) add(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.texts) < 100 && !slices.Contains(s.texts, text) {
		s.texts = append(s.texts, text)
	}
}

func (s *strangers) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.texts)
}

// query answers a text that may hold several statements.
func (in *Instance) query(text []byte, a *wire.Answer) {
	list := in.fleet.commands.understand(string(text))
	for i, c := range list {
		more := i+1 < len(list)
		if c.reads {
			in.fleet.count.readings.Add(1)
		}
		if err := in.do(c, a, more); err != nil {
			a.Err(err)
			return
		}
	}
}

func (in *Instance) do(c command, a *wire.Answer, more bool) *wire.Error {
	if c.changes {
		in.fleet.mu.Lock()
		defer in.fleet.mu.Unlock()
		if err := c.run(in, a, more); err != nil {
			return err
		}
		in.cluster.replicate()
		return nil
	}
	in.fleet.mu.RLock()
	defer in.fleet.mu.RUnlock()
	return c.run(in, a, more)
}

func (c *commands) understand(text string) []command {
	if known, ok := c.known.Load(text); ok {
		return known.([]command)
	}
	var list []command
	for _, statement := range split(text, ';') {
		if statement = strings.TrimSpace(statement); statement != "" {
			list = append(list, c.parse(statement))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept++; c.kept <= keptTexts {
		c.known.Store(text, list)
	}
	return list
}

// split cuts a text at a separator that stands in no string and in no parentheses.
func split(text string, at byte) []string {
	var parts []string
	depth, from := 0, 0
	var quote byte
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case quote != 0:
			switch b {
			case '\\':
				i++
			case quote:
				quote = 0
			}
		case b == '\'' || b == '"' || b == '`':
			quote = b
		case b == '(':
			depth++
		case b == ')':
			depth--
		case b == at && depth == 0:
			parts, from = append(parts, text[from:i]), i+1
		}
	}
	return append(parts, text[from:])
}

// refusal is a statement that is refused, with a number of MySQL's.
func refusal(code uint16, message string) command {
	return command{run: func(*Instance, *wire.Answer, bool) *wire.Error {
		return &wire.Error{Code: code, State: "HY000", Message: message}
	}}
}

// change is a statement without a result that changes the model.
func change(do func(in *Instance) *wire.Error) command {
	return command{changes: true, run: func(in *Instance, a *wire.Answer, more bool) *wire.Error {
		if err := do(in); err != nil {
			return err
		}
		a.OK(more)
		return nil
	}}
}

// nothing is a statement that is accepted and means nothing here.
var nothing = command{run: func(_ *Instance, a *wire.Answer, more bool) *wire.Error {
	a.OK(more)
	return nil
}}

// column is one of a result: its name, and its value for an instance.
type column struct {
	name  string
	value func(in *Instance) (text string, null bool)
}

// table is a result of one row, or of none where exists says so.
func table(columns []column, exists func(in *Instance) bool) command {
	head := wire.NewColumns(namesOf(columns)...)
	return command{run: func(in *Instance, a *wire.Answer, more bool) *wire.Error {
		a.Columns(head)
		if exists(in) {
			a.Row()
			for _, c := range columns {
				if text, null := c.value(in); null {
					a.Null()
				} else {
					a.Text(text)
				}
			}
			a.EndRow()
		}
		a.EndRows(more)
		return nil
	}}
}

func namesOf(columns []column) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return names
}

// empty is a result without rows.
func empty(names ...string) command {
	head := wire.NewColumns(names...)
	return command{run: func(_ *Instance, a *wire.Answer, more bool) *wire.Error {
		a.Columns(head)
		a.EndRows(more)
		return nil
	}}
}

// fixed is a value that is always the same.
func fixed(text string) func(*Instance) (string, bool) {
	return func(*Instance) (string, bool) { return text, false }
}

// of is a value of the source that a replica has.
func of(value func(s *source) string) func(*Instance) (string, bool) {
	return func(in *Instance) (string, bool) { return value(in.source), false }
}
