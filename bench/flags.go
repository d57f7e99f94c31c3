package bench

import (
	"flag"
	"fmt"
	"strings"
	"time"

	"zabra.dev/zabra/bench/load"
)

// loadFlags are the flags that make a load.Config.
type loadFlags struct {
	fs      *flag.FlagSet
	mix     string
	payload string
	keyDist string
	cfg     load.Config
}

func addLoadFlags(fs *flag.FlagSet) *loadFlags {
	f := &loadFlags{fs: fs}
	c := &f.cfg
	fs.StringVar(&f.mix, "mix", "get:95,set:5", "`MIX` of requests by weight (KIND:WEIGHT,...), or the name of one (zabra bench mixes)")
	fs.IntVar(&c.Sessions, "sessions", 48, "`COUNT` of sessions")
	fs.IntVar(&c.Outstanding, "outstanding", 0, "`COUNT` of requests that each session has under way at most (default 16; with -rate 1024)")
	fs.IntVar(&c.Loops, "loops", 1, "`COUNT` of event loops of the generator")
	fs.Float64Var(&c.Rate, "rate", 0, "requests per second of an open loop; 0: closed loop")
	fs.BoolVar(&c.Poisson, "poisson", false, "exponential instead of equal intervals between the requests of an open loop")
	fs.DurationVar(&c.Warmup, "warmup", 2*time.Second, "time before the measurement")
	fs.DurationVar(&c.Duration, "duration", 10*time.Second, "time of the measurement")
	fs.StringVar(&f.payload, "payload", "1KiB", "`SIZES` of data: SIZE, SIZE-SIZE (uniform) or several with weights (100:70,1KiB-4KiB:30)")
	fs.IntVar(&c.Keys, "keys", 10_000, "`COUNT` of znodes that requests are about")
	fs.IntVar(&c.KeysPerDir, "keys-per-dir", 100, "`COUNT` of them below one parent")
	fs.StringVar(&f.keyDist, "dist", "uniform", "how requests spread over the keys: uniform, zipf or zipf:`EXPONENT`")
	fs.IntVar(&c.MultiOps, "multi-ops", 10, "`COUNT` of operations in a multi")
	fs.IntVar(&c.WatchesPerSession, "watches", 0, "`COUNT` of keys that each session watches throughout")
	fs.StringVar(&c.Root, "root", "/zbench", "`PATH` of the parent of everything that is made")
	fs.Uint64Var(&c.Seed, "seed", 1, "`NUMBER` that the choices of a run follow from")
	fs.DurationVar(&c.SessionTimeout, "session-timeout", 30*time.Second, "session timeout to ask for")
	fs.DurationVar(&c.Patience, "patience", 5*time.Second, "how long to go on without any session")
	return f
}

// config finishes the configuration after the flags have been parsed.
func (f *loadFlags) config() (load.Config, error) {
	if m := mixByName(f.mix); m != nil {
		m.apply(f.fs)
	}
	c := f.cfg
	var err error
	if c.Mix, err = load.ParseMix(f.mix); err != nil {
		return c, fmt.Errorf("%w: -mix: %w; named mixes: %s", errUsage, err, strings.Join(mixNames(), ", "))
	}
	if c.Payload, err = load.ParseSizes(f.payload); err != nil {
		return c, fmt.Errorf("%w: -payload: %w", errUsage, err)
	}
	if c.KeyDist, err = load.ParseKeyDist(f.keyDist); err != nil {
		return c, fmt.Errorf("%w: -dist: %w", errUsage, err)
	}
	return c, nil
}
