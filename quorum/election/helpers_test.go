package election

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/quorum"
)

const ms = time.Millisecond

func mustConfig(t testing.TB, text string) *quorum.Config {
	t.Helper()
	c, err := quorum.ParseConfig([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// voters returns a config of n participants 1..n and, behind them, observers.
func voters(t testing.TB, n, observers int, more string) *quorum.Config {
	t.Helper()
	var b strings.Builder
	for i := 1; i <= n+observers; i++ {
		role := "participant"
		if i > n {
			role = "observer"
		}
		fmt.Fprintf(&b, "server.%d=h%d:2:3:%s\n", i, i, role)
	}
	return mustConfig(t, b.String()+more)
}

// looking, following and leading build notifications as they are received.
func looking(leader quorum.ServerID, zxid quorum.Zxid, round int64, epoch quorum.Epoch) quorum.Notification {
	return settled(quorum.Looking, leader, zxid, round, epoch)
}

func following(leader quorum.ServerID, zxid quorum.Zxid, round int64, epoch quorum.Epoch) quorum.Notification {
	return settled(quorum.Following, leader, zxid, round, epoch)
}

func leading(leader quorum.ServerID, zxid quorum.Zxid, round int64, epoch quorum.Epoch) quorum.Notification {
	return settled(quorum.Leading, leader, zxid, round, epoch)
}

func settled(s quorum.State, leader quorum.ServerID, zxid quorum.Zxid, round int64, epoch quorum.Epoch) quorum.Notification {
	return quorum.Notification{Vote: quorum.Vote{Leader: leader, Zxid: zxid, ElectionEpoch: round, PeerEpoch: epoch, State: s, Version: 2}}
}

// text writes outputs down, one word or more each, for tables.
func text(out []Output) string {
	var words []string
	for _, o := range out {
		switch o.Kind {
		case Send:
			words = append(words, fmt.Sprintf("%d:%s", o.To, voteText(o.Notification.Vote)))
		case Decided:
			words = append(words, "decided:"+voteText(o.Vote))
		case AdoptConfig:
			words = append(words, fmt.Sprintf("adopt:%x,%v", o.Config.Version, o.Restart))
		case PeerLooking:
			words = append(words, fmt.Sprintf("looking:%d", o.From))
		case TimedOut:
			words = append(words, fmt.Sprintf("timeout:%v", o.Interval))
		}
	}
	return strings.Join(words, " ")
}

// voteText is STATE(leader,zxid,round,epoch) with the letter of the state.
func voteText(v quorum.Vote) string {
	num := func(n int64) string {
		if n == quorum.NoServer {
			return "-"
		}
		return fmt.Sprintf("%x", n)
	}
	return fmt.Sprintf("%s(%s,%s,%d,%s)", v.State.String()[:2], num(v.Leader), num(v.Zxid), v.ElectionEpoch, num(v.PeerEpoch))
}

// player drives one Election in a test.
type player struct {
	t   *testing.T
	e   *Election
	now time.Duration
	out []Output
}

func play(t *testing.T, self quorum.ServerID, opts Options) *player {
	return &player{t: t, e: New(self, opts, rand.New(rand.NewSource(1)))}
}

// is checks and forgets the outputs since the last call.
func (p *player) is(want string) {
	p.t.Helper()
	if got := text(p.out); got != want {
		p.t.Fatalf("at %v:\n got %s\nwant %s", p.now, got, want)
	}
	p.out = p.out[:0]
}

func (p *player) start(zxid quorum.Zxid, epoch quorum.Epoch, committed, lastSeen *quorum.Config) {
	p.out = p.e.Start(p.now, History{LastZxid: zxid, CurrentEpoch: epoch}, committed, lastSeen, p.out)
}

func (p *player) receive(from quorum.ServerID, n quorum.Notification) {
	p.out = p.e.Receive(p.now, from, n, p.out)
}

// wait lets time pass and ticks at each deadline.
func (p *player) wait(d time.Duration) {
	end := p.now + d
	for p.e.NextDeadline() <= end {
		p.now = max(p.now, p.e.NextDeadline())
		p.out = p.e.Tick(p.now, p.out)
	}
	p.now = end
	p.out = p.e.Tick(p.now, p.out)
}

// down tells of the end of a server that ran before.
func (p *player) down(id quorum.ServerID) {
	p.e.known = appendOnce(p.e.known, id)
	p.crash(id)
}

func (p *player) crash(id quorum.ServerID) { p.out = p.e.PeerDown(p.now, id, p.out) }
func (p *player) up(id quorum.ServerID)    { p.out = p.e.PeerUp(p.now, id, p.out) }
