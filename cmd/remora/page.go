package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// page is what a view writes on. It is written out whole, so that a redrawn
// frame does not flicker.
type page struct {
	b     strings.Builder
	color bool
	zone  *time.Location // instants are shown in it
}

// tone is how much a piece of text calls for attention.
type tone string

// The tones, as ANSI attributes.
const (
	plain tone = ""
	bold  tone = "1"
	dim   tone = "2"
	good  tone = "32"
	warn  tone = "33"
	bad   tone = "31"
)

// cell is a piece of text with its tone.
type cell struct {
	text string
	tone tone
}

func (p *page) paint(t tone, text string) string {
	if !p.color || t == plain || text == "" {
		return text
	}
	return "\x1b[" + string(t) + "m" + text + "\x1b[0m"
}

// say writes one line, indented by `in` spaces.
func (p *page) say(in int, t tone, format string, args ...any) {
	p.b.WriteString(strings.Repeat(" ", in))
	p.b.WriteString(p.paint(t, clean(fmt.Sprintf(format, args...))))
	p.b.WriteByte('\n')
}

// row writes pieces with a space between them.
func (p *page) row(in int, cells ...cell) {
	p.b.WriteString(strings.Repeat(" ", in))
	first := true
	for _, c := range cells {
		if c.text == "" {
			continue
		}
		if !first {
			p.b.WriteByte(' ')
		}
		first = false
		p.b.WriteString(p.paint(c.tone, clean(c.text)))
	}
	p.b.WriteByte('\n')
}

func (p *page) gap() { p.b.WriteByte('\n') }

// heading begins a section, after a gap unless the page is empty.
func (p *page) heading(format string, args ...any) {
	if p.b.Len() > 0 {
		p.gap()
	}
	p.say(0, bold, format, args...)
}

func (p *page) instant(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(p.zone).Format("2006-01-02 15:04:05 MST")
}

// table aligns its columns. An empty cell shows as "-", a column without any
// value is left out, and so is a table without rows.
type table struct {
	head []string
	rows [][]cell
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

func (p *page) table(in int, t *table) {
	if len(t.rows) == 0 {
		return
	}
	width := make([]int, len(t.head))
	for _, r := range t.rows {
		for n := range r {
			r[n].text = clean(r[n].text)
			if r[n].text != "" {
				width[n] = max(width[n], utf8.RuneCountInString(r[n].text), utf8.RuneCountInString(t.head[n]))
			}
		}
	}
	head := make([]cell, len(t.head))
	for n, h := range t.head {
		head[n] = cell{h, dim}
	}
	p.tableRow(in, head, width)
	for _, r := range t.rows {
		p.tableRow(in, r, width)
	}
}

func (p *page) tableRow(in int, cells []cell, width []int) {
	p.b.WriteString(strings.Repeat(" ", in))
	pad := 0
	for n, c := range cells {
		if width[n] == 0 {
			continue
		}
		if c.text == "" {
			c = cell{"-", dim}
		}
		p.b.WriteString(strings.Repeat(" ", pad))
		p.b.WriteString(p.paint(c.tone, c.text))
		pad = width[n] - utf8.RuneCountInString(c.text) + 2
	}
	p.b.WriteByte('\n')
}

// clean makes text from elsewhere fit for a line of a terminal: what a server
// says in an error must not move the cursor.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
