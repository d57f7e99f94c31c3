package election

import (
	"testing"

	"zabra.dev/zabra/quorum"
)

// TestFirstElection is the story of three equal servers that start together, seen by each.
func TestFirstElection(t *testing.T) {
	c := voters(t, 3, 0, "")

	p := play(t, 3, Options{})
	p.start(0, 0, c, c)
	p.is("1:LO(3,0,1,0) 2:LO(3,0,1,0)")
	p.receive(1, looking(1, 0, 1, 0))
	p.is("1:LO(3,0,1,0)") // 1 has not seen our vote; once is enough
	p.receive(1, looking(1, 0, 1, 0))
	p.is("")
	p.receive(1, looking(3, 0, 1, 0))
	p.is("") // a quorum, but 2 may know better
	p.receive(2, looking(3, 0, 1, 0))
	p.is("decided:LE(3,0,1,0)") // nobody is left

	p = play(t, 1, Options{})
	p.start(0, 0, c, c)
	p.is("2:LO(1,0,1,0) 3:LO(1,0,1,0)")
	p.receive(2, looking(2, 0, 1, 0))
	p.is("2:LO(2,0,1,0) 3:LO(2,0,1,0)")
	p.receive(3, looking(3, 0, 1, 0))
	p.is("2:LO(3,0,1,0) 3:LO(3,0,1,0)")
	p.receive(2, looking(3, 0, 1, 0))
	p.is("decided:FO(3,0,1,0)")
	if p.e.NextDeadline() != Never || p.e.State() != quorum.Following || p.e.Round() != 1 || p.e.Vote().Leader != 3 {
		t.Errorf("%v %v %v %v", p.e.NextDeadline(), p.e.State(), p.e.Round(), p.e.Vote())
	}
}

func TestFinalizeWait(t *testing.T) {
	c := voters(t, 3, 0, "")
	agreed := func() *player {
		p := play(t, 2, Options{})
		p.start(7, 1, c, nil)
		p.receive(1, looking(2, 7, 1, 1))
		p.out = p.out[:0]
		return p
	}
	p := agreed()
	p.wait(199 * ms)
	p.is("")
	p.wait(1 * ms)
	p.is("decided:LE(2,7,1,1)")

	p = agreed() // a better vote ends the wait, and begins another with the next quorum
	p.wait(150 * ms)
	p.receive(3, looking(3, 7, 1, 1))
	p.is("1:LO(3,7,1,1) 3:LO(3,7,1,1)")
	p.wait(199 * ms)
	p.is("")
	p.wait(1 * ms)
	p.is("decided:FO(3,7,1,1)")

	p = agreed() // votes that are not better do not prolong it
	p.wait(100 * ms)
	p.receive(1, looking(2, 7, 1, 1))
	p.receive(1, looking(1, 7, 9, 1)) // not even with a higher round
	p.receive(3, following(1, 9, 9, 1))
	p.is("")
	p.wait(100 * ms)
	p.is("decided:LE(2,7,1,1)")

	p = agreed() // a lower round is answered still
	p.receive(3, looking(3, 9, 0, 9))
	p.is("3:LO(2,7,1,1)")

	p = agreed() // one that lost is counted, and told
	p.receive(3, looking(3, 6, 1, 1))
	p.is("3:LO(2,7,1,1)")
	p.receive(3, looking(2, 7, 1, 1))
	p.is("decided:LE(2,7,1,1)")

	p = agreed() // a higher round that is better
	p.receive(3, looking(3, 8, 5, 1))
	p.is("1:LO(3,8,5,1) 3:LO(3,8,5,1)")
	p.wait(199 * ms) // nobody else is in that round, but 3 and oneself are a quorum
	p.is("")
	p.wait(1 * ms)
	p.is("decided:FO(3,8,5,1)")
}

