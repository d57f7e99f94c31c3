package transport

import (
	"math/rand"
	"net"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/election"
)

// voter is an Election with its connections, driven as a server drives them.
type voter struct {
	*CnxManager
	log    *logBook
	mu     sync.Mutex // guards e
	e      *election.Election
	begin  chan election.History
	stop   chan struct{}
	done   chan struct{}
	latest chan quorum.Vote // has room for the latest decision
}

func newVoter(t *testing.T, id quorum.ServerID, config *quorum.Config, network Network, rounds election.Options) *voter {
	t.Helper()
	v := &voter{
		e: election.New(id, rounds, rand.New(rand.NewSource(id))), log: &logBook{}, begin: make(chan election.History),
		stop: make(chan struct{}), done: make(chan struct{}), latest: make(chan quorum.Vote, 1),
	}
	wake := make(chan struct{}, 1)
	m, err := OpenCnx(CnxOptions{
		Self: id, Addrs: config.Member(id).ElectionAddrs, Committed: config, Log: v.log.logger(), Network: network,
		Wake: func() {
			select {
			case wake <- struct{}{}:
			default:
			}
		},
	})
	must(t, err)
	v.CnxManager = m
	go func() {
		defer close(v.done)
		v.drive(config, wake)
	}()
	return v
}

func (v *voter) drive(config *quorum.Config, wake <-chan struct{}) {
	origin := time.Now()
	var events []Event
	var out []election.Output
	for {
		v.mu.Lock()
		deadline := v.e.NextDeadline()
		v.mu.Unlock()
		var tick <-chan time.Time
		if deadline != election.Never {
			tick = time.After(deadline - time.Since(origin))
		}
		var start *election.History
		select {
		case <-v.stop:
			return
		case <-wake:
		case <-tick:
		case h := <-v.begin:
			start = &h
		}
		v.mu.Lock()
		now := time.Since(origin)
		if start != nil {
			out = v.e.Start(now, *start, config, nil, out)
		}
		events = v.Drain(events[:0])
		for _, e := range events {
			switch e.Kind {
			case Notified:
				out = v.e.Receive(now, e.From, e.Notification, out)
			case PeerUp:
				out = v.e.PeerUp(now, e.From, out)
			case PeerDown:
				out = v.e.PeerDown(now, e.From, out)
			}
		}
		out = v.e.Tick(now, out)
		for i := range out {
			switch o := &out[i]; o.Kind {
			case election.Send:
				v.Send(o.To, &o.Notification)
			case election.Decided:
				select {
				case <-v.latest:
				default:
				}
				v.latest <- o.Vote
			}
		}
		out = out[:0]
		v.mu.Unlock()
	}
}

// close is what a crash looks like from outside.
func (v *voter) close() {
	close(v.stop)
	<-v.done
	v.CnxManager.Close()
}

// decision waits for what the voter decides.
func (v *voter) decision(t *testing.T) quorum.Vote {
	t.Helper()
	select {
	case vote := <-v.latest:
		return vote
	case <-time.After(patience):
		t.Fatalf("server %d does not decide; log:\n%s", v.opts.Self, v.log)
		return quorum.Vote{}
	}
}

// TestElections elects over real connections: all together, after the death of the leader, and with
// one that comes back.
func TestElections(t *testing.T) {
	noLeaks(t)
	const n = 5
	var ls []net.Listener
	for range n {
		ls = append(ls, listenLoopback(t))
	}
	config := configOf(t, ls...)
	voters := map[quorum.ServerID]*voter{}
	open := func(id quorum.ServerID, network Network) {
		voters[id] = newVoter(t, id, config, network, election.Options{})
	}
	for id := quorum.ServerID(1); id <= n; id++ {
		open(id, serveOn(ls[id-1]))
	}
	t.Cleanup(func() {
		for _, v := range voters {
			v.close()
		}
	})
	together := func(zxid quorum.Zxid, leader quorum.ServerID) {
		t.Helper()
		for _, v := range voters {
			v.begin <- election.History{LastZxid: zxid, CurrentEpoch: 1}
		}
		for id, v := range voters {
			vote := v.decision(t)
			if want := map[bool]quorum.State{true: quorum.Leading, false: quorum.Following}[id == leader]; vote.Leader != leader || vote.State != want {
				t.Fatalf("server %d decides %+v, want leader %d", id, vote, leader)
			}
		}
	}
	together(7, 5)
	voters[5].close()
	delete(voters, 5)
	began := time.Now()
	together(7, 4)
	t.Logf("elected in %v after the leader's death", time.Since(began))

	// One comes back, knowing more, and joins all the same.
	open(5, Network{})
	voters[5].begin <- election.History{LastZxid: 9, CurrentEpoch: 1}
	if vote := voters[5].decision(t); vote.Leader != 4 || vote.State != quorum.Following {
		t.Errorf("joins %+v", vote)
	}
}
