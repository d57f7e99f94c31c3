package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"zabra.dev/zabra/bench/load"
	"zabra.dev/zabra/bench/rig"
)

// A Joining is the result of zabra bench join.
type Joining struct {
	Setting
	Znodes int     `json:"znodes"`
	Rate   float64 `json:"rate"` // writes per second
	Joins  []Join  `json:"joins"`
}

// A Join is what an empty server needed to join, and what clients of the leader noticed.
type Join struct {
	Contender string        `json:"contender"`
	Round     int           `json:"round"`
	Took      load.Duration `json:"took"` // from the start of its process until it serves
	// Before and During have the latencies of writes at the leader.
	Before load.Latency `json:"before"`
	During load.Latency `json:"during"`
}

type joinOptions struct {
	contenders
	servers, znodes, rounds int
	rate                    float64
	duration                time.Duration
	jsonPath                string
}

// joinTime bounds a join.
const joinTime = 5 * time.Minute

func runJoin(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o joinOptions
	fs := flag.NewFlagSet("zabra bench join", flag.ContinueOnError)
	fs.SetOutput(stderr)
	o.add(fs)
	fs.IntVar(&o.servers, "servers", 3, "`COUNT` of servers in each ensemble; the last one joins")
	fs.IntVar(&o.znodes, "znodes", 1_000_000, "`COUNT` of znodes of 100 bytes that are there")
	fs.IntVar(&o.rounds, "rounds", 3, "`COUNT` of joins")
	fs.Float64Var(&o.rate, "rate", 1000, "writes per second at the leader")
	fs.DurationVar(&o.duration, "duration", 10*time.Second, "time of the measurement without a join")
	fs.StringVar(&o.jsonPath, "json", "", "write all results to `FILE` as JSON")
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	if o.servers < 3 || o.znodes < 1 || o.rounds < 1 || o.rate <= 0 || o.duration <= 0 {
		return fmt.Errorf("%w: servers must be above 2, znodes, rounds, rate and duration above 0", errUsage)
	}
	setting, kinds, dir, remove, err := o.begin(o.servers)
	if err != nil {
		return err
	}
	defer remove()
	j := &Joining{Setting: setting, Znodes: o.znodes, Rate: o.rate}
	err = j.run(ctx, o, kinds, dir, stderr)
	j.end()
	writeJoining(stdout, j)
	if o.jsonPath != "" {
		err = errors.Join(err, writeJSON(o.jsonPath, j))
	}
	return err
}

// run measures the contenders in turn. All but the last server of each ensemble run from the start.
func (j *Joining) run(ctx context.Context, o joinOptions, kinds []rig.Kind, dir string, log io.Writer) error {
	ensembles := make([]*rig.Ensemble, len(kinds))
	for i, k := range kinds {
		e, err := rig.New(k, o.servers, dir, nil)
		if err != nil {
			return err
		}
		defer e.Close()
		ensembles[i] = e
		for _, s := range e.Servers[:o.servers-1] {
			if err := s.Start(); err != nil {
				return err
			}
		}
		cfg, err := o.load(e)
		if err != nil {
			return err
		}
		fmt.Fprintf(log, "%s: creating %s znodes\n", k.Name, count(float64(o.znodes)))
		if err := load.Fill(ctx, cfg); err != nil {
			return fmt.Errorf("%s: %w", k.Name, err)
		}
	}
	for round := 1; round <= o.rounds; round++ {
		for i, k := range kinds {
			n, err := join(ctx, ensembles[i], o)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", k.Name, round, err)
			}
			n.Contender, n.Round = k.Name, round
			j.Joins = append(j.Joins, n)
			fmt.Fprintf(log, "round %d join of an empty server, %-6s took %-6s p99 of writes before %-7s during %-7s, max %s\n",
				round, k.Name, short(n.Took), short(n.Before.P99), short(n.During.P99), short(n.During.Max))
		}
	}
	return nil
}

