package chaos

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/internal/lab/fleet"
)

// timeline is a plot: faults as bands, from the blow to the end and on to when all was well, the acknowledged writes per
// second, who wrote, for each client when it was acknowledged nothing for a second or more, and a list of the faults.
type timeline struct {
	Title         string
	Width, Height float64
	PlotHeight    float64 // without the list
	Names         []tick  // the list
	Ticks         []tick
	Faults        []band
	Rate          string // points of a polyline
	RateMax       int
	Writers       []band
	Legend        []band
	Clients       []strip
}

type tick struct {
	X, Y float64
	Text string
}

// band is a time, of a colour.
type band struct {
	X, Y, W, Settle float64
	Text, Colour    string
	Number          int
}

// strip is one client's time, with its gaps.
type strip struct {
	Y    float64
	Text string
	Gaps []band
}

// Where things are, in pixels.
const (
	plotLeft    = 70.0
	plotWidth   = 1500.0
	clientsTop  = 265.0
	clientPitch = 12.0
	rateTop     = 60.0
	rateHeight  = 150.0
	listColumns = 4
	// gapLeast is the shortest silence of a client that is drawn.
	gapLeast = time.Second
)

var colours = []string{"#3b6fb6", "#d98c2b", "#4a9a5b", "#8a5fb0", "#b05f7a"}

func (t timeline) empty() bool { return t.Width == 0 }

func newTimeline(r *Report, acked []lab.Write, reigns []reign, f *fleet.Fleet) timeline {
	total := r.Ended.Sub(r.Began)
	x := func(at time.Time) float64 {
		return plotLeft + plotWidth*min(1, max(0, at.Sub(r.Began).Seconds()/total.Seconds()))
	}
	t := timeline{
		Title: fmt.Sprintf("seed %d, %s, proxies: %s, %d writes acknowledged, %d lost, %d by two writers",
			r.Seed, r.Servers, ProxyName(r.Proxies), r.Verdict.Acked, r.Verdict.Lost, r.Verdict.Late),
		Width: plotLeft + plotWidth + 20,
	}
	every := max(time.Second, (total / 15).Round(10*time.Second))
	for at := time.Duration(0); at <= total; at += every {
		t.Ticks = append(t.Ticks, tick{X: x(r.Began.Add(at)), Text: at.String()})
	}
	for i, round := range r.Rounds {
		from, to, well := x(round.Struck), x(round.Healed), x(round.Well)
		t.Faults = append(t.Faults, band{X: from, W: to - from, Settle: well - to, Text: round.String(), Number: i + 1})
	}
	t.rate(r.Began, total, acked)
	for i, s := range f.DB.Servers {
		colour := colours[i%len(colours)]
		t.Legend = append(t.Legend, band{X: plotLeft + float64(i)*70, Text: s.Name, Colour: colour})
		for _, reign := range reigns {
			if reign.server == s.ServerID && reign.first != 0 {
				from, to := x(time.UnixMicro(reign.first)), x(time.UnixMicro(reign.last))
				t.Writers = append(t.Writers, band{X: from, W: max(1, to-from), Text: s.Name, Colour: colour})
			}
		}
	}
	t.clients(r, acked, len(f.Nodes), x)
	t.PlotHeight = clientsTop + clientPitch*float64(len(t.Clients)) + 20
	t.list(r.Rounds)
	return t
}

// list names the rounds in columns below the plot.
func (t *timeline) list(rounds []Round) {
	lines := (len(rounds) + listColumns - 1) / listColumns
	for i, r := range rounds {
		t.Names = append(t.Names, tick{
			X: plotLeft + plotWidth/listColumns*float64(i/lines), Y: t.PlotHeight + clientPitch*float64(i%lines+1),
			Text: fmt.Sprintf("%d. %s", i+1, r.Fault),
		})
	}
	t.Height = t.PlotHeight + clientPitch*float64(lines+1)
}

// rate draws the acknowledged writes of each second.
func (t *timeline) rate(began time.Time, total time.Duration, acked []lab.Write) {
	counts := make([]int, int(total/time.Second)+1)
	for _, w := range acked {
		if i := int(w.At.Sub(began) / time.Second); i >= 0 && i < len(counts) && !w.At.Before(began) {
			counts[i]++
		}
	}
	t.RateMax = max(1, slices.Max(counts))
	var points strings.Builder
	for i, n := range counts {
		at := plotLeft + plotWidth*(float64(i)+0.5)/total.Seconds()
		fmt.Fprintf(&points, "%.1f,%.1f ", min(at, plotLeft+plotWidth), rateTop+rateHeight*(1-float64(n)/float64(t.RateMax)))
	}
	t.Rate = points.String()
}

