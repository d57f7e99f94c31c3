package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/quorum"
)

// testExchange stands in for a mechanism: challenge, secret, proof.
type testExchange struct {
	secret string
	server bool
	steps  int
}

func (x *testExchange) Step(token []byte) (answer []byte, done bool, err error) {
	x.steps++
	wrong := func() ([]byte, bool, error) { return nil, false, fmt.Errorf("not %q at step %d", token, x.steps) }
	switch {
	case x.server && x.steps == 1 && len(token) == 0:
		return []byte("challenge"), false, nil
	case x.server && x.steps == 2 && string(token) == x.secret:
		return []byte("proof of " + x.secret), true, nil
	case !x.server && x.steps == 1 && string(token) == "challenge":
		return []byte(x.secret), false, nil
	case !x.server && x.steps == 2 && string(token) == "proof of "+x.secret:
		return nil, true, nil
	}
	return wrong()
}

func authOf(secret string, required bool) Auth {
	return Auth{
		Learner:  func() Exchange { return &testExchange{secret: secret} },
		Server:   func() Exchange { return &testExchange{secret: secret, server: true} },
		Required: required,
	}
}

// TestElectionAuth: servers of the election port prove who they are, or are kept out, or let in, as is demanded.
func TestElectionAuth(t *testing.T) {
	noLeaks(t)
	for _, c := range []struct {
		name     string
		dials    Auth
		required bool
		in       bool
	}{
		{"right", authOf("a", true), true, true},
		{"wrong", authOf("b", true), true, false},
		{"silent", Auth{}, true, false},
		{"wrong, not required", authOf("b", false), false, false}, // it does not believe the other side
		{"silent, not required", Auth{}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l1, l2 := listenLoopback(t), listenLoopback(t)
			config := configOf(t, l1, l2)
			s1 := openSite(t, 1, config, l1, func(o *CnxOptions) { o.Auth = authOf("a", c.required); o.Auth.Log = o.Log })
			s2 := openSite(t, 2, config, l2, func(o *CnxOptions) { o.Auth = c.dials })
			s2.Send(1, vote(5, config))
			if c.in {
				if e := s1.next(Notified); e.Notification.ElectionEpoch != 5 {
					t.Errorf("%+v", e)
				}
				if got := s1.log.has("Successfully completed the authentication"); got != (c.dials.Learner != nil) {
					t.Errorf("logged as authenticated: %v", got)
				}
				return
			}
			eventually(t, "the refusal", func() bool {
				return s1.log.has("Failed to authenticate using SASL") || s1.log.has("authentication is required")
			})
			eventually(t, "what the refused one says", func() bool { return c.dials.Learner == nil || s2.log.has("authentication failed") })
		})
	}
}

// TestKnockWithoutAuth: a server with the lower id that only knocks, and says nothing behind its name, is called back all
// the same.
func TestKnockWithoutAuth(t *testing.T) {
	noLeaks(t)
	l1, l2 := listenLoopback(t), listenLoopback(t)
	config := configOf(t, l1, l2)
	auth := func(o *CnxOptions) { o.Auth = authOf("a", false); o.Auth.Learner = nil }
	s1 := openSite(t, 1, config, l1, auth)
	s2 := openSite(t, 2, config, l2, auth)
	s1.Send(2, vote(5, config))
	if e := s2.next(Notified); e.Notification.ElectionEpoch != 5 {
		t.Errorf("%+v", e)
	}
}

// TestQuorumAuth: likewise for the quorum port, and links work behind it.
func TestQuorumAuth(t *testing.T) {
	noLeaks(t)
	for _, c := range []struct {
		name     string
		dials    Auth
		required bool
		dialled  bool
		opened   bool
	}{
		{"right", authOf("a", true), true, true, true},
		{"wrong", authOf("b", true), true, false, false},
		{"silent", Auth{}, true, true, false},
		{"wrong, not required", authOf("b", false), false, false, true},
		{"silent, not required", Auth{}, false, true, true},
		{"a server that proves nothing", Auth{Learner: func() Exchange { return &proofless{} }}, true, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			book := &logBook{}
			leader := newCollector()
			opened := make(chan *Link, 1)
			l, err := Listen(ListenerOptions{
				Addrs: []quorum.Addr{{Host: "127.0.0.1"}}, Auth: authOf("a", c.required), AuthTimeout: patience, Log: slog.New(book),
				Opened: func(l *Link) { l.Start(leader); opened <- l },
			})
			must(t, err)
			defer l.Close()
			at := quorum.Addr{Host: "127.0.0.1", Port: port(l.Addr())}
			link, err := DialLeader(context.Background(), LeaderOptions{Addrs: []quorum.Addr{at}, Limit: patience, Window: time.Millisecond, Auth: c.dials})
			if c.dialled != (err == nil) || err != nil && !errors.Is(err, ErrAuth) {
				t.Fatalf("%v", err)
			}
			if c.opened {
				defer func() { (<-opened).Close() }()
			}
			if err != nil {
				return
			}
			learner := newCollector()
			link.Start(learner)
			defer link.Close()
			must(t, link.Send(quorum.AppendPacket(nil, quorum.PacketFollowerInfo, 7, []byte("x"))))
			if c.opened {
				eventually(t, "the packet", leader.got(quorum.PacketMinBytes+1))
				return
			}
			eventually(t, "the refusal", func() bool { return book.has("has not authenticated itself") })
			_ = learner.reason(t)
		})
	}
}

