package bench

import (
	"fmt"
	"io"
	"os"
	"time"

	"zabra.dev/zabra/bench/load"
)

// A planProgress shows on stderr how far a plan is: a line per step, and on a terminal a line that changes meanwhile. Its
// methods are called by one goroutine at a time.
type planProgress struct {
	w        io.Writer
	terminal bool
	began    time.Time
	done     int           // steps
	left     int           // steps still expected
	nominal  time.Duration // of a step, before any was measured
	current  string
}

func newPlanProgress(w io.Writer, nominal time.Duration) *planProgress {
	p := &planProgress{w: w, began: time.Now(), nominal: nominal}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// remaining estimates the time until the end: as long per step as so far.
func (p *planProgress) remaining() time.Duration {
	each := p.nominal
	if p.done > 0 {
		each = time.Since(p.began) / time.Duration(p.done)
	}
	return (time.Duration(max(0, p.left)) * each).Round(time.Second)
}

func (p *planProgress) head() string {
	return fmt.Sprintf("[%d/%d, about %s left]", p.done, p.done+max(0, p.left), p.remaining())
}

func (p *planProgress) start(what string) {
	p.current = what
	if p.terminal {
		fmt.Fprintf(p.w, "\r\033[K%s %s", p.head(), what)
	}
}

func (p *planProgress) interval(i load.Interval) {
	if p.terminal {
		fmt.Fprintf(p.w, "\r\033[K%s %s %s", p.head(), p.current, progressLine(i))
	}
}

// step tells of a finished step.
func (p *planProgress) step(what, result string) {
	p.done++
	p.left--
	p.clear()
	fmt.Fprintf(p.w, "%s %s: %s\n", p.head(), what, result)
}

func (p *planProgress) clear() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\033[K")
	}
}

func (p *planProgress) line(format string, args ...any) {
	p.clear()
	fmt.Fprintf(p.w, format+"\n", args...)
}
