package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"zabra.dev/zabra/bench/load"
	"zabra.dev/zabra/bench/procstat"
	"zabra.dev/zabra/bench/rig"
)

// startTimeout bounds the start of an ensemble, with a million znodes to load.
const startTimeout = 3 * time.Minute

// compareOptions are the flags of zabra bench compare.
type compareOptions struct {
	zabra, javaClassPath, javaFlags string
	servers                         string // counts, as in sizes
	rounds                          int
	duration, warmup, compile       time.Duration
	sessions, outstanding, loops    int
	payload                         string
	znodes                          int
	figures                         string
	dir, jsonPath                   string
}

// A comparison measures contenders in turn, round by round, so that what else happens on the machine meets all of them.
type comparison struct {
	opts    compareOptions
	sizes   []int // servers in each ensemble, one size after the other; groups but for loads are of the first
	payload load.Sizes
	want    map[string]bool // groups of figures
	dir     string
	log     io.Writer // progress
	kinds   map[string]rig.Kind
	report  Comparison
}

// names of contenders, in the order of a round.
const (
	java    = "java"
	zabra   = "zabra"
	ceiling = "ceiling"
)

// figureGroups are what -figures may name.
var figureGroups = []string{"throughput", "latency", "memory", "restart", "snapshot"}

func runCompare(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o compareOptions
	fs := flag.NewFlagSet("zabra bench compare", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.zabra, "zabra", "", "`BINARY` of Zabra (default: this one)")
	fs.StringVar(&o.javaClassPath, "java-classpath", "", "class `PATH` of the Java server (default: Debian's package zookeeper)")
	fs.StringVar(&o.javaFlags, "java-flags", "-Xmx1000m", "`FLAGS` of the virtual machine; upstream's zkServer.sh gives -Xmx1000m")
	fs.StringVar(&o.servers, "servers", "3,1", "`COUNTS` of servers in each ensemble, one after the other; 1: standalone. Groups but for throughput and latency are taken of the first")
	fs.IntVar(&o.rounds, "rounds", 3, "`COUNT` of rounds; figures are medians")
	fs.DurationVar(&o.duration, "duration", 5*time.Second, "time of each measurement")
	fs.DurationVar(&o.warmup, "warmup", 2*time.Second, "time before each")
	fs.DurationVar(&o.compile, "compile", 10*time.Second, "time of each load before the first round, in which Java's compiler compiles")
	fs.IntVar(&o.sessions, "sessions", 48, "`COUNT` of sessions")
	fs.IntVar(&o.outstanding, "outstanding", 16, "`COUNT` of requests that each session has under way")
	fs.IntVar(&o.loops, "loops", 1, "`COUNT` of event loops of the generator")
	fs.StringVar(&o.payload, "payload", "1KiB", "`SIZES` of data")
	fs.IntVar(&o.znodes, "znodes", 1_000_000, "`COUNT` of znodes of 100 bytes for memory, restart and snapshot")
	fs.StringVar(&o.figures, "figures", strings.Join(figureGroups, ","), "`GROUPS` of figures to take")
	fs.StringVar(&o.dir, "dir", "", "`FOLDER` for the servers' data (default: a temporary one, removed at the end)")
	fs.StringVar(&o.jsonPath, "json", "", "write all results to `FILE` as JSON")
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	c, err := newComparison(o, stderr)
	if err != nil {
		return err
	}
	if o.dir == "" {
		if c.dir, err = os.MkdirTemp("", "zabra-bench-"); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		defer os.RemoveAll(c.dir)
	}
	c.report.Started, c.report.Machine = time.Now(), machine()
	c.report.LoadBefore = c.report.Machine.LoadAverage
	err = c.run(ctx)
	c.report.Machine.LoadAverage = machine().LoadAverage
	writeComparison(stdout, &c.report)
	if o.jsonPath != "" {
		err = errors.Join(err, writeJSON(o.jsonPath, &c.report))
	}
	return err
}

