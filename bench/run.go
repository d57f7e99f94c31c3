package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
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
	if !*quiet {
		cfg.OnInterval = func(i load.Interval) { fmt.Fprintln(stderr, progressLine(i)) }
	}
	m := newMeter(cfg.Addrs)
	cfg.OnWindow = m.window
	res, err := load.Run(ctx, cfg)
	if res == nil {
		return err
	}
	report := Report{Result: *res, Servers: m.usage(), Machine: machine()}
	writeTable(stdout, &report)
	if *jsonPath != "" {
		err = errors.Join(err, writeJSON(*jsonPath, &report))
	}
	return err
}
