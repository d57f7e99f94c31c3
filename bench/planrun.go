package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"zabra.dev/zabra/bench/capacity"
	"zabra.dev/zabra/bench/load"
	"zabra.dev/zabra/bench/report"
	"zabra.dev/zabra/server/local"
)

type planMix struct {
	name string
	cfg  load.Config
}

// A planner makes a plan: it starts servers where none were given, and measures step after step.
type planner struct {
	opts      planOptions
	profile   planProfile
	need      *capacity.Need
	mixes     []planMix
	want      map[string]bool // sweeps
	sizes     []int
	observers []int
	against   *capacity.Plan
	progress  *planProgress

	addrs       []string
	pages       []string // of their metrics; nil: none
	dir         string   // for own servers
	maxSessions int      // that the servers take from this machine; 0: no limit
	keys        string   // what keys are filled: root, payload and count of the last fill
	plan        capacity.Plan
}

// dialPatience is how long to wait for a server's port.
const dialPatience = 5 * time.Second

// drainPatience is how long a step waits for late replies: an overloaded server has a long queue.
const drainPatience = 3 * time.Second

// peakTries is how often a closed loop is tried that has no replies at all.
const peakTries = 3

// Of a step that could not begin: how often it is tried, and the time between.
const (
	connectTries = 3
	connectPause = time.Second
)

// run measures everything. When it returns an error the plan holds what was measured until then, and is marked as partial.
func (p *planner) run(ctx context.Context) (err error) {
	own := p.opts.servers == ""
	if own {
		if p.dir = p.opts.dir; p.dir == "" {
			if p.dir, err = os.MkdirTemp("", "zabra-plan-"); err != nil {
				return fmt.Errorf("bench: %w", err)
			}
			defer os.RemoveAll(p.dir)
		}
		e, err := p.startServers("target", p.opts.size, 0)
		if err != nil {
			return err
		}
		defer e.Close()
		p.addrs = e.Addrs()
	}
	if err := p.lookAtServers(ctx); err != nil {
		return err
	}
	p.plan.Started, p.plan.Machine = time.Now(), machine()
	if !own && !p.opts.keep {
		defer func() {
			// Also after an interrupt: nothing of this is to stay.
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), removePatience)
			defer cancel()
			p.progress.line("removing %s", p.opts.root)
			if cerr := removeTree(clean, p.addrs, p.opts.root); cerr != nil {
				p.note("%s was not removed: %v", p.opts.root, cerr)
			}
		}()
	}
	err = p.phases(ctx)
	p.finish(err)
	return err
}

// finish draws the conclusions of what was measured.
func (p *planner) finish(err error) {
	p.plan.Took = load.Duration(time.Since(p.plan.Started).Round(time.Millisecond))
	p.plan.Machine.LoadAverage = machine().LoadAverage
	if err != nil {
		p.plan.Partial = err.Error()
		if errors.Is(err, context.Canceled) {
			p.plan.Partial = "interrupted"
		}
	}
	p.plan.Model = capacity.Fit(&p.plan)
	switch {
	case p.need == nil:
	case p.plan.Model == nil:
		p.note("What was needed could not be answered: there are no processor times of the servers. They must run on this machine for that, or show their metrics (-metrics).")
	default:
		p.plan.Answer = p.plan.Model.Answer(*p.need, p.opts.utilisation, p.opts.headroom)
	}
}

// write writes report and JSON.
func (p *planner) write() error {
	return errors.Join(writeJSON(p.opts.jsonPath, &p.plan),
		toFile(p.opts.htmlPath, func(w io.Writer) error { return report.Write(w, &p.plan, p.against) }))
}

func (p *planner) note(format string, args ...any) {
	p.plan.Notes = append(p.plan.Notes, fmt.Sprintf(format, args...))
}

// startServers starts an ensemble and waits until it serves.
func (p *planner) startServers(name string, voters, observers int) (*local.Ensemble, error) {
	binary := p.opts.zabra
	if binary == "" {
		var err error
		if binary, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
	}
	p.progress.start(fmt.Sprintf("starting %d servers", voters+observers))
	e, err := local.New(local.Options{Servers: voters, Observers: observers, Dir: filepath.Join(p.dir, name), Fresh: true, Command: []string{binary, "server", local.CFG}})
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	if err := e.Start(startTimeout); err != nil {
		return nil, errors.Join(fmt.Errorf("bench: %w", err), e.Close())
	}
	return e, nil
}