// proofless takes any answer and is never satisfied.
type proofless struct{}

func (*proofless) Step([]byte) ([]byte, bool, error) { return []byte("a"), false, nil }

// TestAuthRecorded plays the recorded connections of two Java servers to this side, up to where the token of
// Java's would be judged: framing, order and status are theirs.
func TestAuthRecorded(t *testing.T) {
	for _, name := range []string{"quorum-00", "election-00-sid2-to-sid1", "election-01-sid1-to-sid2"} {
		sent, err := os.ReadFile(filepath.Join("../testdata/sasl", name+".c2s.bin"))
		must(t, err)
		got, err := os.ReadFile(filepath.Join("../testdata/sasl", name+".s2c.bin"))
		must(t, err)
		hello := 0
		if !strings.HasPrefix(name, "quorum") {
			r := bytes.NewReader(sent)
			_, err := readHello(&readConn{r: r})
			must(t, err)
			hello = len(sent) - r.Len()
		}
		// As the connecting side, with the tokens that Java's had.
		c := &readConn{r: bytes.NewReader(got)}
		x := &replayed{tokens: tokensOf(t, sent[hello:], 2)[1:], last: 2}
		auth := Auth{Learner: func() Exchange { return x }}
		must(t, auth.connected(c, time.Time{}))
		if !bytes.HasPrefix(sent[hello:], c.wrote.Bytes()) || x.steps != 2 {
			t.Errorf("%s: sent other bytes than Java's", name)
		}
		// As the listening side.
		c = &readConn{r: bytes.NewReader(sent[hello:])}
		x = &replayed{tokens: tokensOf(t, got, 2), last: 2}
		auth = Auth{Server: func() Exchange { return x }, Required: true}
		_, err = auth.accepted(c, time.Time{})
		must(t, err)
		if !bytes.HasPrefix(got, c.wrote.Bytes()) || x.steps != 2 {
			t.Errorf("%s: answered other bytes than Java's", name)
		}
	}
}

// replayed gives recorded tokens.
type replayed struct {
	tokens      [][]byte
	steps, last int
}

func (x *replayed) Step([]byte) ([]byte, bool, error) {
	x.steps++
	if x.steps > len(x.tokens) {
		return nil, true, nil
	}
	return x.tokens[x.steps-1], x.steps == x.last, nil
}

// tokensOf reads the tokens of the first n packets.
func tokensOf(t *testing.T, b []byte, n int) (tokens [][]byte) {
	t.Helper()
	for range n {
		if len(b) < authHeadBytes || jute.Int64(b) != authMagic {
			t.Fatalf("no packet: %x", b[:min(len(b), 16)])
		}
		k := int(jute.Int32(b[12:]))
		tokens = append(tokens, b[16:16+k])
		b = b[16+k:]
	}
	return tokens
}

// readConn reads what was recorded and keeps what is written.
type readConn struct {
	net.Conn
	r     io.Reader
	wrote bytes.Buffer
}

func (c *readConn) Read(b []byte) (int, error)      { return c.r.Read(b) }
func (c *readConn) Write(b []byte) (int, error)     { return c.wrote.Write(b) }
func (c *readConn) SetDeadline(time.Time) error     { return nil }
func (c *readConn) SetReadDeadline(time.Time) error { return nil }
func (c *readConn) RemoteAddr() net.Addr            { return &net.TCPAddr{} }

// FuzzAuth gives both sides what is from no peer.
func FuzzAuth(f *testing.F) {
	f.Add([]byte("_$5\x015\x01\xed\xcc\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		auth := authOf("a", true)
		if err := auth.connected(&readConn{r: bytes.NewReader(b)}, time.Time{}); err == nil && !bytes.Contains(b, []byte("proof of a")) {
			t.Fatal("believed without a proof")
		}
		if _, err := auth.accepted(&readConn{r: bytes.NewReader(b)}, time.Time{}); err == nil && !bytes.Contains(b, []byte("\x00\x00\x00\x01a")) {
			t.Fatal("let in without the secret")
		}
	})
}