func TestPeerDown(t *testing.T) {
	c := voters(t, 3, 0, "")
	p := play(t, 2, Options{})
	p.start(7, 1, c, nil)
	p.down(3)
	p.receive(1, looking(2, 7, 1, 1))
	p.is("1:LO(2,7,1,1) 3:LO(2,7,1,1) decided:LE(2,7,1,1)")

	p = play(t, 2, Options{}) // told of it during the wait
	p.start(7, 1, c, nil)
	p.receive(1, looking(2, 7, 1, 1))
	p.down(1) // has voted already
	p.is("1:LO(2,7,1,1) 3:LO(2,7,1,1)")
	p.down(3)
	p.is("decided:LE(2,7,1,1)")

	for _, heard := range []func(*player){ // it runs after all
		func(p *player) { p.receive(3, following(9, 9, 9, 9)) },
		func(p *player) { p.up(3) },
	} {
		p = play(t, 2, Options{})
		p.start(7, 1, c, nil)
		p.down(3)
		heard(p)
		p.out = p.out[:0]
		p.receive(1, looking(2, 7, 1, 1))
		p.is("")
		p.wait(200 * ms)
		p.is("decided:LE(2,7,1,1)")
	}

	p = play(t, 1, Options{}) // a leader that is down is not hurried to
	p.start(7, 1, c, nil)
	p.receive(3, looking(3, 7, 1, 1))
	p.receive(2, looking(3, 7, 1, 1))
	p.is("2:LO(1,7,1,1) 3:LO(1,7,1,1) 2:LO(3,7,1,1) 3:LO(3,7,1,1) decided:FO(3,7,1,1)")
	p = play(t, 1, Options{})
	p.start(7, 1, c, nil)
	p.receive(3, looking(3, 7, 1, 1))
	p.down(3)
	p.out = p.out[:0]
	p.wait(200 * ms)
	p.is("decided:FO(3,7,1,1)")

	for _, heard := range []func(*player){ // only who ran before counts
		func(*player) {},
		func(p *player) { p.receive(3, following(9, 9, 9, 9)) },
		func(p *player) { p.up(3) },
	} {
		p = play(t, 2, Options{})
		p.start(7, 1, c, nil)
		heard(p)
		ran := len(p.e.known) > 0
		p.crash(3)
		p.out = p.out[:0]
		p.receive(1, looking(2, 7, 1, 1))
		p.is(map[bool]string{true: "decided:LE(2,7,1,1)"}[ran])
	}

	p = play(t, 2, Options{}) // a new election knows nothing of the last one's
	p.start(7, 1, c, nil)
	p.down(3)
	p.receive(1, looking(2, 7, 1, 1))
	p.down(1)
	p.start(7, 1, c, nil)
	p.out = p.out[:0]
	p.receive(1, looking(2, 7, 2, 1))
	p.is("")
}

func TestPeerUp(t *testing.T) {
	c := voters(t, 3, 1, "")
	p := play(t, 2, Options{})
	p.up(3) // not started
	p.start(7, 1, c, nil)
	p.wait(1000 * ms)
	p.is("1:LO(2,7,1,1) 3:LO(2,7,1,1)" +
		" timeout:400ms 1:LO(2,7,1,1) 3:LO(2,7,1,1)" +
		" timeout:800ms 1:LO(2,7,1,1) 3:LO(2,7,1,1)")
	p.up(3)
	p.is("3:LO(2,7,1,1)")
	p.wait(200 * ms)
	p.is("timeout:400ms 1:LO(2,7,1,1) 3:LO(2,7,1,1)")
	p.up(4)
	p.up(2)
	p.is("")
	p.receive(1, following(3, 9, 9, 9))
	p.receive(3, leading(3, 9, 9, 9))
	p.is("decided:FO(3,9,9,9)")
	p.up(1)
	p.down(1)
	p.is("")
}

func TestTimeouts(t *testing.T) {
	p := play(t, 1, Options{MaxNotificationInterval: 1000 * ms})
	p.start(0, 0, voters(t, 2, 0, ""), nil)
	p.is("2:LO(1,0,1,0)")
	for _, interval := range []string{"400ms", "800ms", "1s", "1s"} {
		d := p.e.NextDeadline() - p.now
		p.wait(d - 1)
		p.is("")
		p.wait(1)
		p.is("timeout:" + interval + " 2:LO(1,0,1,0)")
	}
}

