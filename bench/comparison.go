package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"sort"
	"text/tabwriter"
	"time"
)

// A Comparison is the result of zabra bench compare.
type Comparison struct {
	Started time.Time `json:"started"`
	Machine Machine   `json:"machine"`
	// LoadBefore is the load average before anything was started: what else the machine does blurs throughput and latency,
	// and processor time per request much less.
	LoadBefore  string   `json:"load_before"`
	JavaFlags   string   `json:"java_flags"`
	ServersEach []int    `json:"servers_each"`
	Figures     []Figure `json:"figures"`
	Runs        []Run    `json:"runs"`

	size int // of the ensembles being measured
}

// A Run is one measurement of a comparison.
type Run struct {
	Contender string `json:"contender"`
	Ensemble  int    `json:"ensemble"` // its servers
	What      string `json:"what"`
	Round     int    `json:"round"`
	Report
}

// A Figure compares two servers. Java and Zabra are medians of the rounds, 0 where a figure is of one of them only; Ratio
// is the median of the rounds' ratios, by which factor Zabra is better; 0 when there is none. Must and Hoped are the
// ratios that Zabra sets itself, 0 for none.
type Figure struct {
	Servers int     `json:"servers"` // of each side
	Name    string  `json:"name"`
	Unit    string  `json:"unit"`
	Java    float64 `json:"java"`
	Zabra   float64 `json:"zabra"`
	Ratio   float64 `json:"ratio"`
	Must    float64 `json:"must"`
	Hoped   float64 `json:"hoped"`
}

type better bool

const (
	higher better = true
	lower  better = false
)

// figure makes a figure of the values of rounds, in which element i of both slices stems from the same round.
func figure(name, unit string, b better, javaValues, zabraValues []float64, must, hoped float64) Figure {
	var ratios []float64
	for i := range min(len(javaValues), len(zabraValues)) {
		r := zabraValues[i] / javaValues[i]
		if b == lower {
			r = 1 / r
		}
		if !math.IsNaN(r) && !math.IsInf(r, 0) {
			ratios = append(ratios, r)
		}
	}
	return Figure{Name: name, Unit: unit, Java: median(javaValues), Zabra: median(zabraValues), Ratio: median(ratios), Must: must, Hoped: hoped}
}

func values(reports []*Report, of func(*Report) float64) []float64 {
	var v []float64
	for _, r := range reports {
		v = append(v, of(r))
	}
	return v
}

// median returns the middle of v, 0 when there is none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := append([]float64(nil), v...)
	sort.Float64s(s)
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func (c *comparison) add(f Figure) {
	f.Servers = c.report.size
	c.report.Figures = append(c.report.Figures, f)
}

// writeComparison writes the table of ratios.
func writeComparison(w io.Writer, c *Comparison) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "servers\tfigure\tunit\tJava\tZabra\tratio\tmust\thoped")
	number := func(v float64, suffix string) string {
		if v == 0 {
			return "-"
		}
		return count(v) + suffix
	}
	for _, f := range c.Figures {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.Servers, f.Name, f.Unit, number(f.Java, ""), number(f.Zabra, ""),
			number(f.Ratio, "x"), number(f.Must, "x"), number(f.Hoped, "x"))
	}
	t.Flush()
	fmt.Fprintf(w, "java %s; %d x %s, Linux %s, load average %s before, %s after\n",
		c.JavaFlags, c.Machine.CPUs, c.Machine.Model, c.Machine.Kernel, c.LoadBefore, c.Machine.LoadAverage)
}

// writeJSON writes v to path.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}
