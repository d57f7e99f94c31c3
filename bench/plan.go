package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"zabra.dev/zabra/bench/capacity"
	"zabra.dev/zabra/bench/load"
	"zabra.dev/zabra/bench/report"
)

// planOptions are the flags of zabra bench plan.
type planOptions struct {
	servers, metrics, slo, mixes string
	sweeps, need                 string
	quick                        bool
	step, warmup                 time.Duration
	loops, size, maxSessions     int
	sizes, observers             string
	utilisation, headroom        float64
	htmlPath, jsonPath, against  string
	root, dir, zabra             string
	keep                         bool
	seed                         uint64
}

// A planProfile is what -quick and its absence mean.
type planProfile struct {
	name         string
	step, warmup time.Duration
	mixes        string
	fractions    []float64 // of the closed loop's rate, for the steps of a mix
	halvings     int
	reads        []float64 // percent
	payloads     []string
	clients      []int
	memoryZnodes int
	sizes        string
	observers    string
}

var (
	quickProfile = planProfile{
		name: "quick", step: 1500 * time.Millisecond, warmup: 500 * time.Millisecond, mixes: "read95,paper",
		fractions: []float64{0.2, 0.4, 0.6, 0.8}, halvings: 1,
		reads: []float64{100, 90, 0}, payloads: []string{"100", "1KiB", "8KiB"}, clients: []int{4, 48, 256},
		memoryZnodes: 200_000, sizes: "1,3", observers: "1",
	}
	fullProfile = planProfile{
		name: "full", step: 4 * time.Second, warmup: time.Second, mixes: "read95,paper,kafka-controller,clickhouse,hbase,locks,discovery",
		fractions: []float64{0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1}, halvings: 2,
		reads: []float64{100, 95, 80, 50, 0}, payloads: []string{"16", "100", "1KiB", "8KiB", "32KiB"}, clients: []int{1, 8, 48, 200, 600},
		memoryZnodes: 500_000, sizes: "1,3,5", observers: "0,1,2",
	}
)

// planSweeps are what -sweeps may name; the last two need servers that the plan starts itself.
var planSweeps = []string{"reads", "payload", "clients", "memory", "ensemble", "observers"}

func runPlan(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o planOptions
	fs := flag.NewFlagSet("zabra bench plan", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.servers, "servers", "", "client ports of the ensemble, `HOST:PORT,...` (default: start servers of this binary on this machine)")
	fs.StringVar(&o.metrics, "metrics", "", "of servers on other machines: `URL,...` of their Prometheus pages, for processor time and memory")
	fs.StringVar(&o.slo, "slo", "p99=20ms", "latency to keep, `PERCENTILE=DURATION,...` (mean, p50, p90, p99, p99.9, p99.99, max)")
	fs.BoolVar(&o.quick, "quick", false, "shorter and fewer steps: a minute or two")
	fs.StringVar(&o.mixes, "mixes", "", "named `MIXES` (zabra bench mixes), or KIND:WEIGHT,... of one's own, separated by semicolons")
	fs.StringVar(&o.sweeps, "sweeps", "all", "`SWEEPS` to make, of "+strings.Join(planSweeps, ", ")+"; all or none")
	fs.StringVar(&o.need, "need", "", "also answer how many servers carry `NEED`: reads=200000,writes=20000,payload=1KiB,znodes=5M,sessions=10k")
	fs.Float64Var(&o.utilisation, "utilisation", 0.6, "`SHARE` of its processors that a server of the answer may need while another is gone")
	fs.Float64Var(&o.headroom, "headroom", 2, "`FACTOR` between the memory that data takes and that which a server of the answer has")
	fs.DurationVar(&o.step, "step", 0, "time of each step (default 4s, quick 1.5s)")
	fs.DurationVar(&o.warmup, "warmup", 0, "time before each step (default 1s, quick 500ms)")
	fs.IntVar(&o.loops, "loops", 1, "`COUNT` of event loops of the generator")
	fs.IntVar(&o.size, "size", 1, "without -servers: `COUNT` of servers to measure the mixes on")
	fs.StringVar(&o.sizes, "sizes", "", "without -servers: `COUNTS` of servers for the sweep ensemble (default 1,3,5, quick 1,3)")
	fs.StringVar(&o.observers, "observers", "", "without -servers: `COUNTS` of observers beside three voters for the sweep observers (default 0,1,2, quick 1)")
	fs.StringVar(&o.htmlPath, "html", "plan.html", "write the report to `FILE`")
	fs.StringVar(&o.jsonPath, "json", "plan.json", "write the same as JSON to `FILE`")
	fs.StringVar(&o.against, "against", "", "compare with the JSON of an earlier plan, `FILE`, in the report")
	fs.StringVar(&o.root, "root", "/zbench-plan", "`PATH` of the parent of everything that is made; removed at the end")
	fs.BoolVar(&o.keep, "keep", false, "leave what was made below -root")
	fs.StringVar(&o.dir, "dir", "", "without -servers: `FOLDER` for their data (default: a temporary one, removed at the end)")
	fs.IntVar(&o.maxSessions, "max-sessions", 0, "`COUNT` of sessions that the servers take from this machine (default: as their maxClientCnxns says)")
	fs.StringVar(&o.zabra, "zabra", "", "without -servers: `BINARY` to start (default: this one)")
	fs.Uint64Var(&o.seed, "seed", 1, "`NUMBER` that the choices of the generator follow from")
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	p, err := newPlanner(o, stderr)
	if err != nil {
		return err
	}
	err = p.run(ctx)
	if p.plan.Started.IsZero() {
		return err // nothing was measured
	}
	if werr := p.write(); werr != nil {
		return errors.Join(err, werr)
	}
	writePlanSummary(stdout, &p.plan)
	fmt.Fprintf(stdout, "report: %s, as JSON: %s\n", o.htmlPath, o.jsonPath)
	if err != nil {
		return fmt.Errorf("the plan is partial: %w", err)
	}
	return nil
}