// TestLookingVotes is the LOOKING branch of the loop (section 3.5).
func TestLookingVotes(t *testing.T) {
	c := voters(t, 5, 1, "")
	// f plays server 3 with zxid 7, epoch 1 in round 4.
	f := func(from quorum.ServerID, n quorum.Notification, want string) {
		t.Helper()
		p := play(t, 3, Options{})
		p.start(7, 1, c, nil)
		p.e.round = 4
		p.out = p.out[:0]
		p.receive(from, n)
		p.is(want)
	}
	all := func(vote string) string { return "1:" + vote + " 2:" + vote + " 4:" + vote + " 5:" + vote }
	f(1, looking(1, 7, 3, 1), "1:LO(3,7,4,1)")      // an older round is answered
	f(1, looking(1, 9, 3, 9), "1:LO(3,7,4,1)")      // however good
	f(1, looking(1, 7, 5, 1), all("LO(3,7,5,1)"))   // a newer round, with less than our own
	f(1, looking(4, 7, 5, 1), all("LO(4,7,5,1)"))   // and with more
	f(1, looking(4, 7, 4, 1), all("LO(4,7,4,1)"))   // this round
	f(1, looking(2, 7, 4, 1), "1:LO(3,7,4,1)")      //
	f(1, looking(3, 7, 4, 1), "")                   // agrees
	f(1, looking(6, 9, 9, 9), "")                   // the leader is no voter
	f(1, looking(quorum.NoServer, 9, 9, 9), "")     //
	f(1, looking(4, -1, 4, 9), "")                  // a voter that may not vote
	f(1, settled(quorum.Observing, 4, 9, 4, 9), "") // not a voter's state
	f(1, following(4, 9, 4, 9), "")                 // one is not enough
	f(6, looking(4, 9, 4, 9), "6:LO(3,7,4,1)")      // not a voter: the last election's result, the round of now
	f(7, looking(4, 9, 4, 9), "7:LO(3,7,4,1)")      // unknown
	f(7, following(4, 9, 4, 9), "")                 // would not use an answer
	f(3, looking(5, 9, 4, 9), "")                   // nobody but oneself is this server
	f(1, looking(2, quorum.NoServer, 4, 0), "1:LO(3,7,4,1)")

	// A newer round empties the votes, and begins from our own vote again, not from what we adopted.
	p := play(t, 1, Options{})
	p.start(7, 1, c, nil)
	p.receive(5, looking(5, 7, 1, 1))
	p.out = p.out[:0]
	p.receive(2, looking(2, 6, 2, 1))
	p.is("2:LO(1,7,2,1) 3:LO(1,7,2,1) 4:LO(1,7,2,1) 5:LO(1,7,2,1)")
	if _, ok := p.e.looking.votes.get(5); ok {
		t.Error("a vote of the former round is kept")
	}

	// A server that may not vote casts its vote but counts none.
	p = play(t, 1, Options{})
	p.start(-1, 0, voters(t, 3, 0, ""), nil)
	p.is("2:LO(1,-1,1,0) 3:LO(1,-1,1,0)")
	p.receive(2, looking(2, 7, 1, 1))
	p.receive(3, looking(2, 7, 1, 1))
	p.receive(3, looking(2, 7, 0, 1))
	p.is("3:LO(1,-1,1,0)")
	p.receive(3, following(2, 7, 1, 1))
	p.receive(2, leading(2, 7, 1, 1))
	p.is("decided:FO(2,7,1,1)")
}

// TestStaleVoteOnNewConnection: a server that follows sent its last LOOKING vote again.
func TestStaleVoteOnNewConnection(t *testing.T) {
	p := play(t, 3, Options{})
	p.start(0, 0, voters(t, 3, 0, ""), nil)
	p.receive(1, looking(2, 0, 1, 0)) // stale
	p.receive(2, looking(2, 0, 1, 0)) // stale
	p.is("1:LO(3,0,1,0) 2:LO(3,0,1,0) 1:LO(3,0,1,0) 2:LO(3,0,1,0)")
	p.receive(1, following(2, 0, 1, 1))
	p.receive(2, leading(2, 0, 1, 1))
	p.is("decided:FO(2,0,1,1)")
}