// lookAtServers finds out what the servers are. One that cannot be reached is an error.
func (p *planner) lookAtServers(ctx context.Context) error {
	var d net.Dialer
	for _, a := range p.addrs {
		dial, cancel := context.WithTimeout(ctx, dialPatience)
		c, err := d.DialContext(dial, "tcp", a)
		cancel()
		if err != nil {
			return fmt.Errorf("server %s cannot be reached: %w; is it running, and is this its client port?", a, err)
		}
		c.Close()
	}
	t := &p.plan.Target
	t.Addrs, t.Own, t.HasCPU = p.addrs, p.opts.servers == "", true
	meter := p.meter(p.addrs)
	for i := range p.addrs {
		if _, err := meter.process(i); err != nil {
			if p.pages != nil {
				return err
			}
			t.HasCPU = false
		}
	}
	silent := 0
	for _, w := range askAll(p.addrs) {
		t.Modes = append(t.Modes, w["zk_server_state"])
		if !w.counters() {
			silent++
		}
		if t.Version == "" {
			t.Version = w["zk_version"]
		}
	}
	if silent > 0 {
		p.note("%d of %d servers did not answer mntr (4lw.commands.whitelist): their fsyncs and shares of the requests are not known.", silent, len(p.addrs))
	}
	if !t.HasCPU {
		p.note("Not all servers run on this machine under this user, so their processor time and memory are not known: no costs, no model, no answer to a need. -metrics takes them from the servers' Prometheus pages.")
	}
	p.limitSessions()
	return nil
}

// meter samples servers: by their metrics if these are the servers that pages were named for.
func (p *planner) meter(addrs []string) *planMeter { return newPlanMeter(addrs, p.pages) }

// limitSessions finds out how many sessions the servers take.
func (p *planner) limitSessions() {
	if p.opts.maxSessions > 0 {
		p.maxSessions = p.opts.maxSessions
		return
	}
	assumed := false
	for _, a := range p.addrs {
		n, told := sessionLimit(a)
		if n > 0 && (p.maxSessions == 0 || n*len(p.addrs) < p.maxSessions) {
			p.maxSessions, assumed = n*len(p.addrs), !told
		}
	}
	if p.maxSessions == 0 {
		return
	}
	const spare = 4 // for four-letter words and session churn
	p.maxSessions = max(1, p.maxSessions-spare)
	if assumed {
		p.note("The servers do not tell how many sessions one address may have (conf is not allowed), so no step has more than %d, as their default of %d each allows. -max-sessions says how many they take.", p.maxSessions, defaultSessionLimit)
		return
	}
	p.note("maxClientCnxns lets this machine have %d sessions; steps that ask for more use so many.", p.maxSessions)
}

// A planPhase is a part of a plan.
type planPhase struct {
	steps int // at most
	run   func(context.Context) error
}

func (p *planner) phases(ctx context.Context) error {
	var all []planPhase
	for i := range p.mixes {
		all = append(all, planPhase{1 + len(p.profile.fractions) + p.profile.halvings, func(ctx context.Context) error { return p.measureMix(ctx, &p.mixes[i]) }})
	}
	all = append(all, p.sweepPhases()...)
	for _, ph := range all {
		p.progress.left += ph.steps
	}
	for _, ph := range all {
		after := p.progress.left - ph.steps
		if err := ph.run(ctx); err != nil {
			return err
		}
		p.progress.left = after
		// What was measured is on disk whatever happens to this process.
		p.finish(errors.New("still being measured"))
		p.plan.Answer = nil
		if err := p.write(); err != nil {
			return err
		}
		p.plan.Partial = ""
	}
	return nil
}

// base fills in what all steps have in common.
func (p *planner) base(cfg load.Config, root string) load.Config {
	cfg.Addrs, cfg.Root, cfg.Seed, cfg.Loops = p.addrs, p.opts.root+"/"+root, p.opts.seed, p.opts.loops
	cfg.Warmup, cfg.Duration, cfg.DrainTimeout = p.profile.warmup, p.profile.step, drainPatience
	cfg.Interval = max(p.profile.step/20, 10*time.Millisecond)
	if p.maxSessions > 0 {
		cfg.Sessions = min(cfg.Sessions, p.maxSessions)
	}
	return cfg
}

