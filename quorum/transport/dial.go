package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"zabra.dev/zabra/quorum"
)

// DialFunc makes one connection to the address to, which belongs to host: the name that a
// certificate has to bear. It gives the connection and heeds ctx.
type DialFunc func(ctx context.Context, host string, to netip.AddrPort) (net.Conn, error)

// ListenFunc binds an address of the form host:port.
type ListenFunc func(ctx context.Context, address string) (net.Listener, error)

// Network is the way to the outside; the zero value is plain TCP. A TLS configuration supplies
// Dial and Listen.
type Network struct {
	Dial    DialFunc
	Listen  ListenFunc
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// KeepAlive turns TCP keep-alive on (zookeeper.tcpKeepAlive); Dial and Listen, if given, see to
	// it themselves.
	KeepAlive bool
	// Secure only chooses the words of log lines.
	Secure bool
}

func (n Network) withDefaults() Network {
	keepAlive := time.Duration(-1)
	if n.KeepAlive {
		keepAlive = 0
	}
	if n.Dial == nil {
		d := net.Dialer{KeepAlive: keepAlive}
		n.Dial = func(ctx context.Context, _ string, to netip.AddrPort) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", to.String())
		}
	}
	if n.Listen == nil {
		l := net.ListenConfig{KeepAlive: keepAlive}
		n.Listen = func(ctx context.Context, address string) (net.Listener, error) {
			return l.Listen(ctx, "tcp", address)
		}
	}
	if n.Resolve == nil {
		n.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	return n
}

// target is one address to try.
type target struct {
	host string
	ip   netip.AddrPort
}

// String is the address as Java prints it: host/ip:port, or /ip:port when the host is a literal.
func (t target) String() string {
	if _, err := netip.ParseAddr(t.host); err == nil {
		return "/" + t.ip.String()
	}
	return t.host + "/" + t.ip.String()
}

// attempt is the failure of one target; an invalid ip means that the host was not resolved.
type attempt struct {
	target target
	port   int
	err    error
}

func (a attempt) String() string {
	if !a.target.ip.IsValid() {
		return fmt.Sprintf("%s/<unresolved>:%d", a.target.host, a.port)
	}
	return a.target.String()
}

// refused reports whether every attempt was refused by its host: nothing listens there.
func refused(attempts []attempt) bool {
	for _, a := range attempts {
		if !errors.Is(a.err, syscall.ECONNREFUSED) {
			return false
		}
	}
	return len(attempts) > 0
}

// dialAny connects to one of the addresses, whose hosts it resolves anew: it tries them one after the
// other, each a stagger after the one before or as soon as that one fails, and takes the first that
// answers. It gives the connection; the failures are those that came before it. With a nil
// connection there is at least one failure.
func (n *Network) dialAny(ctx context.Context, addrs []quorum.Addr) (net.Conn, target, []attempt) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var targets []target
	var failed []attempt
	for _, a := range addrs {
		ips, err := n.resolve(ctx, a.Host)
		if err != nil {
			failed = append(failed, attempt{target{host: a.Host}, a.Port, err})
		}
		for _, ip := range ips {
			targets = append(targets, target{a.Host, netip.AddrPortFrom(ip.Unmap(), uint16(a.Port))})
		}
	}
	if len(targets) == 0 && len(failed) == 0 {
		return nil, target{}, []attempt{{err: errNoAddress}}
	}
	type result struct {
		conn net.Conn
		attempt
	}
	results := make(chan result)
	started, ended := 0, 0
	start := func() {
		t := targets[started]
		started++
		go func() { // ends when its dial does; the loop below receives from each
			conn, err := n.Dial(ctx, t.host, t.ip)
			results <- result{conn, attempt{t, int(t.ip.Port()), err}}
		}()
	}
	var won result
	timer := time.NewTimer(stagger)
	defer timer.Stop()
	for ended < len(targets) {
		if started == ended && won.conn == nil {
			start()
			timer.Reset(stagger)
		}
		if started == ended {
			break
		}
		var next <-chan time.Time
		if won.conn == nil && started < len(targets) {
			next = timer.C
		}
		select {
		case <-next:
			start()
			timer.Reset(stagger)
		case r := <-results:
			ended++
			switch {
			case r.err != nil:
				if won.conn == nil {
					failed = append(failed, r.attempt)
				}
			case won.conn == nil:
				won = r
				cancel()
			default:
				r.conn.Close() // came second; nothing was said on it
			}
		}
	}
	return won.conn, won.target, failed
}

var errNoAddress = errors.New("transport: no address is known")

func (n *Network) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	ips, err := n.Resolve(ctx, host)
	if err == nil && len(ips) == 0 {
		err = errNoAddress
	}
	return ips, err
}

// javaAddr prints the address of a connection as Java does.
func javaAddr(a net.Addr) string { return "/" + a.String() }