// TestToldAgain: a voter that answered while it followed is told our vote when it looks.
func TestToldAgain(t *testing.T) {
	p := play(t, 3, Options{})
	p.start(9, 1, voters(t, 3, 0, ""), nil)
	p.receive(1, looking(1, 7, 1, 1))
	p.is("1:LO(3,9,1,1) 2:LO(3,9,1,1) 1:LO(3,9,1,1)")
	p.receive(1, looking(1, 7, 1, 1))
	p.is("")
	p.receive(1, following(2, 7, 1, 1))
	p.is("")
	p.receive(1, looking(1, 7, 1, 1))
	p.is("1:LO(3,9,1,1)")
}

// TestSettledVotes is the FOLLOWING and LEADING branch of the loop, for server 5 of 5 in round 4.
func TestSettledVotes(t *testing.T) {
	type in struct {
		from quorum.ServerID
		n    quorum.Notification
	}
	f := func(want string, inputs ...in) {
		t.Helper()
		p := play(t, 5, Options{})
		p.start(9, 3, voters(t, 5, 0, ""), nil)
		p.e.round = 4
		p.out = p.out[:0]
		for _, i := range inputs {
			p.receive(i.from, i.n)
		}
		p.is(want)
		if want != "" && p.e.Round() != p.e.Vote().ElectionEpoch {
			t.Errorf("round %d, vote %s", p.e.Round(), voteText(p.e.Vote()))
		}
	}
	// A running ensemble of another round: zxid and round may differ, the epoch may not.
	f("decided:FO(1,8,9,3)", in{2, following(1, 7, 7, 3)}, in{1, leading(1, 7, 8, 3)}, in{3, following(1, 8, 9, 3)})
	f("", in{2, following(1, 7, 7, 2)}, in{1, leading(1, 7, 8, 3)}, in{3, following(1, 8, 9, 3)})
	f("", in{2, following(1, 7, 7, 3)}, in{3, following(1, 7, 7, 3)}, in{4, following(1, 7, 7, 3)}) // the leader has not spoken
	f("", in{2, following(1, 7, 7, 3)}, in{1, following(1, 7, 8, 3)}, in{3, following(1, 8, 9, 3)}) // nor does it lead
	f("decided:FO(1,7,7,3)", in{2, following(1, 7, 7, 3)}, in{3, following(1, 7, 7, 3)}, in{1, leading(1, 7, 7, 3)})
	f("", in{2, following(6, 7, 7, 3)}, in{3, following(6, 7, 7, 3)}, in{4, following(6, 7, 7, 3)}) // not a voter
	// The same round: the leader alone counts, as in Java.
	f("decided:FO(1,7,4,3)", in{2, following(1, 7, 4, 2)}, in{1, leading(1, 7, 4, 3)}, in{3, following(1, 7, 4, 3)})
	// LOOKING votes of this round count together with them when they are equal in everything.
	f("1:LO(1,9,4,4) 2:LO(1,9,4,4) 3:LO(1,9,4,4) 4:LO(1,9,4,4) decided:FO(1,9,4,4)", in{1, looking(1, 9, 4, 4)}, in{2, looking(1, 9, 4, 4)}, in{1, leading(1, 9, 4, 4)}, in{3, following(1, 9, 4, 4)})
	// And decide like them when all have cast them, in whatever state they are now.
	f("1:LO(1,9,4,4) 2:LO(1,9,4,4) 3:LO(1,9,4,4) 4:LO(1,9,4,4) decided:FO(1,9,4,4)",
		in{1, looking(1, 9, 4, 4)}, in{2, following(1, 9, 4, 4)}, in{3, following(1, 9, 4, 4)}, in{4, following(1, 9, 4, 4)})
	// An old server's votes are compared by the leader alone.
	old := following(1, 7, 7, 1)
	old.Version = 0
	f("decided:FO(1,8,9,3)", in{2, old}, in{1, leading(1, 7, 8, 3)}, in{3, following(1, 8, 9, 3)})
	// Oneself: what others follow is the leader of this round, or of a lost one.
	f("decided:LE(5,7,4,3)", in{2, following(5, 7, 4, 3)}, in{1, following(5, 7, 4, 3)}, in{3, following(5, 7, 4, 3)})
	f("", in{2, following(5, 7, 3, 3)}, in{1, following(5, 7, 3, 3)}, in{3, following(5, 7, 3, 3)})
}

