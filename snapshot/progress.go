package snapshot

import (
	"fmt"
	"time"
)

// A Progress turns counts into a line for the log every now and then, so that a long recovery is seen to
// be alive. The zero value with Every set is ready; one goroutine uses it.
type Progress struct {
	What  string        // such as "image 0x100000044"
	Unit  string        // such as "records"
	Total int64         // 0 or less: unknown
	Every time.Duration // between lines

	start, last time.Duration
	started     bool
}

// Line takes what has been done and the time on a monotonic clock, and returns a line when one is due: the
// first Every after the first call, none for what is quicker.
func (p *Progress) Line(done int64, now time.Duration) (line string, due bool) {
	if !p.started {
		p.started, p.start, p.last = true, now, now
		return "", false
	}
	if now-p.last < p.Every {
		return "", false
	}
	p.last = now
	elapsed := now - p.start
	perSec := float64(done) / elapsed.Seconds()
	if p.Total <= 0 || done > p.Total {
		return fmt.Sprintf("%s: %d %s in %v (%.0f/s)", p.What, done, p.Unit, elapsed.Round(time.Second), perSec), true
	}
	line = fmt.Sprintf("%s: %d of %d %s (%d%%) in %v (%.0f/s", p.What, done, p.Total, p.Unit, done*100/p.Total,
		elapsed.Round(time.Second), perSec)
	if done > 0 {
		left := time.Duration(float64(p.Total-done) / perSec * float64(time.Second))
		line += fmt.Sprintf(", about %v left", left.Round(time.Second))
	}
	return line + ")", true
}
