package chart

import (
	"fmt"
	"html"
	"strings"
	"unicode/utf8"
)

// Size of a Plot's drawing, in units that are pixels at its natural size.
const (
	plotWidth  = 440
	plotHeight = 290
	leftEdge   = 56
	rightEdge  = plotWidth - 18
	topEdge    = 36
	bottomEdge = plotHeight - 48
	classes    = 6
)

// labelGap is the least distance of two labels of an axis.
const labelGap = 6

// labelWidth estimates the width of a text, generously: pages choose the font.
func labelWidth(text string) float64 {
	const character = 8.5
	return character * float64(utf8.RuneCountInString(text))
}

// A Point is one of a Series.
type Point struct {
	X, Y  float64
	Title string // shown when pointed at; empty: the two values
	// Hollow draws the marker without filling.
	Hollow bool
}

// A Series is a line with markers.
type Series struct {
	Name   string
	Class  int // colour, form of the markers, dashes: 0 to 5
	Points []Point
	// NoLine draws markers alone, NoMarks the line alone, Dashed a dashed line.
	NoLine, NoMarks, Dashed bool
}

// A Mark is a line across a plot at a value, with a text.
type Mark struct {
	At   float64
	Text string
}

// A Plot is a plot of points over two axes.
type Plot struct {
	ID     string // of the figure
	Title  string
	About  string // one sentence below the title; may be empty
	X, Y   Axis
	Series []Series
	Legend bool // show the names also of one series alone
	// Horizontal are at values of Y, Vertical at values of X. Diagonal draws x = y, if both axes are logarithmic or neither is.
	Horizontal, Vertical []Mark
	Diagonal             bool
}

// HTML returns the figure without its closing tag: what is appended belongs to it.
func (p *Plot) HTML() string {
	var b strings.Builder
	var names []string
	for _, s := range p.Series {
		names = append(names, s.Name)
	}
	p.legend(begin(&b, p.ID, p.Title, p.About))
	p.draw(&b, names)
	return b.String()
}

// begin opens the figure.
func begin(b *strings.Builder, id, title, about string) *strings.Builder {
	fmt.Fprintf(b, "<figure id=%q class=\"chart\">\n<figcaption>%s", id, html.EscapeString(title))
	if about != "" {
		fmt.Fprintf(b, "<small>%s</small>", html.EscapeString(about))
	}
	b.WriteString("</figcaption>\n")
	return b
}

func (p *Plot) legend(b *strings.Builder) {
	if len(p.Series) < 2 && !p.Legend {
		return
	}
	b.WriteString("<ul class=\"legend\">")
	for _, s := range p.Series {
		fmt.Fprintf(b, "<li><svg viewBox=\"0 0 28 12\" width=\"28\" height=\"12\" aria-hidden=\"true\">")
		if !s.NoLine {
			fmt.Fprintf(b, "<path class=\"line %s\" d=\"M0 6H28\"/>", s.classes())
		}
		if !s.NoMarks {
			b.WriteString(marker(s.Class, 14, 6, false))
		}
		fmt.Fprintf(b, "</svg>%s</li>", html.EscapeString(s.Name))
	}
	b.WriteString("</ul>\n")
}

func (s *Series) classes() string {
	c := fmt.Sprintf("c%d", s.Class%classes)
	if s.Dashed {
		c += " dashed"
	}
	return c
}

func (p *Plot) draw(b *strings.Builder, names []string) {
	var xs, ys []float64
	for _, s := range p.Series {
		for _, pt := range s.Points {
			xs, ys = append(xs, pt.X), append(ys, pt.Y)
		}
	}
	for _, m := range p.Horizontal {
		ys = append(ys, m.At)
	}
	for _, m := range p.Vertical {
		xs = append(xs, m.At)
	}
	if p.Diagonal {
		xs, ys = append(xs, ys...), append(ys, xs...)
	}
	x := newScale(&p.X, xs, leftEdge, rightEdge, 6)
	y := newScale(&p.Y, ys, bottomEdge, topEdge, 6)

	fmt.Fprintf(b, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", plotWidth, plotHeight,
		html.EscapeString(fmt.Sprintf("%s: %s over %s; %s", p.Title, p.Y.Label, p.X.Label, strings.Join(names, ", "))))
	fmt.Fprintf(b, "<text class=\"label\" x=\"4\" y=\"14\">%s</text>\n", html.EscapeString(p.Y.Label))
	fmt.Fprintf(b, "<text class=\"label\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", (leftEdge+rightEdge)/2, plotHeight-8, html.EscapeString(p.X.Label))
	for _, t := range y.ticks {
		at := number(y.place(t.At))
		fmt.Fprintf(b, "<path class=\"grid\" d=\"M%d %sH%d\"/><text class=\"tick\" x=\"%d\" y=\"%s\" dy=\"4\" text-anchor=\"end\">%s</text>\n",
			leftEdge, at, rightEdge, leftEdge-6, at, html.EscapeString(t.Label))
	}
	// Labels that would run into the one to their right are left out; the last one says how far the axis goes.
	free := float64(plotWidth)
	for i := len(x.ticks) - 1; i >= 0; i-- {
		t := x.ticks[i]
		at := number(x.place(t.At))
		fmt.Fprintf(b, "<path class=\"grid\" d=\"M%s %dV%d\"/>\n", at, topEdge, bottomEdge)
		half := labelWidth(t.Label) / 2
		if place := min(x.place(t.At), plotWidth-half); place+half <= free {
			free = place - half - labelGap
			fmt.Fprintf(b, "<text class=\"tick\" x=\"%s\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", number(place), bottomEdge+17, html.EscapeString(t.Label))
		}
	}
	fmt.Fprintf(b, "<path class=\"axis\" d=\"M%d %dV%dH%d\"/>\n", leftEdge, topEdge, bottomEdge, rightEdge)
	if p.Diagonal && x.log == y.log {
		lo, hi := max(x.min, y.min), min(x.max, y.max)
		if x.log {
			lo, hi = pow10(lo), pow10(hi)
		}
		fmt.Fprintf(b, "<path class=\"mark\" d=\"M%s %sL%s %s\"/>\n", number(x.place(lo)), number(y.place(lo)), number(x.place(hi)), number(y.place(hi)))
	}
	for i := range p.Series {
		p.Series[i].draw(b, &x, &y, &p.X, &p.Y)
	}
	for i, m := range p.Horizontal {
		at := y.place(m.At)
		up := at - 5
		if up < topEdge+12 {
			up = at + 15 // above are the texts of vertical marks
		}
		anchor, text := "start", leftEdge+6
		if i%2 == 1 {
			anchor, text = "end", rightEdge-6
		}
		fmt.Fprintf(b, "<path class=\"mark\" d=\"M%d %sH%d\"/><text class=\"marktext\" x=\"%d\" y=\"%s\" text-anchor=\"%s\">%s</text>\n",
			leftEdge, number(at), rightEdge, text, number(up), anchor, html.EscapeString(m.Text))
	}
	for _, m := range p.Vertical {
		at := x.place(m.At)
		fmt.Fprintf(b, "<path class=\"mark\" d=\"M%s %dV%d\"/><text class=\"marktext\" x=\"%s\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
			number(at), topEdge, bottomEdge, number(min(at, rightEdge-20)), topEdge-5, html.EscapeString(m.Text))
	}
	b.WriteString("</svg>\n")
}