func newComparison(o compareOptions, log io.Writer) (*comparison, error) {
	c := &comparison{opts: o, dir: o.dir, log: log, want: map[string]bool{}, kinds: map[string]rig.Kind{}}
	var err error
	if c.payload, err = load.ParseSizes(o.payload); err != nil {
		return nil, fmt.Errorf("%w: -payload: %w", errUsage, err)
	}
	for _, g := range strings.Split(o.figures, ",") {
		if !slices.Contains(figureGroups, g) {
			return nil, fmt.Errorf("%w: -figures: no group %q (there are: %s)", errUsage, g, strings.Join(figureGroups, ", "))
		}
		c.want[g] = true
	}
	if o.rounds < 1 || o.duration <= 0 || o.znodes < 1 {
		return nil, fmt.Errorf("%w: rounds, duration and znodes must be above 0", errUsage)
	}
	for _, n := range strings.Split(o.servers, ",") {
		size, err := strconv.Atoi(n)
		if err != nil || size < 1 || size > 9 {
			return nil, fmt.Errorf("%w: -servers: %q is no count of servers from 1 to 9", errUsage, n)
		}
		c.sizes = append(c.sizes, size)
	}
	if o.zabra == "" {
		if o.zabra, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
	}
	c.kinds[zabra] = rig.Zabra(o.zabra)
	c.kinds[ceiling] = rig.Responder(o.zabra, c.payload.Max())
	if c.kinds[java], err = rig.Java(o.javaClassPath, strings.Fields(o.javaFlags)); err != nil {
		return nil, err
	}
	c.report.JavaFlags, c.report.ServersEach = o.javaFlags, c.sizes
	return c, nil
}

func (c *comparison) run(ctx context.Context) error {
	for i, size := range c.sizes {
		c.report.size = size
		if c.want["throughput"] || c.want["latency"] {
			if err := c.runLoads(ctx, size); err != nil {
				return err
			}
		}
		if i == 0 && (c.want["memory"] || c.want["restart"] || c.want["snapshot"]) {
			if err := c.runZnodes(ctx, size); err != nil {
				return err
			}
		}
	}
	return nil
}

// start starts one ensemble of each of the names, of size servers but for the ceiling. The returned function ends them.
func (c *comparison) start(group string, size int, names []string, settings map[string]string) (map[string]*rig.Ensemble, func(), error) {
	all := map[string]*rig.Ensemble{}
	closeAll := func() {
		for _, e := range all {
			_ = e.Close() // the servers have ended, nothing is lost
		}
	}
	dir := fmt.Sprintf("%s/%s-%d", c.dir, group, size)
	for _, name := range names {
		n := size
		if name == ceiling {
			n = 1
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("bench: %w", err)
		}
		e, err := rig.New(c.kinds[name], n, dir, settings)
		if err == nil {
			all[name] = e
			err = e.Start(startTimeout)
		}
		if err != nil {
			closeAll()
			return nil, nil, err
		}
	}
	return all, closeAll, nil
}

// config is the load of all measurements but for the mix.
func (c *comparison) config(e *rig.Ensemble, mix string) load.Config {
	m, err := load.ParseMix(mix)
	if err != nil {
		panic("bench: own mix: " + err.Error())
	}
	return load.Config{
		Addrs: e.Addrs(), Mix: m, Sessions: c.opts.sessions, Outstanding: c.opts.outstanding, Loops: c.opts.loops,
		Payload: c.payload, Warmup: c.opts.warmup, Duration: c.opts.duration,
	}
}

// measure runs cfg and notes the result.
func (c *comparison) measure(ctx context.Context, name, what string, round int, cfg load.Config) (*Report, error) {
	m := newMeter(cfg.Addrs)
	cfg.OnWindow = m.window
	res, err := load.Run(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", name, what, err)
	}
	r := &Report{Result: *res, Servers: m.usage(), Machine: machine()}
	c.report.Runs = append(c.report.Runs, Run{Contender: name, Ensemble: c.report.size, What: what, Round: round, Report: *r})
	fmt.Fprintf(c.log, "round %d %-18s %-8s %8s/s  p50 %-7s p99 %-7s p99.9 %-7s server CPU %s per request, load average %s\n", round, what, name,
		count(r.Total.PerSecond), short(r.Total.Latency.P50), short(r.Total.Latency.P99), short(r.Total.Latency.P999),
		short(load.Duration(r.cpuPerOp())), r.Machine.LoadAverage)
	if r.Total.Errors > 0 {
		fmt.Fprintf(c.log, "  errors: %v\n", r.Total.ErrorsBy)
	}
	return r, nil
}

