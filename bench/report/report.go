package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"

	"zabra.dev/zabra/bench/capacity"
)

//go:embed page.html
var pageText string

//go:embed style.css
var style string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the template shows.
type page struct {
	Title    string
	Style    template.CSS
	Head     []string
	Partial  string
	Notes    []string
	Sections []section
	Foot     string
}

// A section shows its parts in the order of the fields; each may be empty.
type section struct {
	ID, Title string
	Answer    string
	Intro     []string
	Soft      string
	Tiles     []tile
	Limit     string
	Warnings  []string
	Tables    []table
	Plots     []plot
	Folded    []table
	ListTitle string
	List      []string
}

// A tile is one big figure. Figure, Of and Value name it for those who check the page.
type tile struct {
	Text, Label       string
	Figure, Of, Value string
}

// A plot is a figure, without its closing tag, and the table behind it.
type plot struct {
	HTML  template.HTML
	Table table
}

type table struct {
	Caption string
	Head    []column
	Rows    []tableRow
}

type column struct {
	Name string
	Text bool // left-aligned, may wrap
}

type tableRow struct {
	Class string
	Cells []string
}

func columns(names ...string) []column {
	c := make([]column, len(names))
	for i, n := range names {
		c[i].Name, c[i].Text = strings.CutPrefix(n, "text:")
	}
	return c
}

func (t *table) add(cells ...string) { t.Rows = append(t.Rows, tableRow{Cells: cells}) }

// quietShare is the share of a machine's processors that other programs may use without the page telling.
const quietShare = 0.15

// Write writes the report of p, compared with old if that is not nil.
func Write(w io.Writer, p, old *capacity.Plan) error {
	pg := page{Title: "Capacity plan", Style: template.CSS(style), Partial: p.Partial, Notes: p.Notes}
	if others, ok := capacity.Others(p); ok && others > quietShare*float64(p.Machine.CPUs) {
		pg.Notes = append([]string{fmt.Sprintf("Other programs kept %.2g of the %d processors busy (median over the steps), and the disk shared with them shows in latencies too. "+
			"On a quiet machine loads are higher and latencies lower; processor time per request holds.", others, p.Machine.CPUs)}, pg.Notes...)
	}
	t := &p.Target
	servers := fmt.Sprintf("%d servers", len(t.Addrs))
	if len(t.Addrs) == 1 {
		servers = "one server"
	}
	if t.Version != "" {
		servers += ", " + t.Version
	}
	where := strings.Join(t.Addrs, ", ")
	if t.Own {
		where = "started for the plan, on the machine of the generator"
	}
	var modes []string
	for _, m := range t.Modes {
		if m != "" {
			modes = append(modes, m)
		}
	}
	if len(modes) > 0 {
		where += " (" + strings.Join(modes, ", ") + ")"
	}
	pg.Head = []string{
		fmt.Sprintf("%s: %s", servers, where),
		fmt.Sprintf("%s, %s plan of %s, each step %s after %s of warm-up. Generator: %d × %s, Linux %s, load average %s.",
			p.Started.UTC().Format("2006-01-02 15:04 UTC"), p.Profile.Name, time.Duration(p.Took).Round(time.Second), p.Profile.Step, p.Profile.Warmup,
			p.Machine.CPUs, p.Machine.Model, p.Machine.Kernel, p.Machine.LoadAverage),
	}
	add := func(s *section) {
		if s != nil {
			pg.Sections = append(pg.Sections, *s)
		}
	}
	add(answerSection(p))
	add(overview(p))
	if old != nil {
		add(compareSection(p, old))
	}
	for i := range p.Mixes {
		add(mixSection(p, i))
	}
	for i := range p.Sweeps {
		add(sweepSection(p, i))
	}
	add(modelSection(p))
	add(methodSection(p))
	pg.Foot = "Written by zabra bench plan. The page has everything in itself; the same figures are in the JSON beside it."
	if err := pageTemplate.Execute(w, &pg); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Formats of figures.

func exact(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func rate(v float64) string { return capacity.Count(v) + "/s" }

func short[D ~int64](d D) string { return capacity.Short(time.Duration(d)) }

func ms[D ~int64](d D) float64 { return float64(d) / 1e6 }

func us[D ~int64](d D) float64 { return float64(d) / 1e3 }

func usText(v float64) string { return capacity.Short(time.Duration(v * 1e3)) }

func bytesText(v float64) string {
	switch {
	case v >= 1<<30:
		return fmt.Sprintf("%.3g GiB", v/(1<<30))
	case v >= 1<<20:
		return fmt.Sprintf("%.3g MiB", v/(1<<20))
	case v >= 1<<10:
		return fmt.Sprintf("%.3g KiB", v/(1<<10))
	}
	return fmt.Sprintf("%.3g B", v)
}

func bitsText(bytes float64) string {
	if bits := bytes * 8; bits >= 1e9 {
		return fmt.Sprintf("%.2g Gbit/s", bits/1e9)
	}
	return fmt.Sprintf("%.3g Mbit/s", bytes*8/1e6)
}
