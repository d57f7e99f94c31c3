package bench

import (
	"context"
	"fmt"
	"strconv"

	"zabra.dev/zabra/bench/capacity"
	"zabra.dev/zabra/bench/load"
)

// What sweeps have in common: keys of 1 KiB, sessions as in zabra bench run.
const (
	sweepKeys        = 2000
	sweepPayload     = 1 << 10
	sweepSessions    = 48
	sweepOutstanding = 16
	observedVoters   = 3 // beside which the sweep over observers puts them
)

func (p *planner) sweepPhases() []planPhase {
	var all []planPhase
	add := func(name string, steps int, run func(context.Context) error) {
		if p.want[name] {
			all = append(all, planPhase{steps, run})
		}
	}
	add("reads", 2*len(p.profile.reads), p.sweepReads)
	add("payload", 2*len(p.profile.payloads), p.sweepPayload)
	add("clients", 2*len(p.profile.clients), p.sweepClients)
	add("memory", memorySteps, p.measureMemory)
	add("ensemble", 2*len(p.sizes), p.sweepEnsemble)
	add("observers", 2*len(p.observers), p.sweepObservers)
	return all
}

func (p *planner) newSweep(name, what, axis string) *capacity.Sweep {
	p.plan.Sweeps = append(p.plan.Sweeps, capacity.Sweep{Name: name, What: what, Axis: axis})
	return &p.plan.Sweeps[len(p.plan.Sweeps)-1]
}

func (p *planner) sweepConfig(reads float64) load.Config {
	var mix load.Mix
	mix[load.Get], mix[load.Set] = reads, 100-reads
	return load.Config{Mix: mix, Sessions: sweepSessions, Outstanding: sweepOutstanding, Keys: sweepKeys, KeysPerDir: 100, Payload: load.FixedSize(sweepPayload)}
}

// sweepPoint measures cfg in a closed loop, and at a moderate load.
func (p *planner) sweepPoint(ctx context.Context, sw *capacity.Sweep, value float64, label string, cfg load.Config) error {
	cfg = p.base(cfg, "sweep")
	if err := p.fill(ctx, cfg); err != nil {
		return err
	}
	pt := capacity.SweepPoint{Value: value, Label: label}
	// The point counts with what it has, also when the plan ends here.
	defer func() {
		if pt.Peak != nil {
			sw.Points = append(sw.Points, pt)
		}
	}()
	series := sw.Name + " " + label
	var err error
	if pt.Peak, err = p.sweepStep(ctx, series, "closed loop", cfg); err != nil || pt.Peak.Rate == 0 {
		return err
	}
	cfg.Rate, cfg.Outstanding = roundRate(capacity.ModerateShare*pt.Peak.Rate), 0
	pt.Moderate, err = p.sweepStep(ctx, series, count(cfg.Rate)+"/s", cfg)
	return err
}

// sweepStep is a step without its intervals: sweeps have many steps and show none of them.
func (p *planner) sweepStep(ctx context.Context, series, name string, cfg load.Config) (*capacity.Step, error) {
	s, _, err := p.step(ctx, series, name, cfg)
	if s != nil {
		s.Intervals = nil
	}
	return s, err
}

