package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"zabra.dev/zabra/quorum"
)

// LeaderOptions describe how a learner connects to its leader.
type LeaderOptions struct {
	// Addrs are the leader's quorum addresses, tried together.
	Addrs   []quorum.Addr
	Network Network
	Link    LinkOptions
	// Limit bounds the whole (initLimit ticks, or connectToLearnerMasterLimit ticks). Required.
	Limit time.Duration
	// Window is the time within which a leader that has just been elected opens its port: attempts
	// that fail are repeated so long, but two are made at least. Default 700 ms: Java makes 5 attempts
	// 100 ms apart, and an election that need not wait for finalizeWait is over 200 ms sooner than a
	// Java leader's.
	Window time.Duration
	// Pause is the longest time between two attempts; it begins with a few milliseconds, since a
	// leader usually needs no more (zookeeper.leaderConnectDelayDuringRetryMs). Default 100 ms.
	Pause time.Duration
	// Auth comes first on the connection.
	Auth Auth
	// Log takes the lines of Java's Learner. Default: none.
	Log *slog.Logger
}

// firstPause is the time between the first two attempts to connect to a leader; it doubles from then on.
const firstPause = 4 * time.Millisecond

// ErrNoLeader reports that the leader could not be connected to.
var ErrNoLeader = errors.New("transport: leader not reached")

// DialLeader connects to the leader and gives the link, which is not started. The error matches
// ErrNoLeader, or is that of ctx.
func DialLeader(ctx context.Context, opts LeaderOptions) (*Link, error) {
	if opts.Window <= 0 {
		opts.Window = 700 * time.Millisecond
	}
	if opts.Pause <= 0 {
		opts.Pause = 100 * time.Millisecond
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	network := opts.Network.withDefaults()
	opts.Link.Learner = true
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, opts.Limit)
	defer cancel()
	pause, logged := min(firstPause, opts.Pause), time.Duration(-1)
	for tries := 0; ; tries++ {
		conn, to, failed := network.dialAny(limited, opts.Addrs)
		if conn != nil {
			if err := authenticate(limited, conn, &opts); err != nil {
				conn.Close()
				return nil, fmt.Errorf("%w: %s: %w", ErrNoLeader, to, err)
			}
			opts.Log.Info("Successfully connected to leader, using address: " + to.String())
			return NewLink(conn, opts.Link), nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		elapsed := time.Since(start)
		last := failed[len(failed)-1]
		words := fmt.Sprintf("tries=%d, remaining init limit=%d, connecting to %s", tries, max(opts.Limit-elapsed, 0).Milliseconds(), last)
		switch {
		case limited.Err() != nil:
			opts.Log.Error("Unexpected exception, connectToLeader exceeded. "+words, "err", last.err)
		case elapsed >= opts.Window && tries > 0:
			opts.Log.Error("Unexpected exception, retries exceeded. "+words, "err", last.err)
		default:
			// The first attempts come fast; their lines come no faster than Java's.
			if slot := elapsed / opts.Pause; slot > logged {
				logged = slot
				opts.Log.Warn("Unexpected exception, "+words, "err", last.err)
			}
			select {
			case <-limited.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, opts.Pause)
			continue
		}
		return nil, fmt.Errorf("%w: %s: %w", ErrNoLeader, last, last.err)
	}
}

// authenticate proves who this server is, within the time that ctx leaves.
func authenticate(ctx context.Context, conn net.Conn, opts *LeaderOptions) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	deadline, _ := ctx.Deadline()
	return opts.Auth.connected(conn, deadline)
}
