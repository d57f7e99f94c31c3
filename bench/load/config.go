package load

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Config says what to do to whom. The zero value of a field selects the default that its comment names.
type Config struct {
	// Addrs are the client ports of the ensemble, host:port. Session i starts with the address i modulo their count.
	Addrs []string
	// Sessions is the count of sessions (48); Outstanding the count of requests that each has under way at
	// most (16 closed, 1024 open loop).
	Sessions, Outstanding int
	// Loops is the count of event loops (1). One saturates most servers; more pay on machines with idle cores.
	Loops int
	// Rate is the count of requests per second of an open loop; 0 is a closed loop. Poisson makes
	// the intervals of the schedule exponential instead of equal.
	Rate    float64
	Poisson bool
	// Requests ends the measurement when so many have been made; it then has no Duration. 0: no limit.
	Requests int64
	// Warmup precedes the measurement, which takes Duration (10 s).
	Warmup, Duration time.Duration
	// Interval is the time between two Intervals of the result (1 s).
	Interval time.Duration

	Mix Mix // no default
	// Keys is the count of znodes that requests are about (10000), KeysPerDir of them below one parent (100).
	Keys, KeysPerDir int
	KeyDist          KeyDist
	Payload          Sizes // of sets, creates and Fill (1 KiB)
	MultiOps         int   // setData per multi (10)
	// WatchesPerSession is the count of keys that each session watches from the start; it answers every event with
	// another getData that watches. Such requests come on top of Outstanding and of Rate.
	WatchesPerSession int
	// Root is the parent of everything that the generator makes (/zbench).
	Root string
	// Seed makes the choices of a run repeatable (1); the order in which replies come is not.
	Seed uint64

	SessionTimeout time.Duration // asked for (30 s)
	ConnectTimeout time.Duration // for all sessions together (30 s)
	// DrainTimeout bounds the wait for replies after the end (10 s), and that for the sessions to close (5 s at most).
	DrainTimeout time.Duration
	// Patience is how long a run goes on without any session (5 s); negative: not at all.
	Patience time.Duration

	// OnWindow is called at the start and at the end of the measurement, from a goroutine of its own;
	// the figures of server processes are read there. OnInterval is called once per Interval. Both may be nil.
	OnWindow   func(end bool)
	OnInterval func(Interval)
}

// ErrConfig is the kind of the errors about a Config.
var ErrConfig = errors.New("load: bad configuration")

// withDefaults fills defaults in and checks.
func (c Config) withDefaults() (Config, error) {
	def(&c.Sessions, 48)
	if c.Rate > 0 {
		def(&c.Outstanding, 1024)
	}
	def(&c.Outstanding, 16)
	def(&c.Loops, 1)
	if c.Requests == 0 {
		def(&c.Duration, 10*time.Second)
	}
	def(&c.Interval, time.Second)
	def(&c.Keys, 10_000)
	def(&c.KeysPerDir, 100)
	def(&c.MultiOps, 10)
	def(&c.Root, "/zbench")
	def(&c.Seed, 1)
	def(&c.SessionTimeout, 30*time.Second)
	def(&c.ConnectTimeout, 30*time.Second)
	def(&c.DrainTimeout, 10*time.Second)
	def(&c.Patience, 5*time.Second)
	if len(c.Payload.parts) == 0 {
		c.Payload = FixedSize(1 << 10)
	}
	c.Loops = min(c.Loops, c.Sessions)
	bad := func(format string, args ...any) (Config, error) {
		return c, fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
	}
	switch {
	case len(c.Addrs) == 0:
		return bad("no server address")
	case c.Sessions < 1 || c.Sessions > 999_999:
		return bad("%d sessions (1 to 999999)", c.Sessions)
	case c.Outstanding < 1 || c.Outstanding > 1<<16:
		return bad("%d requests outstanding per session (1 to 65536)", c.Outstanding)
	case c.Loops < 1:
		return bad("%d loops", c.Loops)
	case !(c.Rate >= 0 && c.Rate <= 1e8):
		return bad("rate %g (up to 1e8 per second; 0: closed loop)", c.Rate)
	case c.Requests < 0 || c.Requests > 0 && c.Duration > 0:
		return bad("%d requests and a duration of %v: only one can end the run", c.Requests, c.Duration)
	case c.Duration < 0 || c.Warmup < 0 || c.Interval < 0:
		return bad("a negative duration")
	case c.Keys < 1 || c.Keys > 100_000_000:
		return bad("%d keys (1 to 100000000)", c.Keys)
	case c.KeysPerDir < 1 || c.Keys/c.KeysPerDir > 999_999:
		return bad("%d keys in directories of %d (at most 999999 directories)", c.Keys, c.KeysPerDir)
	case !strings.HasPrefix(c.Root, "/") || strings.HasSuffix(c.Root, "/"):
		return bad("root %q does not start with a slash, or ends with one", c.Root)
	case c.MultiOps < 1 || c.MultiOps*(c.Payload.Max()+200) > maxPayloadBytes:
		return bad("a multi of %d setData with %d bytes each is more than a request can carry", c.MultiOps, c.Payload.Max())
	case c.WatchesPerSession < 0 || c.WatchesPerSession > c.Keys:
		return bad("%d watches per session on %d keys", c.WatchesPerSession, c.Keys)
	}
	return c, nil
}

func def[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}