// load is what the leader has to do.
func (o *joinOptions) load(e *rig.Ensemble) (load.Config, error) {
	leader, err := e.WaitLeader(startTimeout)
	if err != nil {
		return load.Config{}, err
	}
	mix, err := load.ParseMix("set")
	if err != nil {
		panic("bench: own mix: " + err.Error())
	}
	return load.Config{
		Addrs: []string{leader.Addr()}, Mix: mix, Sessions: 16, Rate: o.rate, Poisson: true, Keys: o.znodes, KeysPerDir: 1000,
		Payload: load.FixedSize(100), Warmup: 2 * time.Second, Duration: o.duration,
	}, nil
}

// join measures without a join and then with one.
func join(ctx context.Context, e *rig.Ensemble, o joinOptions) (Join, error) {
	joiner := e.Servers[o.servers-1]
	joiner.Kill()
	if err := joiner.Clear(); err != nil {
		return Join{}, err
	}
	cfg, err := o.load(e)
	if err != nil {
		return Join{}, err
	}
	before, err := load.Run(ctx, cfg)
	if err != nil {
		return Join{}, err
	}
	began, joined := make(chan struct{}), make(chan error)
	cfg.Duration = joinTime
	cfg.OnWindow = func(end bool) {
		if !end {
			close(began)
		}
	}
	runCtx, stop := context.WithCancel(ctx)
	defer stop()
	var took time.Duration
	go func() {
		defer stop()
		select {
		case <-began:
		case <-runCtx.Done():
			joined <- runCtx.Err()
			return
		}
		start := time.Now()
		err := joiner.Start()
		if err == nil {
			err = joiner.WaitServing(joinTime)
		}
		took = time.Since(start)
		joined <- err
	}()
	// The join ends the load.
	var during *load.Result
	ran := make(chan error)
	go func() {
		var err error
		during, err = load.Run(runCtx, cfg)
		stop()
		ran <- err
	}()
	joinErr, runErr := <-joined, <-ran
	switch {
	case ctx.Err() != nil:
		return Join{}, ctx.Err()
	case runErr != nil && !errors.Is(runErr, context.Canceled):
		return Join{}, fmt.Errorf("load while joining: %w", runErr)
	case joinErr != nil:
		return Join{}, joinErr
	case during == nil:
		return Join{}, fmt.Errorf("load while joining: %w", runErr)
	}
	return Join{Took: load.Duration(took), Before: before.Writes.Latency, During: during.Writes.Latency}, nil
}

// writeJoining writes the table.
func writeJoining(w io.Writer, j *Joining) {
	var order []string
	figures := []struct {
		name string
		of   func(*Join) load.Duration
	}{
		{"empty server to serving", func(n *Join) load.Duration { return n.Took }},
		{"p99 of writes before", func(n *Join) load.Duration { return n.Before.P99 }},
		{"p99 of writes during the join", func(n *Join) load.Duration { return n.During.P99 }},
		{"longest write during the join", func(n *Join) load.Duration { return n.During.Max }},
	}
	values := map[string][]time.Duration{} // of a contender and a figure
	for i := range j.Joins {
		n := &j.Joins[i]
		if !slices.Contains(order, n.Contender) {
			order = append(order, n.Contender)
		}
		for _, f := range figures {
			values[n.Contender+f.name] = append(values[n.Contender+f.name], time.Duration(f.of(n)))
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "server\tfigure\tmin\tmedian\tmax")
	for _, f := range figures {
		for _, c := range order {
			fmt.Fprintf(t, "%s\t%s\t%s\n", c, f.name, spread(values[c+f.name]))
		}
	}
	t.Flush()
	fmt.Fprintf(w, "%d servers, %s znodes of 100 bytes, %s writes/s at the leader; %d x %s, Linux %s, load average %s\n",
		j.Servers, count(float64(j.Znodes)), count(j.Rate), j.Machine.CPUs, j.Machine.Model, j.Machine.Kernel, j.Machine.LoadAverage)
}