// TestAnswers is what servers that do not look say (section 3.3).
func TestAnswers(t *testing.T) {
	c := voters(t, 3, 1, "")
	p := play(t, 2, Options{})
	p.start(7, 1, c, nil)
	p.e.round = 5
	p.receive(1, following(3, 7, 8, 1))
	p.receive(3, leading(3, 7, 9, 1))
	p.out = p.out[:0]
	p.e.SetPeerEpoch(2)
	p.receive(1, looking(1, 9, 20, 9))
	p.is("1:FO(3,7,9,2)")
	p.receive(4, looking(quorum.NoServer, quorum.NoServer, 1, quorum.NoServer))
	p.is("4:FO(3,7,9,2)")
	p.receive(4, settled(quorum.Observing, 3, 7, 1, 1))
	p.is("") // needs none
	for _, s := range []quorum.State{quorum.Following, quorum.Leading, quorum.Observing} {
		p.receive(1, settled(s, 1, 9, 20, 9))
	}
	p.is("")
	p.wait(1e12)
	p.is("")

	p = play(t, 3, Options{})
	p.start(7, 1, c, nil)
	p.receive(1, looking(3, 7, 1, 1))
	p.receive(2, looking(3, 7, 1, 1))
	if last := p.out[len(p.out)-1]; last.Kind != Decided || len(last.Electors) != 3 || last.Electors[0] != 3 || last.Electors[1] != 1 || last.Electors[2] != 2 {
		t.Errorf("%+v", last)
	}
	p.out = p.out[:0]
	p.receive(1, looking(1, 7, 2, 1))
	p.is("looking:1 1:LE(3,7,1,1)")
	p.receive(4, looking(1, 7, 2, 1))
	p.is("4:LE(3,7,1,1)")

	// Looking again: a server without a vote is told the last leader, in the new round.
	p.start(8, 2, c, nil)
	p.out = p.out[:0]
	p.receive(4, looking(quorum.NoServer, quorum.NoServer, 1, quorum.NoServer))
	p.is("4:LO(3,7,2,1)")
}

func TestObserver(t *testing.T) {
	c := voters(t, 3, 1, "")
	p := play(t, 4, Options{})
	p.start(7, 1, c, nil)
	p.is("1:LO(-,-,1,-) 2:LO(-,-,1,-) 3:LO(-,-,1,-)")
	p.receive(1, following(3, 7, 9, 2))
	p.receive(3, leading(3, 7, 9, 2))
	p.is("decided:OB(3,7,9,2)")

	// After it lost its leader it waits a random while, deaf but polite.
	p.start(7, 1, c, nil)
	p.is("")
	d := p.e.NextDeadline() - p.now
	if d < 0 || d > 200*ms {
		t.Fatalf("delay %v", d)
	}
	p.receive(1, following(2, 7, 9, 2))
	p.receive(5, looking(2, 7, 9, 2))
	p.up(1)
	p.down(2)
	p.is("5:LO(3,7,9,2)")
	p.wait(d)
	p.is("1:LO(-,-,10,-) 2:LO(-,-,10,-) 3:LO(-,-,10,-)")

	// It may decide on the votes of a quorum that forms, but not in a hurry, and not for a dead server.
	votes := func(p *player) {
		p.start(7, 1, c, nil)
		for id := quorum.ServerID(1); id <= 3; id++ {
			p.receive(id, looking(2, 7, 3, 1))
		}
		p.out = p.out[:0]
	}
	p = play(t, 4, Options{})
	votes(p)
	p.wait(199 * ms)
	p.is("")
	p.wait(1 * ms)
	p.is("decided:OB(2,7,3,1)")
	p = play(t, 4, Options{ObserverDelayMax: -1})
	p.start(7, 1, c, nil)
	p.down(2)
	p.receive(1, looking(2, 7, 3, 1))
	p.receive(3, looking(2, 7, 3, 1))
	p.out = p.out[:0]
	p.wait(150 * ms)
	p.is("")
}

