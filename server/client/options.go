package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"zabra.dev/zabra/engine/proto"
)

const (
	defaultSessionTimeout = 30 * time.Second
	defaultMaxOutstanding = 16384
	defaultPort           = "2181"
)

// Options configure a Client. The zero value is usable.
type Options struct {
	// SessionTimeout is what the client asks for; the server may change it. 0 is 30 s.
	SessionTimeout time.Duration
	// ReadOnly accepts servers in read-only mode; while on one, the client looks for another
	// that is not.
	ReadOnly bool
	// SessionID and Password attach to an existing session; SessionID 0 makes a new one.
	SessionID proto.SessionID
	Password  []byte
	// Login makes the client log in on every connection; if it is refused the session ends in
	// StateAuthFailed. nil: it does not log in.
	Login *Login
	// OnEvent gets changes of the session's state and the events of watches set with
	// DefaultWatcher. It runs like the handler of WatchFunc. May be nil.
	OnEvent func(Event)
	// Dial opens connections, for TLS (see TLSDial) or for tests. nil is plain TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// InOrder tries the servers in the order of the connect string; otherwise the order is
	// random, so that clients spread over the ensemble.
	InOrder bool
	// FailFast makes calls and WaitConnected fail with ErrConnectionLoss as soon as every server
	// of the list has been tried in vain, as in Java's client. Otherwise calls wait for a
	// connection as long as the session timeout, and WaitConnected as long as its context.
	FailFast bool
	// MaxOutstanding bounds requests sent or waiting to be sent; beyond it calls block.
	// 0 is 16384.
	MaxOutstanding int
	// MaxFrameBytes bounds a reply; a larger one breaks the connection. 0 is 64 MiB.
	MaxFrameBytes int
	// Logf reports connection trouble, one line each, for debugging. May be nil.
	Logf func(format string, args ...any)
}

func (o *Options) setDefaults() {
	if o.SessionTimeout <= 0 {
		o.SessionTimeout = defaultSessionTimeout
	}
	if o.MaxOutstanding <= 0 {
		o.MaxOutstanding = defaultMaxOutstanding
	}
	if o.MaxFrameBytes <= 0 {
		o.MaxFrameBytes = defaultMaxFrameBytes
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
}

// TLSDial returns a function for Options.Dial that speaks TLS with cfg, which it borrows for
// good. Without cfg.ServerName the name that is checked is the host of each address.
func TLSDial(cfg *tls.Config) func(ctx context.Context, addr string) (net.Conn, error) {
	d := tls.Dialer{Config: cfg}
	return func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
}

// ParseConnectString splits "host[:port],host[:port]...[/chroot]" into addresses with ports
// (default 2181) and the chroot, which is empty for none. IPv6 addresses with a port stand
// in brackets. Source: Java's ConnectStringParser.
func ParseConnectString(s string) (addrs []string, chroot string, err error) {
	hosts := s
	if i := strings.IndexByte(s, '/'); i >= 0 {
		hosts, chroot = s[:i], s[i:]
		if chroot == "/" {
			chroot = ""
		} else if err := ValidatePath(chroot); err != nil {
			return nil, "", fmt.Errorf("client: connect string %q: %w", s, err)
		}
	}
	for h := range strings.SplitSeq(hosts, ",") {
		if h = strings.TrimSpace(h); h == "" {
			continue
		}
		host, port, err := net.SplitHostPort(h)
		if err != nil {
			host, port = strings.Trim(h, "[]"), defaultPort
			if strings.Contains(host, ":") && net.ParseIP(host) == nil {
				return nil, "", fmt.Errorf("client: connect string %q: %w", s, err)
			}
		}
		addrs = append(addrs, net.JoinHostPort(host, port))
	}
	if len(addrs) == 0 {
		return nil, "", fmt.Errorf("client: connect string %q names no server", s)
	}
	return addrs, chroot, nil
}

// errPath reports a path that servers refuse in writes.
var errPath = errors.New("invalid path")

// ValidatePath tells whether servers accept path in writes: it starts with a slash, does not
// end with one, and has no empty component, no "." or ".." and no forbidden character
// (client protocol, section 5.6). The client's methods do not call it: what a server says
// about a bad path is for the caller to see.
func ValidatePath(path string) error {
	bad := func(why string) error { return fmt.Errorf("%w %q: %s", errPath, path, why) }
	if path == "" {
		return bad("it is empty")
	}
	if path[0] != '/' {
		return bad("it must start with /")
	}
	if path == "/" {
		return nil
	}
	for part := range strings.SplitSeq(path[1:], "/") {
		switch part {
		case "":
			return bad("it has an empty node name")
		case ".", "..":
			return bad("relative paths are not allowed")
		}
	}
	for _, c := range path {
		if c <= 0x1f || c >= 0x7f && c <= 0x9f || c >= 0xd800 && c <= 0xf8ff || c >= 0xfff0 {
			return bad(fmt.Sprintf("character %U is not allowed", c))
		}
	}
	return nil
}
