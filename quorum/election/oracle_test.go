package election

import (
	"testing"

	"zabra.dev/zabra/quorum"
)

// TestOracle is the story of a server of two whose other one is gone, or comes back.
func TestOracle(t *testing.T) {
	two := voters(t, 2, 1, "")
	start := func(self quorum.ServerID, o quorum.Oracle) *player {
		p := play(t, self, Options{})
		p.out = p.e.SetOracle(p.now, o, p.out)
		p.start(7, 1, two, nil)
		p.out = p.out[:0]
		return p
	}
	// Alone, with a yes: as soon as nobody better can be expected.
	p := start(1, quorum.OracleYes)
	p.wait(199 * ms)
	p.is("")
	p.wait(1 * ms)
	p.is("decided:LE(1,7,1,1)")

	p = start(1, quorum.OracleYes)
	p.down(2)
	p.is("decided:LE(1,7,1,1)")

	// A no, or none at all, decides nothing; a yes later does, a no in time takes it back.
	for _, o := range []quorum.Oracle{quorum.NoOracle, quorum.OracleNo} {
		p = start(1, o)
		p.down(2)
		p.wait(500 * ms)
		p.is("timeout:400ms 2:LO(1,7,1,1)")
		p.out = p.e.SetOracle(p.now, quorum.OracleYes, p.out)
		p.is("decided:LE(1,7,1,1)")
	}
	p = start(1, quorum.OracleYes)
	p.wait(100 * ms)
	p.out = p.e.SetOracle(p.now, quorum.OracleNo, p.out)
	p.wait(199 * ms)
	p.is("timeout:400ms 2:LO(1,7,1,1)")

	// Both are there: the better one leads, whatever the oracle says.
	p = start(1, quorum.OracleYes)
	p.receive(2, looking(2, 7, 1, 1))
	p.is("2:LO(2,7,1,1) decided:FO(2,7,1,1)")
	p = start(2, quorum.OracleNo)
	p.receive(1, looking(2, 7, 1, 1))
	p.is("decided:LE(2,7,1,1)")
	p = start(2, quorum.OracleYes) // a vote of a later round still counts
	p.receive(1, looking(1, 7, 4, 1))
	p.is("1:LO(2,7,4,1)")
	p.receive(1, looking(2, 7, 4, 1))
	p.is("decided:LE(2,7,4,1)")

	// The other leads alone: it is followed, be it by an observer.
	for _, o := range []quorum.Oracle{quorum.OracleNo, quorum.OracleYes} {
		p = start(1, o)
		p.receive(2, leading(2, 7, 5, 2))
		p.is("decided:FO(2,7,5,2)")
		p = start(3, o)
		p.receive(2, leading(2, 7, 5, 2))
		p.is("decided:OB(2,7,5,2)")
	}
	p = start(1, quorum.NoOracle)
	p.receive(2, leading(2, 7, 5, 2))
	p.is("")
	p = start(1, quorum.OracleNo)
	p.receive(2, following(1, 7, 5, 2)) // of an election that is over
	p.is("")
	p = start(3, quorum.OracleYes) // an observer elects nobody by a yes
	p.receive(1, looking(1, 7, 1, 1))
	p.wait(199 * ms)
	if p.e.State() != quorum.Looking {
		t.Error("an observer has decided:", text(p.out))
	}

	// Three servers are no tie.
	p = play(t, 1, Options{})
	p.out = p.e.SetOracle(p.now, quorum.OracleYes, p.out)
	p.start(7, 1, voters(t, 3, 0, ""), nil)
	p.out = p.out[:0]
	p.receive(2, leading(2, 7, 5, 2))
	p.down(3)
	p.wait(199 * ms)
	p.is("")
}