// fill creates the keys of cfg unless the last fill was of the same.
func (p *planner) fill(ctx context.Context, cfg load.Config) error {
	keys := fmt.Sprint(cfg.Addrs, cfg.Root, cfg.Payload, cfg.Keys, cfg.KeysPerDir)
	if p.keys == keys {
		return nil
	}
	p.progress.start(fmt.Sprintf("creating %d znodes below %s", cfg.Keys, cfg.Root))
	if err := load.Fill(ctx, cfg); err != nil {
		return err
	}
	p.keys = keys
	return nil
}

// measureMix finds the knee of a mix.
func (p *planner) measureMix(ctx context.Context, pm *planMix) (err error) {
	p.plan.Mixes = append(p.plan.Mixes, capacity.Mix{Name: pm.name, Knee: -1})
	m := &p.plan.Mixes[len(p.plan.Mixes)-1]
	if named := mixByName(pm.name); named != nil {
		m.What, m.Source = named.what, named.source
	}
	defer func() {
		m.Knee = capacity.FindKnee(m.Steps)
		m.Limit = capacity.JudgeLimit(m, p.plan.Machine, p.opts.loops)
		if err != nil && m.Limit.Kind == "none" {
			m.Limit = capacity.Limit{Kind: "unknown", Text: "The plan ended before the limit was found."}
		}
	}()
	cfg := p.base(pm.cfg, fmt.Sprintf("mix%d", len(p.plan.Mixes)))
	if err := p.fill(ctx, cfg); err != nil {
		return err
	}
	step := func(cfg load.Config, name string) (*capacity.Step, error) {
		s, settings, err := p.step(ctx, "mix "+pm.name, name, cfg)
		if settings != nil && m.Settings.Mix == "" {
			m.Settings = *settings
		}
		return s, err
	}
	// A step may fall into one of the machine's pauses.
	for try := 0; m.Peak == nil || m.Peak.Count == 0; try++ {
		if try == peakTries {
			return fmt.Errorf("mix %s: no request succeeded", pm.name)
		}
		if m.Peak, err = step(cfg, "closed loop"); err != nil {
			return err
		}
	}
	rates := make([]float64, len(p.profile.fractions))
	for i, f := range p.profile.fractions {
		rates[i] = roundRate(f * m.Peak.Rate)
	}
	search := capacity.NewSearch(rates, p.profile.halvings)
	for {
		rate, more := search.Next()
		if !more {
			return nil
		}
		open := cfg
		open.Rate, open.Outstanding = roundRate(rate), 0
		s, err := step(open, count(open.Rate)+"/s")
		if s != nil {
			m.Steps = insertStep(m.Steps, *s)
		}
		if err != nil {
			return err
		}
		search.Add(s.OK())
	}
}

// insertStep keeps steps in the order of their load; of equal ones the earlier comes first.
func insertStep(steps []capacity.Step, s capacity.Step) []capacity.Step {
	at := len(steps)
	for at > 0 && steps[at-1].Offered > s.Offered {
		at--
	}
	return append(steps[:at], append([]capacity.Step{s}, steps[at:]...)...)
}

// roundRate rounds to three digits, for people.
func roundRate(rate float64) float64 {
	unit := 1.0
	for rate/unit >= 1000 {
		unit *= 10
	}
	return max(1, float64(int64(rate/unit+0.5))*unit)
}

// step measures cfg. The error ends the plan; there may be a step with it.
func (p *planner) step(ctx context.Context, series, name string, cfg load.Config) (*capacity.Step, *load.Settings, error) {
	what := series + ", " + name
	p.progress.start(what)
	m := p.meter(cfg.Addrs)
	cfg.OnWindow, cfg.OnInterval = m.window, p.progress.interval
	res, err := load.Run(ctx, cfg)
	for try := 1; res == nil && try < connectTries && ctx.Err() == nil; try++ {
		// A busy server may not be done with the connections of the step before.
		select {
		case <-ctx.Done():
		case <-time.After(connectPause):
			res, err = load.Run(ctx, cfg)
		}
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
	}
	if res == nil || ctx.Err() != nil { // a step that was interrupted says nothing of the servers
		return nil, nil, err
	}
	s := planStep(series, &cfg, res, m)
	// A closed loop is as slow as it is busy: only what went wrong counts there.
	slo := p.plan.SLO
	if cfg.Rate == 0 {
		slo = capacity.SLO{}
	}
	s.Violations = slo.Violations(s)
	result := fmt.Sprintf("%s/s, p50 %s, p99 %s", count(s.Rate), short(s.Latency.P50), short(s.Latency.P99))
	if d, ok := s.CPUPerOp(); ok {
		result += fmt.Sprintf(", server CPU %s each", short(load.Duration(d)))
	}
	if len(s.Violations) > 0 {
		result += "; " + strings.Join(s.Violations, ", ")
	}
	p.progress.step(what, result)
	return s, &res.Settings, err
}

