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
	"zabra.dev/zabra/bench/probe"
	"zabra.dev/zabra/bench/rig"
	"zabra.dev/zabra/server/local"
)

// A Failover is the result of zabra bench failover.
type Failover struct {
	Setting
	Sessions int      `json:"sessions"`
	Trials   []Outage `json:"trials"`
}

// An Outage is what the end of a leader meant for clients.
type Outage struct {
	Contender string `json:"contender"`
	Event     string `json:"event"` // stop: SIGTERM as zkServer.sh stop sends it; kill: SIGKILL
	Round     int    `json:"round"`
	// Ensemble is the time in which no session was served, Session that for the session that waited longest.
	Ensemble load.Duration `json:"ensemble"`
	Session  load.Duration `json:"session"`
}

// Events of a failover.
const (
	eventStop = "stop"
	eventKill = "kill"
)

type failoverOptions struct {
	contenders
	servers, sessions, rounds int
	pause                     time.Duration
	jsonPath                  string
}

// recoverTime bounds the wait for service after a failure.
const recoverTime = time.Minute

func runFailover(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o failoverOptions
	fs := flag.NewFlagSet("zabra bench failover", flag.ContinueOnError)
	fs.SetOutput(stderr)
	o.add(fs)
	fs.IntVar(&o.servers, "servers", 3, "`COUNT` of servers in each ensemble")
	fs.IntVar(&o.sessions, "sessions", 9, "`COUNT` of sessions that write, spread over the servers")
	fs.IntVar(&o.rounds, "rounds", 20, "`COUNT` of rounds; in each the leader is stopped once and killed once")
	fs.DurationVar(&o.pause, "pause", 5*time.Millisecond, "time between two writes of a session; it bounds the resolution")
	fs.StringVar(&o.jsonPath, "json", "", "write all results to `FILE` as JSON")
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	if o.servers < 3 || o.sessions < 1 || o.rounds < 1 || o.pause <= 0 {
		return fmt.Errorf("%w: servers must be above 2, sessions, rounds and pause above 0", errUsage)
	}
	setting, kinds, dir, remove, err := o.begin(o.servers)
	if err != nil {
		return err
	}
	defer remove()
	f := &Failover{Setting: setting, Sessions: o.sessions}
	err = f.run(ctx, o, kinds, dir, stderr)
	f.end()
	writeFailover(stdout, f)
	if o.jsonPath != "" {
		err = errors.Join(err, writeJSON(o.jsonPath, f))
	}
	return err
}

// run measures the contenders in turn, so that what else happens on the machine meets all of them.
func (f *Failover) run(ctx context.Context, o failoverOptions, kinds []rig.Kind, dir string, log io.Writer) error {
	ensembles := make([]*rig.Ensemble, len(kinds))
	for i, k := range kinds {
		e, err := rig.New(k, o.servers, dir, nil)
		if err != nil {
			return err
		}
		defer e.Close()
		if err := e.Start(startTimeout); err != nil {
			return err
		}
		ensembles[i] = e
	}
	for round := 1; round <= o.rounds; round++ {
		for i, k := range kinds {
			for _, event := range []string{eventStop, eventKill} {
				g, err := failover(ctx, ensembles[i], o, event)
				if err != nil {
					return fmt.Errorf("%s, %s, round %d: %w", k.Name, event, round, err)
				}
				t := Outage{Contender: k.Name, Event: event, Round: round, Ensemble: load.Duration(g.Ensemble), Session: load.Duration(g.Session)}
				f.Trials = append(f.Trials, t)
				fmt.Fprintf(log, "round %d %s of the leader, %-6s nobody served for %-7s slowest session %s\n", round, event, k.Name, short(t.Ensemble), short(t.Session))
			}
		}
	}
	return nil
}

// failover ends the leader, waits until all sessions are served by another one, and starts it again.
func failover(ctx context.Context, e *rig.Ensemble, o failoverOptions, event string) (probe.Gaps, error) {
	p, err := probe.Start(ctx, probe.Options{Addrs: e.Addrs(), Sessions: o.sessions, Path: "/failover", Pause: o.pause, Timeout: 10 * time.Second})
	if err != nil {
		return probe.Gaps{}, err
	}
	defer p.Stop()
	leader, err := e.WaitLeader(recoverTime)
	if err != nil {
		return probe.Gaps{}, err
	}
	if err := waitServed(ctx, p); err != nil {
		return probe.Gaps{}, err
	}
	p.Reset()
	if event == eventKill {
		leader.Kill()
	} else if err := leader.Stop(recoverTime); err != nil {
		return probe.Gaps{}, err
	}
	if _, err := e.WaitLeader(recoverTime); err != nil {
		return probe.Gaps{}, err
	}
	if err := waitServed(ctx, p); err != nil {
		return probe.Gaps{}, err
	}
	g := p.Gaps()
	if err := leader.Start(); err != nil {
		return g, err
	}
	return g, leader.WaitServing(recoverTime)
}

// waitServed waits until each session has sent a write from now on that succeeded.
func waitServed(ctx context.Context, p *probe.Probe) error {
	began := time.Now()
	for !p.ServedSince(began) {
		if time.Since(began) > recoverTime {
			return fmt.Errorf("%w: after %v there are sessions without service", local.ErrNotServing, recoverTime)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// writeFailover writes the table.
func writeFailover(w io.Writer, f *Failover) {
	type key struct{ contender, event string }
	var order []key
	ensemble, session := map[key][]time.Duration{}, map[key][]time.Duration{}
	for _, t := range f.Trials {
		k := key{t.Contender, t.Event}
		if ensemble[k] == nil {
			order = append(order, k)
		}
		ensemble[k] = append(ensemble[k], time.Duration(t.Ensemble))
		session[k] = append(session[k], time.Duration(t.Session))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "leader\tserver\ttimes\tnobody served: min\tmedian\tmax\tslowest session: min\tmedian\tmax")
	for _, k := range order {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\n", k.event, k.contender, len(ensemble[k]), spread(ensemble[k]), spread(session[k]))
	}
	t.Flush()
	fmt.Fprintf(w, "%d servers, %d sessions that write and reconnect at once; %d x %s, Linux %s, load average %s\n",
		f.Servers, f.Sessions, f.Machine.CPUs, f.Machine.Model, f.Machine.Kernel, f.Machine.LoadAverage)
}

// spread gives minimum, median and maximum as cells.
func spread(all []time.Duration) string {
	s := slices.Sorted(slices.Values(all))
	mid := s[len(s)/2]
	if len(s)%2 == 0 {
		mid = (s[len(s)/2-1] + mid) / 2
	}
	return fmt.Sprintf("%s\t%s\t%s", short(load.Duration(s[0])), short(load.Duration(mid)), short(load.Duration(s[len(s)-1])))
}
