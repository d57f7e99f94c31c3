package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"zabra.dev/zabra/engine/proto"
)

// Bounds of the histograms: half a microsecond of resolution, three digits, up to 10 minutes.
const (
	histogramMinNs = 1000
	histogramMaxNs = int64(10 * time.Minute)
	histogramDigit = 3
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(histogramMinNs, histogramMaxNs, histogramDigit)
}

// recordNs records a latency; what is out of bounds counts as the bound.
func recordNs(h *hdrhistogram.Histogram, ns int64) {
	// The value is in bounds, which is the only thing that could fail.
	_ = h.RecordValue(min(max(ns, 0), histogramMaxNs))
}

// Codes of failures that no server sends, beside those of proto.
const (
	// errLost: the connection broke before the reply came (Java's CONNECTIONLOSS).
	errLost proto.ErrCode = -4
	// errMulti: an operation of the multi failed. It is Java's RUNTIMEINCONSISTENCY, which stands behind the one that did.
	errMulti = proto.ErrRuntimeInconsistency
)

// A recorder holds what one loop has seen since the last publish. It belongs to the loop.
type recorder struct {
	hist   [numKinds]*hdrhistogram.Histogram // nil until the kind comes up
	errors [numKinds]map[proto.ErrCode]int64
	any    bool
}

func newRecorder(kinds []Kind) *recorder {
	r := new(recorder)
	for _, k := range kinds {
		r.hist[k] = newHistogram()
	}
	return r
}

func (r *recorder) ok(k Kind, ns int64) {
	r.any = true
	h := r.hist[k]
	if h == nil {
		h = newHistogram()
		r.hist[k] = h
	}
	recordNs(h, ns)
}

func (r *recorder) failed(k Kind, code proto.ErrCode) {
	r.any = true
	m := r.errors[k]
	if m == nil {
		m = map[proto.ErrCode]int64{}
		r.errors[k] = m
	}
	m[code]++
}

// A collector gathers what the recorders of all loops have seen, in total and per interval.
type collector struct {
	loops      int
	interval   time.Duration
	onInterval func(Interval)

	mu sync.Mutex // guards what follows
	// total is the sum of everything published.
	total recorder
	open  map[int]*openInterval
	done  []Interval
}

type openInterval struct {
	published    int
	read, write  *hdrhistogram.Histogram
	events, errs int64
}

func newCollector(loops int, interval time.Duration, onInterval func(Interval)) *collector {
	return &collector{loops: loops, interval: interval, onInterval: onInterval, open: map[int]*openInterval{}}
}

// publish adds r, which is what a loop saw in the interval with the number, and empties it. Each loop publishes
// each interval once; last says that r is to be added to the total only.
func (c *collector) publish(number int, r *recorder, last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.open[number]
	if o == nil && !last {
		o = &openInterval{read: newHistogram(), write: newHistogram()}
		c.open[number] = o
	}
	for k := range numKinds {
		for code, n := range r.errors[k] {
			if c.total.errors[k] == nil {
				c.total.errors[k] = map[proto.ErrCode]int64{}
			}
			c.total.errors[k][code] += n
			if !last {
				o.errs += n
			}
		}
		clear(r.errors[k])
		h := r.hist[k]
		if h == nil || h.TotalCount() == 0 {
			continue
		}
		if c.total.hist[k] == nil {
			c.total.hist[k] = newHistogram()
		}
		c.total.hist[k].Merge(h)
		switch {
		case last:
		case k == Notification:
			o.events += h.TotalCount()
		case k.IsWrite():
			o.write.Merge(h)
		default:
			o.read.Merge(h)
		}
		h.Reset()
	}
	r.any = false
	if last {
		return
	}
	if o.published++; o.published == c.loops {
		delete(c.open, number)
		i := Interval{
			Start: Duration(time.Duration(number) * c.interval), Length: Duration(c.interval),
			Reads: latencyOf(o.read), Writes: latencyOf(o.write), Notifications: o.events, Errors: o.errs,
		}
		c.done = append(c.done, i)
		if c.onInterval != nil {
			c.onInterval(i)
		}
	}
}
