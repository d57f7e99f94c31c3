package load

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
)

// What several loops publish adds up: in total per kind, and per interval by reads and writes.
func TestCollectorMerges(t *testing.T) {
	var seen []Interval
	c := newCollector(2, time.Second, func(i Interval) { seen = append(seen, i) })
	a, b := newRecorder([]Kind{Get}), newRecorder(nil)
	for ns := int64(1); ns <= 1000; ns++ {
		a.ok(Get, ns*1000)
		b.ok(Get, ns*3000)
		b.ok(Set, ns*2000)
	}
	b.ok(Notification, 5000)
	a.failed(Set, proto.ErrNoNode)
	b.failed(Set, proto.ErrNoNode)
	b.failed(Create, errLost)
	c.publish(0, a, false)
	if len(seen) != 0 {
		t.Fatal("an interval is complete before all loops have published it")
	}
	a.ok(Get, 7_000_000) // belongs to interval 1
	c.publish(1, a, false)
	c.publish(0, b, false)
	if len(seen) != 1 || seen[0].Reads.Count != 2000 || seen[0].Writes.Count != 1000 || seen[0].Notifications != 1 || seen[0].Errors != 3 || seen[0].Start != 0 {
		t.Fatalf("interval 0: %+v", seen)
	}
	b.ok(Set, 9_000_000)
	c.publish(1, b, true) // what came after the end

	var r Result
	r.figures(&c.total, 2*time.Second)
	if get := r.Op(Get); get.Count != 2001 || get.PerSecond != 1000.5 || get.Latency.Max < Duration(6900*time.Microsecond) {
		t.Errorf("get: %+v", get)
	}
	if set := r.Op(Set); set.Count != 1001 || set.Errors != 2 || set.ErrorsBy["NONODE"] != 2 {
		t.Errorf("set: %+v", set)
	}
	if r.Total.Count != 3002 || r.Total.Errors != 3 || r.Reads.Count != 2001 || r.Writes.Count != 1001 {
		t.Errorf("total %d with %d errors, reads %d, writes %d", r.Total.Count, r.Total.Errors, r.Reads.Count, r.Writes.Count)
	}
	if r.Op(Notification).Count != 1 || r.Op(Create).Count != 0 || r.Op(Create).Errors != 1 || r.Op(Sync).Kind != "" {
		t.Errorf("ops: %+v", r.Ops)
	}
	if a.hist[Get].TotalCount() != 0 {
		t.Error("a published recorder is not empty")
	}
}

func TestResultSurvivesJSON(t *testing.T) {
	c := newCollector(1, time.Second, nil)
	rec := newRecorder(nil)
	for ns := int64(1); ns < 100_000_000; ns = ns*11/10 + 1 {
		rec.ok(Get, ns)
		rec.ok(Multi, ns/2)
	}
	rec.failed(Multi, errMulti)
	c.publish(0, rec, false)
	mix, err := ParseMix("get:1,multi:2")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := Config{Addrs: []string{"127.0.0.1:1"}, Mix: mix, Rate: 12.5, KeyDist: KeyDist{ZipfExponent: 0.99}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	want := Result{Started: time.Unix(1_700_000_000, 5).UTC(), Settings: cfg.settings(), Intervals: c.done, Unfinished: 3,
		LongestSilence: Duration(time.Millisecond), GeneratorCPU: Duration(77), Incomplete: "because"}
	want.figures(&c.total, 1500*time.Millisecond)
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Result
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	figures := func(r *Result) []*Figures {
		all := []*Figures{&r.Total, &r.Reads, &r.Writes}
		for i := range r.Ops {
			all = append(all, &r.Ops[i])
		}
		return all
	}
	for i, f := range figures(&got) {
		w := figures(&want)[i]
		if !w.Histogram.Equals(f.Histogram.Histogram) {
			t.Errorf("%s: the histogram differs", f.Kind)
		}
		f.Histogram, w.Histogram = Histogram{}, Histogram{}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	var h Histogram
	if err := json.Unmarshal([]byte(`"garbage"`), &h); err == nil {
		t.Error("a histogram of garbage was accepted")
	}
	if b, err := json.Marshal(Histogram{}); err != nil || string(b) != "null" {
		t.Errorf("an empty histogram is %s, %v", b, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{Addrs: []string{"127.0.0.1:1"}}
	if _, err := good.withDefaults(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"no address":       func(c *Config) { c.Addrs = nil },
		"sessions":         func(c *Config) { c.Sessions = -1 },
		"outstanding":      func(c *Config) { c.Outstanding = 1 << 20 },
		"rate":             func(c *Config) { c.Rate = -1 },
		"keys":             func(c *Config) { c.Keys = -5 },
		"directories":      func(c *Config) { c.Keys, c.KeysPerDir = 100_000_000, 1 },
		"root":             func(c *Config) { c.Root = "x" },
		"root slash":       func(c *Config) { c.Root = "/x/" },
		"multi":            func(c *Config) { c.MultiOps, c.Payload = 20, FixedSize(100_000) },
		"watches":          func(c *Config) { c.Keys, c.WatchesPerSession = 10, 11 },
		"two ends":         func(c *Config) { c.Requests, c.Duration = 5, time.Second },
		"negative warm-up": func(c *Config) { c.Warmup = -1 },
	} {
		c := good
		spoil(&c)
		if _, err := c.withDefaults(); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
