package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"zabra.dev/zabra/quorum"
)

// ListenerOptions describe the quorum port of a leader, or of a server that may become one.
type ListenerOptions struct {
	// Addrs are the quorum addresses to bind; ListenAllIPs binds their ports on all addresses of the
	// machine (quorumListenOnAllIPs).
	Addrs        []quorum.Addr
	ListenAllIPs bool
	Network      Network
	Link         LinkOptions
	// Auth comes first on each connection, within AuthTimeout, which is 10 s by default.
	Auth        Auth
	AuthTimeout time.Duration
	// Opened is given each link; it, or whoever it passes the link on to, starts it or shuts it
	// down. It is called on a goroutine of the listener and must not call Close.
	Opened func(*Link)
	// Log takes lines about what goes wrong. Default: none.
	Log *slog.Logger
}

// Listener takes links of learners on the quorum port. Its links are not its own: they outlive it.
type Listener struct {
	opts      ListenerOptions
	ctx       context.Context // until Close
	cancel    context.CancelFunc
	wg        sync.WaitGroup // goroutines that accept, and those that authenticate
	listeners []net.Listener
	links     atomic.Int64 // that have not ended
}

// Listen binds the quorum port and begins to take links. All addresses are bound, or none and the first
// error is returned.
func Listen(opts ListenerOptions) (*Listener, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.AuthTimeout <= 0 {
		opts.AuthTimeout = 10 * time.Second
	}
	opts.Network = opts.Network.withDefaults()
	l := &Listener{opts: opts}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	bound := map[string]bool{}
	for _, a := range opts.Addrs {
		address := net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
		if opts.ListenAllIPs {
			address = ":" + strconv.Itoa(a.Port)
		}
		if bound[address] {
			continue
		}
		bound[address] = true
		ln, err := opts.Network.Listen(l.ctx, address)
		if err != nil {
			l.cancel()
			return nil, errors.Join(fmt.Errorf("transport: quorum port %s: %w", address, err), l.closeListeners())
		}
		l.listeners = append(l.listeners, ln)
	}
	for _, ln := range l.listeners {
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			l.accept(ln)
		}()
	}
	return l, nil
}

// Addr returns the address that the first port is bound to.
func (l *Listener) Addr() net.Addr { return l.listeners[0].Addr() }

// Close ends the port; links that were opened stay.
func (l *Listener) Close() error {
	l.cancel()
	err := l.closeListeners()
	l.wg.Wait()
	return err
}

func (l *Listener) closeListeners() error {
	var errs []error
	for _, ln := range l.listeners {
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (l *Listener) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			if l.ctx.Err() != nil {
				return
			}
			l.opts.Log.Warn("Exception while accepting learners", "err", err)
			if errors.Is(err, net.ErrClosed) {
				return // not by Close; no learner will come any more
			}
			// No file descriptor left, or the like: this passes.
			select {
			case <-l.ctx.Done():
				return
			case <-time.After(10 * time.Millisecond):
				continue
			}
		}
		if l.links.Load() >= linksMax {
			l.opts.Log.Warn("Too many learners, closing the connection of " + javaAddr(conn.RemoteAddr()))
			conn.Close()
			continue
		}
		l.links.Add(1)
		if l.opts.Auth.Server == nil {
			l.open(conn)
			continue
		}
		l.wg.Go(func() { l.authenticate(conn) })
	}
}

// authenticate opens a link once the peer has proved who it is.
func (l *Listener) authenticate(conn net.Conn) {
	stop := context.AfterFunc(l.ctx, func() { conn.Close() })
	authed, err := l.opts.Auth.accepted(conn, time.Now().Add(l.opts.AuthTimeout))
	if !stop() || err != nil {
		if l.ctx.Err() == nil {
			l.opts.Log.Error("Closing the connection of "+javaAddr(conn.RemoteAddr())+", which has not authenticated itself", "err", err)
		}
		conn.Close()
		l.links.Add(-1)
		return
	}
	l.open(authed)
}

func (l *Listener) open(conn net.Conn) {
	link := NewLink(conn, l.opts.Link)
	link.onEnd = func() { l.links.Add(-1) }
	l.opts.Opened(link)
}