func (p *planner) sweepReads(ctx context.Context) error {
	sw := p.newSweep("reads", "getData against setData of 1 KiB", "share of reads (%)")
	for _, r := range p.profile.reads {
		if err := p.sweepPoint(ctx, sw, r, fmt.Sprintf("%g %%", r), p.sweepConfig(r)); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) sweepPayload(ctx context.Context) error {
	sw := p.newSweep("payload", "80 % getData, 20 % setData", "payload (bytes)")
	for _, size := range p.profile.payloads {
		bytes, err := load.ParseBytes(size)
		if err != nil {
			return err
		}
		cfg := p.sweepConfig(80)
		cfg.Payload = load.FixedSize(bytes)
		if err := p.sweepPoint(ctx, sw, float64(bytes), size, cfg); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) sweepClients(ctx context.Context) error {
	sw := p.newSweep("clients", "90 % getData, 10 % setData of 1 KiB, each session with 4 requests under way", "sessions")
	for _, n := range p.profile.clients {
		if p.maxSessions > 0 && n > p.maxSessions {
			p.progress.left -= 2
			continue
		}
		cfg := p.sweepConfig(90)
		cfg.Sessions, cfg.Outstanding = n, 4
		if err := p.sweepPoint(ctx, sw, float64(n), strconv.Itoa(n), cfg); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) sweepEnsemble(ctx context.Context) error {
	sw := p.newSweep("ensemble", "voters of one ensemble, all on this machine", "voters")
	for _, n := range p.sizes {
		if err := p.serversPoint(ctx, sw, n, n, 0); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) sweepObservers(ctx context.Context) error {
	sw := p.newSweep("observers", fmt.Sprintf("observers beside %d voters, all on this machine", observedVoters), "observers")
	for _, n := range p.observers {
		if err := p.serversPoint(ctx, sw, n, observedVoters, n); err != nil {
			return err
		}
	}
	return nil
}

// serversPoint measures reads and writes on an ensemble of its own.
func (p *planner) serversPoint(ctx context.Context, sw *capacity.Sweep, value, voters, observers int) error {
	series := fmt.Sprintf("%s %d", sw.Name, value)
	e, err := p.startServers(fmt.Sprintf("%s-%d", sw.Name, value), voters, observers)
	if err != nil {
		return fmt.Errorf("%s: %w", series, err)
	}
	defer e.Close()
	pt := capacity.SweepPoint{Value: float64(value), Label: strconv.Itoa(value)}
	defer func() {
		if pt.Peak != nil {
			sw.Points = append(sw.Points, pt)
		}
	}()
	cfg := p.base(p.sweepConfig(100), "sweep")
	cfg.Addrs = e.Addrs()
	if err := p.fill(ctx, cfg); err != nil {
		return err
	}
	if pt.Peak, err = p.sweepStep(ctx, series, "reads", cfg); err != nil {
		return err
	}
	cfg.Mix = p.sweepConfig(0).Mix
	pt.Writes, err = p.sweepStep(ctx, series, "writes", cfg)
	return err
}

// foreignShare makes the measurement of memory smaller by this factor on servers that others use.
const foreignShare = 4

// memorySteps is how many steps' time the measurement of memory takes, roughly.
const memorySteps = 5

// measureMemory fills a server and looks at its resident memory in between: an own server, if the others are own too.
func (p *planner) measureMemory(ctx context.Context) error {
	addrs := p.addrs
	if p.plan.Target.Own {
		e, err := p.startServers("memory", 1, 0)
		if err != nil {
			return err
		}
		defer e.Close()
		addrs = e.Addrs()
	}
	meter := p.meter(addrs)
	if _, err := meter.process(0); err != nil {
		return nil // a note says already that it is not known
	}
	var znodes, data int64
	sample := func(sessions int64) error {
		f, err := meter.process(0)
		if err != nil {
			return fmt.Errorf("memory: %w", err)
		}
		p.plan.Memory = append(p.plan.Memory, capacity.MemoryPoint{Znodes: znodes, DataBytes: data, Sessions: sessions, RSS: f.rssBytes})
		return nil
	}
	if err := sample(0); err != nil {
		return err
	}
	n := p.profile.memoryZnodes
	if !p.plan.Target.Own {
		n /= foreignShare
	}
	for i, fill := range []struct{ keys, bytes int }{{n, 100}, {n / 4, 1024}, {n, 16}, {n / 4, 2048}} {
		cfg := p.base(load.Config{Keys: fill.keys, Payload: load.FixedSize(fill.bytes), Sessions: 16, KeysPerDir: 1000}, fmt.Sprintf("memory%d", i))
		cfg.Addrs = addrs
		if err := p.fill(ctx, cfg); err != nil {
			return err
		}
		znodes, data = znodes+int64(fill.keys), data+int64(fill.keys)*int64(fill.bytes)
		if err := sample(0); err != nil {
			return err
		}
		last := p.plan.Memory[len(p.plan.Memory)-1]
		p.progress.step("memory", fmt.Sprintf("%s with %d znodes and %s of data", mebibytes(last.RSS), last.Znodes, mebibytes(last.DataBytes)))
	}
	// Sessions that do next to nothing.
	sessions := 1000
	if p.maxSessions > 0 {
		sessions = min(sessions, p.maxSessions)
	}
	cfg := p.base(load.Config{Sessions: sessions, Rate: 10, Keys: n, KeysPerDir: 1000}, "memory0")
	cfg.Addrs, cfg.Mix[load.Exists] = addrs, 1
	var sampled error
	cfg.OnWindow = func(end bool) {
		if end {
			sampled = sample(int64(sessions))
		}
	}
	if _, err := load.Run(ctx, cfg); err != nil {
		return fmt.Errorf("memory with %d sessions: %w", sessions, err)
	}
	p.progress.step("memory", fmt.Sprintf("%d sessions", sessions))
	return sampled
}