// runLoads measures peaks in closed loops, and latencies at half of Java's peak in open ones.
func (c *comparison) runLoads(ctx context.Context, size int) error {
	names := []string{java, zabra, ceiling}
	all, closeAll, err := c.start("loads", size, names, nil)
	if err != nil {
		return err
	}
	defer closeAll()
	for _, name := range []string{java, zabra} {
		if err := load.Fill(ctx, c.config(all[name], "get")); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	loads := []struct{ what, mix string }{{"writes", "set"}, {"reads", "get"}}
	// Java's figures keep getting better for so long; both get the same.
	for _, l := range loads {
		for _, name := range []string{java, zabra} {
			cfg := c.config(all[name], l.mix)
			cfg.Warmup, cfg.Duration = 0, c.opts.compile
			if c.opts.compile <= 0 {
				continue
			}
			if _, err := load.Run(ctx, cfg); err != nil {
				return fmt.Errorf("%s: before the first round: %w", name, err)
			}
		}
	}
	got := map[string]map[string][]*Report{"writes": {}, "reads": {}}
	for round := 1; round <= c.opts.rounds; round++ {
		for _, l := range loads {
			for _, name := range names {
				cfg := c.config(all[name], l.mix)
				r, err := c.measure(ctx, name, l.what, round, cfg)
				if err != nil {
					return err
				}
				got[l.what][name] = append(got[l.what][name], r)
			}
		}
	}
	perSecond := func(r *Report) float64 { return r.Total.PerSecond }
	cpu := func(r *Report) float64 { return float64(r.cpuPerOp()) / 1e3 }
	for _, l := range loads {
		g := got[l.what]
		c.add(figure("throughput of "+l.what, "1/s", higher, values(g[java], perSecond), values(g[zabra], perSecond), 10, 15))
		c.add(figure("server CPU per "+strings.TrimSuffix(l.what, "s"), "µs", lower, values(g[java], cpu), values(g[zabra], cpu), 10, 15))
		f := figure("ceiling: bare responder, "+l.what, "1/s", higher, values(g[zabra], perSecond), values(g[ceiling], perSecond), 0, 0)
		share := Figure{Name: "share of the ceiling, " + l.what, Unit: "%", Zabra: 100 / f.Ratio}
		c.add(share)
	}
	if !c.want["latency"] {
		return nil
	}
	rate := median(values(got["writes"][java], perSecond)) / 2
	var p99 = map[string][]float64{}
	for round := 1; round <= c.opts.rounds; round++ {
		for _, name := range []string{java, zabra} {
			cfg := c.config(all[name], "set")
			cfg.Rate, cfg.Outstanding, cfg.Poisson = rate, 0, true
			r, err := c.measure(ctx, name, "writes, open loop", round, cfg)
			if err != nil {
				return err
			}
			p99[name] = append(p99[name], float64(r.Total.Latency.P99)/1e6)
		}
	}
	c.add(figure(fmt.Sprintf("p99 of writes at half of Java's peak (%s/s)", count(rate)), "ms", lower, p99[java], p99[zabra], 5, 10))
	return nil
}

// memorySettle is the time between the last of many writes and the look at memory.
const memorySettle = 15 * time.Second

// runZnodes measures with many znodes: memory, restarts, snapshots.
func (c *comparison) runZnodes(ctx context.Context, size int) error {
	const never = "1000000000"
	names := []string{java, zabra}
	all, closeAll, err := c.start("znodes", size, names, map[string]string{"snapCount": never})
	if err != nil {
		return err
	}
	defer closeAll()
	config := func(name, mix string) load.Config {
		cfg := c.config(all[name], mix)
		cfg.Keys, cfg.KeysPerDir, cfg.Payload = c.opts.znodes, 1000, load.FixedSize(100)
		return cfg
	}
	for _, name := range names {
		began := time.Now()
		if err := load.Fill(ctx, config(name, "get")); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(c.log, "%s: %d znodes created in %s\n", name, c.opts.znodes, short(load.Duration(time.Since(began))))
	}
	memory := func(when string) error {
		if !c.want["memory"] {
			return nil
		}
		mib := map[string][]float64{}
		for _, name := range names {
			v, err := resident(all[name])
			if err != nil {
				return err
			}
			mib[name] = []float64{v}
		}
		c.add(figure(fmt.Sprintf("resident memory %s, %s znodes of 100 B", when, count(float64(c.opts.znodes))), "MiB", lower, mib[java], mib[zabra], 5, 10))
		return nil
	}
	// What the burst alone needed is no part of what many znodes need.
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(memorySettle):
	}
	if err := memory("after creating"); err != nil {
		return err
	}
	if err := c.restarts(ctx, all, config); err != nil {
		return err
	}
	if err := memory("after a restart"); err != nil {
		return err
	}
	if c.want["snapshot"] {
		return c.snapshots(ctx, all, config)
	}
	return nil
}

