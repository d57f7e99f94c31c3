package bench

import (
	"context"
	"errors"
	"flag"
	"io"
	"strings"

	"zabra.dev/zabra/bench/load"
)

// runRun measures one ensemble.
func runRun(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("zabra bench run", flag.ContinueOnError)
	fs.SetOutput(stderr)
	servers := fs.String("servers", "127.0.0.1:2181", "client ports of the ensemble, `HOST:PORT,...`")
	fill := fs.Bool("fill", true, "create the keys first")
	onlyFill := fs.Bool("fill-only", false, "create the keys and end")
	jsonPath := fs.String("json", "", "write the result to `FILE` as JSON")
	csvPath := fs.String("csv", "", "write a line per kind of request to `FILE` as CSV")
	intervalsPath := fs.String("intervals", "", "write a line per second to `FILE` as CSV")
	quiet := fs.Bool("quiet", false, "no progress lines")
	f := addLoadFlags(fs)
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	cfg, err := f.config()
	if err != nil {
		return err
	}
	cfg.Addrs = strings.Split(*servers, ",")
	if *fill || *onlyFill {
		if err := load.Fill(ctx, cfg); err != nil || *onlyFill {
			return err
		}
	}
	m := newMeter(cfg.Addrs)
	cfg.OnWindow = m.window
	p := newProgress(stderr, m)
	if !*quiet {
		cfg.OnInterval = p.interval
	}
	res, err := load.Run(ctx, cfg)
	p.end()
	if res == nil {
		return err
	}
	report := Report{Result: *res, Servers: m.usage(), Machine: machine()}
	writeTable(stdout, &report)
	// What was measured is kept whatever ended the run.
	if *jsonPath != "" {
		err = errors.Join(err, writeJSON(*jsonPath, &report))
	}
	if *csvPath != "" {
		err = errors.Join(err, toFile(*csvPath, func(w io.Writer) error { return writeCSV(w, &report) }))
	}
	if *intervalsPath != "" {
		err = errors.Join(err, toFile(*intervalsPath, func(w io.Writer) error { return writeIntervals(w, &report) }))
	}
	return err
}
