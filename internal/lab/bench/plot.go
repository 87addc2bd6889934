package bench

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/template"
)

// plot shows, for each result, every round as a bar: the phases of an outage, or the first figure alone. The shortest is on
// top; a dark line is the median, a red one what is promised of it.
type plot struct {
	Width, Height float64
	Title         string
	Panels        []panel
	Legend        []part
}

type panel struct {
	Y, H          float64
	Title         string
	Bars          []bar
	Median, Limit float64 // where the lines are; 0 for none
	Ticks         []part
}

type bar struct {
	Y     float64
	Parts []part
}

// part is a piece of a bar, or a text at a place.
type part struct {
	X, W         float64
	Text, Colour string
}

// Where things are, in pixels.
const (
	plotLeft   = 20.0
	plotWidth  = 1000.0
	plotTop    = 64.0
	barPitch   = 6.0
	panelSpace = 56.0
)

var phaseColours = []string{"#c0392b", "#e59866", "#d4ac0d", "#7d6608", "#8e44ad", "#2874a6", "#1e8449", "#76d7c4", "#7f8c8d"}

func newPlot(r *Report) plot {
	p := plot{Width: 2*plotLeft + plotWidth, Title: r.Machine}
	y := plotTop
	for _, res := range r.Results {
		if len(res.Figures) == 0 || len(res.Figures[0].Values) == 0 {
			continue
		}
		if len(p.Legend) == 0 && len(res.Phases) > 0 {
			p.Legend = legend(res.Phases)
		}
		next := newPanel(res, y)
		p.Panels = append(p.Panels, next)
		y += next.H + panelSpace
	}
	p.Height = y
	return p
}

func legend(phases []*Figure) []part {
	var parts []part
	for i, f := range phases {
		parts = append(parts, part{X: plotLeft + float64(i)*100, Text: f.Name, Colour: phaseColours[i%len(phaseColours)]})
	}
	return parts
}

func newPanel(res *Result, y float64) panel {
	f := res.Figures[0]
	s := summarise(f.Values)
	scale := plotWidth / max(s.Max, f.Limit, 1e-9) * 0.98
	pl := panel{
		Y: y, H: barPitch * float64(len(f.Values)), Median: plotLeft + scale*s.Median,
		Title: fmt.Sprintf("%s%s: %s, n=%d, median %.0f %s, max %.0f %s", res.Name, res.On(), f.Name, len(f.Values), s.Median, f.Unit, s.Max, f.Unit),
	}
	if f.Limit > 0 {
		pl.Limit = plotLeft + scale*f.Limit
	}
	for i := range 6 {
		v := max(s.Max, f.Limit) * float64(i) / 5
		pl.Ticks = append(pl.Ticks, part{X: plotLeft + scale*v, Text: fmt.Sprintf("%.4g %s", v, f.Unit)})
	}
	order := make([]int, len(f.Values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(f.Values[a], f.Values[b]) })
	for line, round := range order {
		b := bar{Y: y + barPitch*float64(line)}
		x := plotLeft
		for i, ph := range res.Phases {
			if round < len(ph.Values) {
				w := scale * ph.Values[round]
				b.Parts = append(b.Parts, part{X: x, W: w, Colour: phaseColours[i%len(phaseColours)],
					Text: fmt.Sprintf("round %d, %s: %.1f %s", round+1, ph.Name, ph.Values[round], ph.Unit)})
				x += w
			}
		}
		if len(b.Parts) == 0 {
			b.Parts = []part{{X: x, W: scale * f.Values[round], Colour: "#2874a6", Text: fmt.Sprintf("round %d: %.1f %s", round+1, f.Values[round], f.Unit)}}
		}
		pl.Bars = append(pl.Bars, b)
	}
	return pl
}

// Bottom is where a panel's bars end.
func (p panel) Bottom() float64 { return p.Y + p.H }

// TextY is the base line of a panel's title.
func (p panel) TextY() float64 { return p.Y - 6 }

// TickY is where its scale stands.
func (p panel) TickY() float64 { return p.Y + p.H + 14 }

// TextX is where a name stands beside its colour.
func (p part) TextX() float64 { return p.X + 14 }

func (p plot) draw(w io.Writer) error { return picture.Execute(w, p) }

var picture = template.Must(template.New("plot").Funcs(template.FuncMap{"text": template.HTMLEscapeString}).Parse(
	`<svg xmlns="http://www.w3.org/2000/svg" width="{{.Width}}" height="{{.Height}}" viewBox="0 0 {{.Width}} {{.Height}}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="white"/>
<text x="20" y="18">Each bar is a round, the shortest on top; black: the median, red: what is promised of it. {{text .Title}}</text>
{{range .Legend}}<rect x="{{.X}}" y="26" width="10" height="10" fill="{{.Colour}}"/><text x="{{.TextX}}" y="35">{{text .Text}}</text>
{{end}}{{range $p := .Panels}}<text x="20" y="{{.TextY}}" font-weight="bold">{{text .Title}}</text>
{{range .Bars}}{{$y := .Y}}{{range .Parts}}<rect x="{{printf "%.1f" .X}}" y="{{printf "%.1f" $y}}" width="{{printf "%.1f" .W}}" height="5" fill="{{.Colour}}"><title>{{text .Text}}</title></rect>
{{end}}{{end}}<line x1="{{printf "%.1f" .Median}}" x2="{{printf "%.1f" .Median}}" y1="{{.Y}}" y2="{{.Bottom}}" stroke="black"/>
{{if .Limit}}<line x1="{{printf "%.1f" .Limit}}" x2="{{printf "%.1f" .Limit}}" y1="{{.Y}}" y2="{{.Bottom}}" stroke="red"/>
{{end}}{{range .Ticks}}<text x="{{printf "%.1f" .X}}" y="{{$p.TickY}}" fill="#666" text-anchor="middle">{{.Text}}</text>
{{end}}{{end}}</svg>
`))