// newPlanner checks the command line.
func newPlanner(o planOptions, log io.Writer) (*planner, error) {
	p := &planner{opts: o, profile: fullProfile, want: map[string]bool{}}
	usage := func(name string, err error) (*planner, error) {
		return nil, fmt.Errorf("%w: -%s: %w", errUsage, name, err)
	}
	if o.quick {
		p.profile = quickProfile
	}
	def := func(v *time.Duration, d time.Duration) {
		if d > 0 {
			*v = d
		}
	}
	def(&p.profile.step, o.step)
	def(&p.profile.warmup, o.warmup)
	if o.step < 0 || o.warmup < 0 || o.loops < 1 || o.maxSessions < 0 {
		return nil, fmt.Errorf("%w: -step and -warmup cannot be negative, nor -max-sessions, -loops not below 1", errUsage)
	}
	var err error
	if p.plan.SLO, err = capacity.ParseSLO(o.slo); err != nil {
		return usage("slo", err)
	}
	if o.need != "" {
		n, err := capacity.ParseNeed(o.need)
		if err != nil {
			return usage("need", err)
		}
		p.need = &n
	}
	if !(o.utilisation > 0 && o.utilisation <= 1) || !(o.headroom >= 1) {
		return nil, fmt.Errorf("%w: -utilisation is above 0 and up to 1, -headroom at least 1", errUsage)
	}
	if o.mixes != "" {
		p.profile.mixes = o.mixes
	}
	separator := ","
	if strings.ContainsAny(p.profile.mixes, ":;") {
		separator = ";"
	}
	for _, name := range strings.Split(p.profile.mixes, separator) {
		name = strings.TrimSpace(name)
		cfg, err := mixConfig(name)
		if err != nil {
			return usage("mixes", err)
		}
		p.mixes = append(p.mixes, planMix{name: name, cfg: cfg})
	}
	if err := p.parseSweeps(); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(o.root, "/") || strings.HasSuffix(o.root, "/") || o.root == "/zookeeper" || strings.HasPrefix(o.root, "/zookeeper/") {
		return nil, fmt.Errorf("%w: -root: %q does not start with a slash, ends with one, or is ZooKeeper's own", errUsage, o.root)
	}
	if o.servers != "" {
		for _, a := range strings.Split(o.servers, ",") {
			if _, _, err := net.SplitHostPort(a); err != nil {
				return usage("servers", fmt.Errorf("%q is not HOST:PORT: %w", a, err))
			}
			p.addrs = append(p.addrs, a)
		}
	}
	if o.metrics != "" {
		if p.pages, err = parsePages(o.metrics, len(p.addrs)); err != nil {
			return usage("metrics", err)
		}
	}
	if o.against != "" {
		if p.against, err = readPlan(o.against); err != nil {
			return usage("against", err)
		}
	}
	p.plan.Format = capacity.Format
	p.plan.Profile = capacity.Profile{Name: p.profile.name, Step: load.Duration(p.profile.step), Warmup: load.Duration(p.profile.warmup), Loops: o.loops}
	const between = 400 * time.Millisecond // connecting, looking for keys, closing sessions
	p.progress = newPlanProgress(log, p.profile.step+p.profile.warmup+between)
	return p, nil
}