// TestNonMember: a server that the config does not name follows without a vote.
func TestNonMember(t *testing.T) {
	c := voters(t, 3, 0, "")
	p := play(t, 9, Options{})
	p.start(7, 1, c, nil)
	p.is("1:LO(-,7,1,1) 2:LO(-,7,1,1) 3:LO(-,7,1,1)")
	p.receive(1, looking(1, 6, 1, 1)) // not better than the higher zxid of nobody
	p.is("")
	p.receive(1, following(3, 7, 9, 2))
	p.receive(3, leading(3, 7, 9, 2))
	p.is("decided:FO(3,7,9,2)")
}

// TestNoEndlessAnswers: a voter and a server without a vote, both looking, end their exchange.
func TestNoEndlessAnswers(t *testing.T) {
	c := voters(t, 3, 1, "")
	voter, other := play(t, 1, Options{}), play(t, 4, Options{})
	voter.start(7, 1, c, nil)
	other.e.round = 7
	other.start(7, 1, c, nil)
	sent := 0
	for range 100 {
		for _, p := range [2][2]*player{{voter, other}, {other, voter}} {
			from, to := p[0], p[1]
			out := from.out
			from.out = nil
			for _, o := range out {
				if o.Kind == Send && o.To == to.e.self {
					sent++
					to.receive(from.e.self, o.Notification)
				}
			}
		}
	}
	if sent != 2 {
		t.Errorf("%d messages", sent)
	}
	// A Java server without a vote would answer the answer; nobody answers that at once.
	n := looking(quorum.NoServer, quorum.NoServer, 9, quorum.NoServer)
	n.Config = c
	voter.out = nil
	voter.receive(4, n)
	voter.receive(4, n)
	voter.is("4:LO(1,7,1,1)")
	voter.wait(answerPause)
	voter.receive(4, n)
	voter.is("4:LO(1,7,1,1)")
	for id := quorum.ServerID(10); id < 10+2*answersMax; id++ {
		voter.receive(id, n)
	}
	if len(voter.e.answers) != answersMax {
		t.Errorf("%d answers remembered", len(voter.e.answers))
	}

	// Who may learn a newer config of us is told.
	removed := play(t, 4, Options{ReconfigEnabled: true})
	newer := voters(t, 3, 0, "version=9")
	removed.start(7, 1, newer, nil)
	removed.receive(1, following(3, 7, 9, 2))
	removed.receive(3, leading(3, 7, 9, 2))
	removed.out = nil
	n = looking(1, 7, 1, 1)
	n.Config = voters(t, 3, 1, "version=8")
	removed.receive(1, n)
	removed.is("1:FO(3,7,9,2)")
	n.Config = newer
	removed.receive(1, n)
	removed.is("")
}

func TestWeights(t *testing.T) {
	c := voters(t, 3, 0, "group.1=1:2:3\nweight.3=0")
	p := play(t, 3, Options{}) // begins with itself, gives way to anybody
	p.start(9, 1, c, nil)
	p.is("1:LO(3,9,1,1) 2:LO(3,9,1,1)")
	p.receive(1, looking(1, 7, 1, 1))
	p.is("1:LO(3,9,1,1)") // Java, too, compares with what it proposes: 1 is behind
	p.receive(1, looking(1, 9, 1, 2))
	p.is("1:LO(1,9,1,2) 2:LO(1,9,1,2)")

	p = play(t, 1, Options{})
	p.start(7, 1, c, nil)
	p.receive(3, looking(3, 9, 1, 1)) // not better
	p.is("2:LO(1,7,1,1) 3:LO(1,7,1,1) 3:LO(1,7,1,1)")
	p.receive(3, looking(1, 7, 1, 1)) // no quorum without weight
	p.wait(199 * ms)
	p.is("")
	p.receive(2, looking(2, 7, 1, 1))
	p.receive(2, looking(2, 7, 1, 1))
	p.is("2:LO(2,7,1,1) 3:LO(2,7,1,1)") // a quorum of weights: 1 and 2
	p.receive(3, looking(2, 7, 1, 1))
	p.is("decided:FO(2,7,1,1)")

	// Two of three groups, two of three servers in each.
	c = voters(t, 9, 0, "group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9")
	p = play(t, 9, Options{})
	p.start(7, 1, c, nil)
	for _, id := range []quorum.ServerID{1, 2, 3, 4, 7} {
		p.receive(id, looking(9, 7, 1, 1))
		if p.e.looking.finalizeAt != Never && id != 7 {
			t.Fatalf("a quorum with %d", id)
		}
	}
	p.out = p.out[:0]
	p.wait(200 * ms)
	p.is("decided:LE(9,7,1,1)")
}

