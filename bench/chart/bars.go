package chart

import (
	"fmt"
	"html"
	"math"
	"strings"
)

func pow10(v float64) float64 { return math.Pow(10, v) }

// A Bar is one row of Bars.
type Bar struct {
	Label  string
	Values []float64 // by part; NaN is none
	Title  string    // shown when pointed at
	Text   string    // behind the bar; may be empty
}

// Bars are horizontal bars of several parts: stacked, or beside each other.
type Bars struct {
	ID, Title, About string
	X                Axis
	Parts            []string // names
	Classes          []int    // of the parts; nil: 0, 1, 2, ...
	Rows             []Bar
	Stacked          bool
	Vertical         []Mark // at values of X
}

// HTML returns the figure without its closing tag: what is appended belongs to it.
func (c *Bars) HTML() string {
	var b strings.Builder
	begin(&b, c.ID, c.Title, c.About)
	class := func(i int) int {
		if i < len(c.Classes) {
			return c.Classes[i] % classes
		}
		return i % classes
	}
	if len(c.Parts) > 1 {
		b.WriteString("<ul class=\"legend\">")
		for i, name := range c.Parts {
			fmt.Fprintf(&b, "<li><svg viewBox=\"0 0 14 12\" width=\"14\" height=\"12\" aria-hidden=\"true\"><rect class=\"bar c%d\" width=\"14\" height=\"12\"/></svg>%s</li>", class(i), html.EscapeString(name))
		}
		b.WriteString("</ul>\n")
	}
	const left, right, top = 122, plotWidth - 18, 8
	thick, gap := 18.0, 8.0
	lanes := 1
	if !c.Stacked {
		if lanes = len(c.Parts); lanes > 1 {
			thick = 13
		}
	}
	rowHeight := thick*float64(lanes) + gap
	bottom := top + rowHeight*float64(len(c.Rows)) + 4
	height := bottom + 44
	var xs []float64
	text := false
	for _, r := range c.Rows {
		sum := 0.0
		for _, v := range r.Values {
			if math.IsNaN(v) {
				continue
			}
			if sum += v; !c.Stacked {
				xs = append(xs, v)
			}
		}
		if c.Stacked {
			xs = append(xs, sum)
		}
		text = text || r.Text != ""
	}
	for _, m := range c.Vertical {
		xs = append(xs, m.At)
	}
	axis := c.X
	axis.Zero = true
	x := newScale(&axis, xs, left, right, 5)
	fmt.Fprintf(&b, "<svg viewBox=\"0 0 %d %s\" role=\"img\" aria-label=\"%s\">\n", plotWidth, number(height),
		html.EscapeString(fmt.Sprintf("%s: %s; %s", c.Title, c.X.Label, strings.Join(c.Parts, ", "))))
	for _, t := range x.ticks {
		at := number(x.place(t.At))
		fmt.Fprintf(&b, "<path class=\"grid\" d=\"M%s %dV%s\"/><text class=\"tick\" x=\"%s\" y=\"%s\" text-anchor=\"middle\">%s</text>\n",
			at, top, number(bottom), at, number(bottom+16), html.EscapeString(t.Label))
	}
	fmt.Fprintf(&b, "<text class=\"label\" x=\"%d\" y=\"%s\" text-anchor=\"middle\">%s</text>\n", (left+right)/2, number(height-8), html.EscapeString(c.X.Label))
	for i, r := range c.Rows {
		y := top + 4 + rowHeight*float64(i)
		fmt.Fprintf(&b, "<text class=\"tick\" x=\"%d\" y=\"%s\" dy=\"4\" text-anchor=\"end\">%s</text>\n", left-8, number(y+thick*float64(lanes)/2), html.EscapeString(r.Label))
		fmt.Fprintf(&b, "<g class=\"row\" data-name=\"%s\"><title>%s</title>\n", html.EscapeString(r.Label), html.EscapeString(r.Title))
		at, end := 0.0, 0.0
		for j, v := range r.Values {
			if math.IsNaN(v) {
				continue
			}
			from := 0.0
			lane := y + thick*float64(j)
			if c.Stacked {
				from, lane = at, y
			}
			at += v
			x0, x1 := x.place(from), x.place(from+v)
			if j == 0 || c.Stacked {
				end = x1
			}
			fmt.Fprintf(&b, "<rect class=\"bar c%d\" data-part=\"%s\" data-value=\"%s\" x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\"/>\n",
				class(j), html.EscapeString(c.Parts[j]), exact(v), number(x0), number(lane), number(max(0.5, x1-x0)), number(thick-1))
		}
		if r.Text != "" {
			anchor, tx := "start", end+5
			if end > right-60 {
				anchor, tx = "end", end-5
			}
			fmt.Fprintf(&b, "<text class=\"marktext\" x=\"%s\" y=\"%s\" dy=\"4\" text-anchor=\"%s\">%s</text>\n", number(tx), number(y+thick/2), anchor, html.EscapeString(r.Text))
		}
		b.WriteString("</g>\n")
	}
	for _, m := range c.Vertical {
		at := number(x.place(m.At))
		fmt.Fprintf(&b, "<path class=\"mark\" d=\"M%s %dV%s\"/>\n", at, top, number(bottom))
	}
	fmt.Fprintf(&b, "<path class=\"axis\" d=\"M%d %dV%s\"/>\n</svg>\n", left, top, number(bottom))
	return b.String()
}