// planStep makes a step of a result.
func planStep(series string, cfg *load.Config, res *load.Result, m *planMeter) *capacity.Step {
	s := &capacity.Step{
		Series: series, Offered: cfg.Rate, Sessions: res.Settings.Sessions, Outstanding: res.Settings.Outstanding, Measured: res.Measured,
		Rate: res.Total.PerSecond, Reads: res.Reads.PerSecond, Writes: res.Writes.PerSecond,
		Count: res.Total.Count, Errors: res.Total.Errors, Unfinished: res.Unfinished, Disconnects: res.Disconnects,
		Latency: res.Total.Latency, ReadLatency: res.Reads.Latency, WriteLatency: res.Writes.Latency, Lateness: res.Lateness,
		Intervals: res.Intervals, Work: planWork(cfg, res), Servers: m.uses, Incomplete: res.Incomplete,
	}
	if h := res.Total.Histogram.Histogram; h != nil {
		for i, ns := range h.ValueAtPercentilesSlice(capacity.CurvePercentiles) {
			s.Curve = append(s.Curve, capacity.CurvePoint{Percentile: capacity.CurvePercentiles[i], Latency: load.Duration(ns)})
		}
	}
	if s.Count > 0 {
		var inTime int64
		for _, i := range res.Intervals {
			inTime += i.Reads.Count + i.Writes.Count
		}
		s.Late = max(0, 1-float64(inTime)/float64(s.Count))
	}
	if res.Measured > 0 {
		s.GeneratorCores = time.Duration(res.GeneratorCPU).Seconds() / time.Duration(res.Measured).Seconds()
	}
	if m.took > 0 {
		s.BusyCores = m.busy.Seconds() / m.took.Seconds()
		// Costs count per second of the step, and the samples may lie a little further apart.
		scale := time.Duration(res.Measured).Seconds() / m.took.Seconds()
		for i := range s.Servers {
			u := &s.Servers[i]
			u.CPU, u.FsyncTime = u.CPU*capacity.Seconds(scale), u.FsyncTime*capacity.Seconds(scale)
			u.Fsyncs = int64(float64(u.Fsyncs)*scale + 0.5)
			u.Flushes = int64(float64(u.Flushes)*scale + 0.5)
		}
	}
	return s
}

// planWork counts what the servers did. Names of children are as the generator makes them.
func planWork(cfg *load.Config, res *load.Result) capacity.Work {
	var w capacity.Work
	kib := cfg.Payload.Mean() / 1024
	const childBytes = 14 // a name and its length
	perDir := float64(min(max(cfg.KeysPerDir, 1), max(cfg.Keys, 1)))
	for k := load.Kind(0); ; k++ {
		if _, ok := load.KindOf(k.String()); !ok {
			break
		}
		f := res.Op(k)
		n := float64(f.Count)
		switch k {
		case load.Notification:
			w.Events += f.Count
			continue
		case load.Session:
			w.Sessions += f.Count
		case load.Multi:
			w.Writes += f.Count
			w.MultiOps += f.Count * int64(max(cfg.MultiOps, 1)-1)
			w.WriteKiB += n * float64(max(cfg.MultiOps, 1)) * kib
		case load.Delete, load.DeleteEphem:
			w.Writes += f.Count
		case load.Get, load.Watch, load.Rewatch:
			w.Reads += f.Count
			w.ReadKiB += n * kib
		case load.Children:
			w.Reads += f.Count
			w.ReadKiB += n * perDir * childBytes / 1024
		default:
			if k.IsWrite() {
				w.Writes += f.Count
				w.WriteKiB += n * kib
			} else {
				w.Reads += f.Count
			}
		}
		w.Requests += f.Count
	}
	return w
}