// resident is the memory of all servers of e together, in MiB.
func resident(e *rig.Ensemble) (float64, error) {
	sum := 0.0
	for _, s := range e.Servers {
		u, err := procstat.Read(s.PID())
		if err != nil {
			return 0, err
		}
		sum += float64(u.RSSBytes) / (1 << 20)
	}
	return sum, nil
}

// restarts kills and starts. The first restart is not counted: a Java server has no snapshot before it.
func (c *comparison) restarts(ctx context.Context, all map[string]*rig.Ensemble, config func(name, mix string) load.Config) error {
	took := map[string][]float64{}
	for round := 0; round <= c.opts.rounds; round++ {
		for _, name := range []string{java, zabra} {
			e := all[name]
			e.Kill()
			began := time.Now()
			if err := e.Start(startTimeout); err != nil {
				return err
			}
			// Serving is what a client can use: a session and a reply.
			probe := config(name, "get")
			probe.Sessions, probe.Requests, probe.Warmup, probe.Duration = 1, 1, 0, 0
			if _, err := load.Run(ctx, probe); err != nil {
				return fmt.Errorf("%s: after a restart: %w", name, err)
			}
			d := time.Since(began)
			fmt.Fprintf(c.log, "round %d restart %s %s, load average %s\n", round, name, short(load.Duration(d)), machine().LoadAverage)
			if round > 0 {
				took[name] = append(took[name], d.Seconds())
			}
		}
	}
	if c.want["restart"] {
		c.add(figure(fmt.Sprintf("kill -9 to serving, %s znodes", count(float64(c.opts.znodes))), "s", lower, took[java], took[zabra], 5, 10))
	}
	return nil
}

// snapshots measures the latency of writes without and with snapshots going on. Each is compared with itself.
func (c *comparison) snapshots(ctx context.Context, all map[string]*rig.Ensemble, config func(name, mix string) load.Config) error {
	const rate = 5000 // per second; low enough that only pauses show
	p999 := map[string]map[bool][]float64{java: {}, zabra: {}}
	for round := 1; round <= c.opts.rounds; round++ {
		for _, busy := range []bool{false, true} {
			for _, name := range []string{java, zabra} {
				e := all[name]
				e.Kill()
				what, snapCount := "writes, no snapshots", 1_000_000_000
				if busy {
					// One every 1 to 2 s, as far as the server keeps up.
					what, snapCount = "writes, snapshots", rate*2
				}
				if err := e.Set("snapCount", fmt.Sprint(snapCount)); err != nil {
					return err
				}
				if err := e.Start(startTimeout); err != nil {
					return err
				}
				cfg := config(name, "set")
				cfg.Rate, cfg.Outstanding, cfg.Duration = rate, 0, 2*c.opts.duration
				r, err := c.measure(ctx, name, what, round, cfg)
				if err != nil {
					return err
				}
				p999[name][busy] = append(p999[name][busy], float64(r.Total.Latency.P999)/1e6)
			}
		}
	}
	for _, name := range []string{java, zabra} {
		quiet, busy := median(p999[name][false]), median(p999[name][true])
		f := Figure{Name: "p99.9 of writes with snapshots / without, " + name, Unit: "x"}
		if name == java {
			f.Java = busy / quiet
		} else {
			f.Zabra, f.Must, f.Hoped = busy/quiet, 1.2, 1.05
		}
		c.add(f)
	}
	c.add(figure("p99.9 of writes with snapshots", "ms", lower, p999[java][true], p999[zabra][true], 0, 0))
	return nil
}