func (s *Series) draw(b *strings.Builder, x, y *scale, xa, ya *Axis) {
	fmt.Fprintf(b, "<g class=\"series\" data-name=\"%s\">\n", html.EscapeString(s.Name))
	var path strings.Builder
	move := byte('M')
	for _, pt := range s.Points {
		if !x.has(pt.X) || !y.has(pt.Y) {
			move = 'M' // a gap
			continue
		}
		fmt.Fprintf(&path, "%c%s %s", move, number(x.place(pt.X)), number(y.place(pt.Y)))
		move = 'L'
	}
	if !s.NoLine && path.Len() > 0 {
		fmt.Fprintf(b, "<path class=\"line %s\" d=\"%s\"/>\n", s.classes(), path.String())
	}
	for _, pt := range s.Points {
		if !x.has(pt.X) || !y.has(pt.Y) {
			continue
		}
		title := pt.Title
		if title == "" {
			title = fmt.Sprintf("%s: %s at %s", s.Name, formatted(ya, pt.Y), formatted(xa, pt.X))
		}
		at, up := x.place(pt.X), y.place(pt.Y)
		fmt.Fprintf(b, "<g class=\"pt\" data-x=\"%s\" data-y=\"%s\"><title>%s</title>", exact(pt.X), exact(pt.Y), html.EscapeString(title))
		if !s.NoMarks {
			b.WriteString(marker(s.Class, at, up, pt.Hollow))
		}
		fmt.Fprintf(b, "<circle class=\"hit\" cx=\"%s\" cy=\"%s\" r=\"9\"/></g>\n", number(at), number(up))
	}
	b.WriteString("</g>\n")
}

func formatted(a *Axis, v float64) string {
	for _, t := range a.Ticks {
		if t.At == v {
			return t.Label
		}
	}
	if a.Format != nil {
		return a.Format(v)
	}
	return Plain(v)
}

// marker draws the form of the class around a place.
func marker(class int, x, y float64, hollow bool) string {
	fill := "dot"
	if hollow {
		fill = "ring"
	}
	class %= classes
	c := fmt.Sprintf("class=\"%s c%d\"", fill, class)
	n := number
	const r = 4
	switch class {
	case 1: // square
		return fmt.Sprintf("<rect %s x=\"%s\" y=\"%s\" width=\"7\" height=\"7\"/>", c, n(x-3.5), n(y-3.5))
	case 2: // triangle
		return fmt.Sprintf("<path %s d=\"M%s %sL%s %sH%sZ\"/>", c, n(x), n(y-r-0.5), n(x+r), n(y+r-0.5), n(x-r))
	case 3: // diamond
		return fmt.Sprintf("<path %s d=\"M%s %sL%s %sL%s %sL%s %sZ\"/>", c, n(x), n(y-r-1), n(x+r+1), n(y), n(x), n(y+r+1), n(x-r-1), n(y))
	case 4: // triangle on its tip
		return fmt.Sprintf("<path %s d=\"M%s %sL%s %sH%sZ\"/>", c, n(x), n(y+r+0.5), n(x+r), n(y-r+0.5), n(x-r))
	case 5: // flat bar
		return fmt.Sprintf("<rect %s x=\"%s\" y=\"%s\" width=\"9\" height=\"4\"/>", c, n(x-4.5), n(y-2))
	}
	return fmt.Sprintf("<circle %s cx=\"%s\" cy=\"%s\" r=\"%d\"/>", c, n(x), n(y), r)
}