// TestTwoConfigs: a pending config needs its quorum as well, and its voters vote.
func TestTwoConfigs(t *testing.T) {
	committed := voters(t, 3, 0, "version=5")
	lastSeen := mustConfig(t, "server.1=h:2:3\nserver.4=h:2:3\nserver.5=h:2:3\nversion=6")
	p := play(t, 3, Options{})
	p.start(7, 1, committed, lastSeen)
	p.is("1:LO(3,7,1,1) 2:LO(3,7,1,1) 4:LO(3,7,1,1) 5:LO(3,7,1,1)")
	p.receive(1, looking(3, 7, 1, 1))
	p.receive(2, looking(3, 7, 1, 1))
	p.wait(199 * ms)
	p.is("")
	p.receive(4, looking(3, 7, 1, 1))
	p.receive(5, looking(3, 7, 1, 1))
	p.is("decided:LE(3,7,1,1)")

	p = play(t, 3, Options{}) // one that is not newer does not count
	p.start(7, 1, committed, lastSeen.WithVersion(5))
	p.is("1:LO(3,7,1,1) 2:LO(3,7,1,1)")
	p.receive(4, looking(3, 7, 1, 1))
	p.is("4:LO(3,7,1,1)") // not a voter, answered
}

func TestNewerConfig(t *testing.T) {
	old := voters(t, 3, 0, "version=5")
	with := func(c *quorum.Config) quorum.Notification {
		n := looking(3, 7, 9, 1)
		n.Config = c
		return n
	}
	more := voters(t, 4, 0, "version=6")
	start := func(opts Options, self quorum.ServerID, lastSeen *quorum.Config) *player {
		p := play(t, self, opts)
		p.start(7, 1, old, lastSeen)
		p.out = p.out[:0]
		return p
	}
	on := Options{ReconfigEnabled: true}

	p := start(on, 1, nil) // other members: the vote is dropped, the election begins again in round 1
	p.receive(2, with(more))
	p.is("adopt:6,true 2:LO(1,7,1,1) 3:LO(1,7,1,1) 4:LO(1,7,1,1)")
	if p.out = p.e.Receive(p.now, 2, with(more), p.out); len(p.out) == 0 || p.out[0].Kind == AdoptConfig {
		t.Errorf("adopted twice: %s", text(p.out))
	}

	p = start(on, 1, nil) // the same members: it goes on
	p.receive(2, with(old.WithVersion(6)))
	p.is("adopt:6,false 2:LO(3,7,9,1) 3:LO(3,7,9,1)")
	if p.out[:1][0].Kind == Send && p.out[:1][0].Notification.Config.Version != 6 {
		t.Error("the old version is told")
	}

	p = start(on, 1, more) // what was seen last is committed
	p.receive(2, with(more))
	p.is("adopt:6,true 2:LO(1,7,1,1) 3:LO(1,7,1,1) 4:LO(1,7,1,1)")
	if p.e.lastSeen != nil {
		t.Error("a config is committed and pending")
	}

	p = start(on, 1, nil) // even from a server that is unknown yet
	p.receive(4, with(more))
	p.is("adopt:6,true 2:LO(1,7,1,1) 3:LO(1,7,1,1) 4:LO(1,7,1,1)")

	p = start(on, 1, nil) // a role may change with it
	p.receive(2, with(mustConfig(t, "server.1=h1:2:3:observer\nserver.2=h2:2:3\nversion=6")))
	p.is("adopt:6,true 2:LO(-,-,1,-)")
	p.receive(2, leading(2, 7, 1, 1))
	p.is("decided:OB(2,7,1,1)")
	n := with(voters(t, 5, 0, "version=7")) // not looking any more
	p.receive(2, n)
	p.is("2:OB(2,7,1,1)")

	p = start(on, 1, nil) // an older or equal one is nothing
	p.receive(2, with(voters(t, 4, 0, "version=5")))
	p.is("2:LO(3,7,9,1) 3:LO(3,7,9,1)")

	p = start(Options{}, 1, nil) // nor is any with reconfig disabled
	p.receive(2, with(more))
	p.is("2:LO(3,7,9,1) 3:LO(3,7,9,1)")
}

