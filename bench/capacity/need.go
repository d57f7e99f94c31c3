package capacity

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrNeed is the kind of every error of ParseNeed.
var ErrNeed = errors.New("capacity: bad need")

// A Need is the load that servers are to be found for.
type Need struct {
	Reads    float64 `json:"reads"`   // per second
	Writes   float64 `json:"writes"`  // per second
	Payload  int     `json:"payload"` // bytes of data of a znode
	Znodes   int64   `json:"znodes"`
	Sessions int64   `json:"sessions"` // open at the same time
}

// ParseNeed reads "reads=200000,writes=20000,payload=1KiB,znodes=5M,sessions=10k"; what is not named is 0, payload 1KiB.
// Errors match ErrNeed.
func ParseNeed(s string) (Need, error) {
	n := Need{Payload: 1 << 10}
	given := map[string]bool{}
	for _, part := range strings.Split(s, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return Need{}, fmt.Errorf("%w: %q is not NAME=NUMBER, such as reads=200000", ErrNeed, part)
		}
		if given[name] {
			return Need{}, fmt.Errorf("%w: %s stands there twice", ErrNeed, name)
		}
		given[name] = true
		v, err := parseNumber(value)
		if err != nil {
			return Need{}, fmt.Errorf("%w: %s: %w", ErrNeed, name, err)
		}
		const most = 1 << 20 // what a znode can hold
		switch name {
		case "reads":
			n.Reads = v
		case "writes":
			n.Writes = v
		case "payload":
			if v > most {
				return Need{}, fmt.Errorf("%w: payload: %s is more than a znode can hold (1MiB)", ErrNeed, value)
			}
			n.Payload = int(v)
		case "znodes":
			n.Znodes = int64(v)
		case "sessions":
			n.Sessions = int64(v)
		default:
			return Need{}, fmt.Errorf("%w: there is no %q (there are: reads, writes, payload, znodes, sessions)", ErrNeed, name)
		}
	}
	if n.Reads+n.Writes == 0 {
		return Need{}, fmt.Errorf("%w: neither reads nor writes, per second, are named", ErrNeed)
	}
	return n, nil
}

// parseNumber reads 5000, 5k, 2.5M, 1G, or bytes as 100B, 1KiB, 2MiB.
func parseNumber(s string) (float64, error) {
	digits, unit := s, 1.0
	for _, u := range []struct {
		suffix string
		factor float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"B", 1}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}} {
		if d, ok := strings.CutSuffix(s, u.suffix); ok {
			digits, unit = d, u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(digits, 64)
	// The comparison is written so that NaN fails it.
	if err != nil || !(v >= 0 && v*unit <= 1e12) {
		return 0, fmt.Errorf("%q is not a number from 0 to 1e12 (5000, 5k, 2.5M, 1KiB)", s)
	}
	return v * unit, nil
}

// String returns the need in the form that ParseNeed reads.
func (n Need) String() string {
	return fmt.Sprintf("reads=%g,writes=%g,payload=%dB,znodes=%d,sessions=%d", n.Reads, n.Writes, n.Payload, n.Znodes, n.Sessions)
}