// parseSweeps reads -sweeps, -sizes and -observers.
func (p *planner) parseSweeps() error {
	o := &p.opts
	own := o.servers == ""
	names := strings.Split(o.sweeps, ",")
	switch o.sweeps {
	case "all":
		names = planSweeps
	case "none":
		names = nil
	}
	for _, n := range names {
		if !slices.Contains(planSweeps, n) {
			return fmt.Errorf("%w: -sweeps: no sweep %q (there are: %s, all, none)", errUsage, n, strings.Join(planSweeps, ", "))
		}
		if !own && (n == "ensemble" || n == "observers") {
			if o.sweeps != "all" {
				return fmt.Errorf("%w: -sweeps: %s needs servers that the plan starts itself: leave -servers out", errUsage, n)
			}
			continue
		}
		p.want[n] = true
	}
	if !own && (o.sizes != "" || o.observers != "") {
		return fmt.Errorf("%w: -sizes and -observers are for servers that the plan starts itself: leave -servers out", errUsage)
	}
	if o.sizes == "" {
		o.sizes = p.profile.sizes
	}
	if o.observers == "" {
		o.observers = p.profile.observers
	}
	if o.size < 1 || o.size > 9 {
		return fmt.Errorf("%w: -size: %d servers (1 to 9)", errUsage, o.size)
	}
	var err error
	if p.sizes, err = parseCounts(o.sizes, 1, 9); err != nil {
		return fmt.Errorf("%w: -sizes: %w", errUsage, err)
	}
	if p.observers, err = parseCounts(o.observers, 0, 9); err != nil {
		return fmt.Errorf("%w: -observers: %w", errUsage, err)
	}
	return nil
}

func parseCounts(s string, least, most int) ([]int, error) {
	var counts []int
	for _, part := range strings.Split(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < least || n > most {
			return nil, fmt.Errorf("%q is not a number from %d to %d", part, least, most)
		}
		counts = append(counts, n)
	}
	return counts, nil
}

// mixConfig is the load of a named mix, or of weights.
func mixConfig(mix string) (load.Config, error) {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f := addLoadFlags(fs)
	if err := fs.Parse([]string{"-mix", mix}); err != nil {
		return load.Config{}, err
	}
	return f.config()
}

// readPlan reads the JSON of a plan.
func readPlan(path string) (*capacity.Plan, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	p, err := capacity.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("bench: %s: %w", path, err)
	}
	return p, nil
}

// runReport draws the report of plans that were measured earlier.
func runReport(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("zabra bench report", flag.ContinueOnError)
	fs.SetOutput(stderr)
	htmlPath := fs.String("html", "plan.html", "write the report to `FILE`")
	need := fs.String("need", "", "answer how many servers carry `NEED` instead of what the plan was asked")
	utilisation := fs.Float64("utilisation", 0.6, "`SHARE` of its processors that a server of the answer may need while another is gone")
	headroom := fs.Float64("headroom", 2, "`FACTOR` between the memory that data takes and that which a server of the answer has")
	against := fs.String("against", "", "compare with the JSON of an earlier plan, `FILE`")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if fs.NArg() != 1 {
		return fmt.Errorf("%w: one FILE, the JSON of a plan, was expected behind the flags", errUsage)
	}
	p, err := readPlan(fs.Arg(0))
	if err != nil {
		return err
	}
	var old *capacity.Plan
	if *against != "" {
		if old, err = readPlan(*against); err != nil {
			return err
		}
	}
	if *need != "" {
		n, err := capacity.ParseNeed(*need)
		if err != nil {
			return fmt.Errorf("%w: -need: %w", errUsage, err)
		}
		if p.Model == nil {
			return fmt.Errorf("bench: %s has no processor times of servers, so it cannot tell what a need takes", fs.Arg(0))
		}
		p.Answer = p.Model.Answer(n, *utilisation, *headroom)
	}
	if err := toFile(*htmlPath, func(w io.Writer) error { return report.Write(w, p, old) }); err != nil {
		return err
	}
	writePlanSummary(stdout, p)
	fmt.Fprintf(stdout, "report: %s\n", *htmlPath)
	return nil
}