func TestAssume(t *testing.T) {
	f := func(self quorum.ServerID, want quorum.State) {
		t.Helper()
		p := play(t, self, Options{})
		c := voters(t, 3, 1, "")
		p.start(7, 1, c, nil)
		p.receive(1, following(3, 7, 9, 2))
		p.receive(2, following(3, 7, 9, 2))
		p.receive(3, leading(3, 7, 9, 2))
		p.out = p.out[:0]
		p.e.SetConfigs(voters(t, 3, 1, "version=8"), nil)
		if got := p.e.Assume(2, 8); got != want || p.e.State() != want {
			t.Errorf("server %d: %v", self, got)
		}
		p.receive(5, looking(1, 1, 1, 1))
		p.is("5:" + voteText(quorum.Vote{State: want, Leader: 2, Zxid: 8, ElectionEpoch: p.e.Round(), PeerEpoch: -1}))
	}
	f(1, quorum.Following)
	f(2, quorum.Leading)
	f(4, quorum.Observing)
	f(9, quorum.Following)
}

func TestSingleServer(t *testing.T) {
	p := play(t, 1, Options{})
	p.receive(2, looking(1, 1, 1, 1)) // before Start there is nothing to say
	p.wait(1e9)
	p.is("")
	p.start(7, 1, voters(t, 1, 0, ""), nil)
	p.is("decided:LE(1,7,1,1)")
}

// TestPendingConfig is about servers that know of a reconfig that nobody has committed.
func TestPendingConfig(t *testing.T) {
	committed := mustConfig(t, "server.1=h:2:3\nserver.2=h:2:3\nserver.3=h:2:3\nversion=100000000")
	// 1:9 was to make these the voters.
	next := mustConfig(t, "server.2=h:2:3\nserver.4=h:2:3\nserver.5=h:2:3\nversion=100000009")
	const proposed = 1<<32 | 9
	t.Run("to join an ensemble that serves", func(t *testing.T) {
		p := play(t, 2, Options{ReconfigEnabled: true})
		p.start(proposed, 1, committed, next)
		p.out = p.out[:0]
		// 4 and 5, which never were members, do not follow in the sense of an election.
		p.receive(1, leading(1, 7, 8, 2))
		p.receive(4, settled(quorum.Observing, 1, 7, 8, 2))
		p.receive(3, following(1, 7, 8, 2))
		p.is("decided:FO(1,7,8,2)")
	})
	t.Run("that is lost", func(t *testing.T) {
		p := play(t, 2, Options{ReconfigEnabled: true})
		p.start(proposed-1, 1, committed, next)
		p.out = p.out[:0]
		// The proposal is not in this history, so the old voters elect by themselves.
		p.receive(1, looking(2, proposed-1, 1, 1))
		p.receive(3, looking(2, proposed-1, 1, 1))
		p.is("decided:LE(2,100000008,1,1)")
	})
	t.Run("and its voters, which are none yet", func(t *testing.T) {
		p := play(t, 2, Options{ReconfigEnabled: true})
		p.start(proposed, 1, committed, next)
		p.out = p.out[:0]
		p.receive(4, looking(quorum.NoServer, proposed, 7, 1))
		if p.e.Round() != 7 {
			t.Errorf("round %d: server 4 counts no vote of a round before 7", p.e.Round())
		}
		p.out = p.out[:0]
		p.receive(1, looking(2, proposed, 7, 1))
		p.receive(3, looking(2, proposed, 7, 1))
		p.is("") // a quorum of the next list is missing
		p.receive(4, looking(2, proposed, 7, 1))
		p.receive(5, looking(2, proposed, 7, 1))
		p.is("decided:LE(2,100000009,7,1)")
	})
}