// clients draws the silences of each client.
func (t *timeline) clients(r *Report, acked []lab.Write, nodes int, x func(time.Time) float64) {
	byWriter := map[int][]time.Time{}
	for _, w := range acked {
		byWriter[w.Writer] = append(byWriter[w.Writer], w.At)
	}
	ids := make([]int, 0, len(byWriter))
	for id := range byWriter {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	slices.SortStableFunc(ids, func(a, b int) int { return (a-1)%nodes - (b-1)%nodes })
	for i, id := range ids {
		s := strip{Y: clientsTop + clientPitch*float64(i), Text: fmt.Sprintf("node%d #%d", (id-1)%nodes+1, id)}
		last := r.Began
		for _, at := range append(byWriter[id], r.Ended) {
			if gap := at.Sub(last); gap >= gapLeast {
				s.Gaps = append(s.Gaps, band{X: x(last), Y: s.Y, W: x(at) - x(last), Text: gap.Round(10 * time.Millisecond).String()})
			}
			last = at
		}
		t.Clients = append(t.Clients, s)
	}
}

func (t timeline) draw(w io.Writer) error { return plot.Execute(w, t) }

// The texts are ours but for errors in the rounds' sentences.
var plot = template.Must(template.New("timeline").Funcs(template.FuncMap{"text": template.HTMLEscapeString}).Parse(
	`<svg xmlns="http://www.w3.org/2000/svg" width="{{.Width}}" height="{{.Height}}" viewBox="0 0 {{.Width}} {{.Height}}" font-family="sans-serif" font-size="10">
<rect width="100%" height="100%" fill="white"/>
<text x="70" y="16" font-size="13">{{text .Title}}</text>
<text x="70" y="32" fill="#666">Bands: a fault (dark) until all was well (light); point at one for its story. Line: writes acknowledged per second. Then who wrote, and each client's silences of a second or more.</text>
{{range .Faults}}<g><title>{{.Number}}. {{text .Text}}</title>
<rect x="{{printf "%.1f" .X}}" y="44" width="{{printf "%.1f" .W}}" height="{{$.Bands}}" fill="#d9534f" fill-opacity="0.22"/>
<rect x="{{printf "%.1f" .X}}" y="44" width="{{printf "%.1f" .W}}" height="10" fill="#d9534f" fill-opacity="0.6"/>
<rect x="{{printf "%.1f" .After}}" y="44" width="{{printf "%.1f" .Settle}}" height="{{$.Bands}}" fill="#f0ad4e" fill-opacity="0.18"/>
<text x="{{printf "%.1f" .X}}" y="52" font-size="8">{{.Number}}</text></g>
{{end}}<text x="4" y="70">{{.RateMax}}/s</text><text x="4" y="210">0/s</text>
<line x1="70" x2="1570" y1="210" y2="210" stroke="#999"/>
<polyline points="{{.Rate}}" fill="none" stroke="#222" stroke-width="1"/>
<text x="4" y="233">writer</text>
{{range .Writers}}<rect x="{{printf "%.1f" .X}}" y="222" width="{{printf "%.1f" .W}}" height="14" fill="{{.Colour}}"><title>{{text .Text}}</title></rect>
{{end}}{{range .Legend}}<rect x="{{.X}}" y="242" width="10" height="10" fill="{{.Colour}}"/><text x="{{.LegendX}}" y="251">{{text .Text}}</text>
{{end}}{{range .Clients}}<text x="4" y="{{.TextY}}">{{text .Text}}</text><rect x="70" y="{{.Y}}" width="1500" height="8" fill="#8fc99a"/>
{{range .Gaps}}<rect x="{{printf "%.1f" .X}}" y="{{.Y}}" width="{{printf "%.1f" .W}}" height="8" fill="#c0392b"><title>{{.Text}}</title></rect>
{{end}}{{end}}{{range .Ticks}}<line x1="{{printf "%.1f" .X}}" x2="{{printf "%.1f" .X}}" y1="44" y2="{{$.AxisY}}" stroke="#ccc" stroke-width="0.5"/><text x="{{printf "%.1f" .X}}" y="{{$.TickY}}" text-anchor="middle">{{.Text}}</text>
{{end}}{{range .Names}}<text x="{{printf "%.0f" .X}}" y="{{.Y}}">{{text .Text}}</text>
{{end}}</svg>
`))

// Bands, AxisY and TickY, After, LegendX and TextY place what the template draws.
func (t timeline) Bands() float64 { return t.PlotHeight - 64 }

// AxisY is where the lines of the ticks end.
func (t timeline) AxisY() float64 { return t.PlotHeight - 16 }

// TickY is where the times stand.
func (t timeline) TickY() float64 { return t.PlotHeight - 5 }

// After is where a fault has ended.
func (b band) After() float64 { return b.X + b.W }

// LegendX is where a name stands beside its colour.
func (b band) LegendX() float64 { return b.X + 14 }

// TextY is the base line of a client's name.
func (s strip) TextY() float64 { return s.Y + 8 }
