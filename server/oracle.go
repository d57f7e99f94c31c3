package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/server/config"
)

// The oracle of an ensemble of two (oraclePath) is a file whose first character is 1 on the server that may go on without
// the other, and anything else on one that must not. Java reads it whenever it has no quorum. Here a goroutine of its own
// does, so that a file system that hangs holds nobody up, and an answer counts from the next reading on.
// Source: quorum protocol, section 1.2.

// oracleInterval is the time between readings.
const oracleInterval = 100 * time.Millisecond

var errOracleHangs = errors.New("server: reading takes too long")

// oracleFile reads the file. One goroutine uses it.
type oracleFile struct {
	path     string
	patience time.Duration     // with one reading
	pending  chan oracleAnswer // of a reading that takes long; nil without one
}

type oracleAnswer struct {
	yes bool
	err error
}

// ask returns what the file says. What cannot be read says no, as to Java; err tells why then. It is also given where the
// content is neither 0 nor 1.
func (o *oracleFile) ask() (yes bool, err error) {
	if o.pending == nil {
		answer := make(chan oracleAnswer, 1)
		go func() {
			yes, err := readOracle(o.path)
			answer <- oracleAnswer{yes, err}
		}()
		o.pending = answer
	}
	patience := time.NewTimer(o.patience)
	defer patience.Stop()
	select {
	case a := <-o.pending:
		o.pending = nil
		return a.yes, a.err
	case <-patience.C:
		return false, errOracleHangs
	}
}

// readOracle reads the file at path; like Java it looks at the first character alone.
func readOracle(path string) (yes bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	var first [1]byte
	switch _, err := io.ReadFull(f, first[:]); {
	case errors.Is(err, io.EOF):
		return false, fmt.Errorf("server: %s is empty, and should hold 0 or 1", path)
	case err != nil:
		return false, err
	}
	if first[0] != '0' && first[0] != '1' {
		return false, fmt.Errorf("server: %s begins with %q, and should hold 0 or 1", path, first[0])
	}
	return first[0] == '1', nil
}

// startOracle asks the oracle, if there is one, before the first election begins, and then for as long as the server runs.
func (e *ensemble) startOracle() {
	if e.opts.OraclePath == "" {
		return
	}
	s := e.r.srv
	s.log.Info("Oracle is set to " + e.opts.OraclePath)
	file := &oracleFile{path: e.opts.OraclePath, patience: e.opts.Timing.Tick}
	told, complaint := quorum.NoOracle, ""
	ask := func() {
		yes, err := file.ask()
		now := quorum.OracleNo
		if yes {
			now = quorum.OracleYes
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != "" && text != complaint {
			s.log.Warn("The oracle cannot be read, which counts as 0: this server does not go on without the other", "err", err)
		}
		complaint = text
		if now != told {
			told = now
			e.r.post(func(*replica) { e.setOracle(now) })
		}
	}
	ask()
	s.wg.Go(func() {
		next := time.NewTicker(oracleInterval)
		defer next.Stop()
		for {
			select {
			case <-next.C:
				ask()
			case <-s.ctx.Done():
				return
			}
		}
	})
}

// setOracle tells the machines what the oracle says.
func (e *ensemble) setOracle(o quorum.Oracle) {
	e.r.srv.log.Info("Oracle says:" + map[quorum.Oracle]string{quorum.OracleNo: "0", quorum.OracleYes: "1"}[o])
	e.oracle = o
	e.electionOut = e.election.SetOracle(e.now(), o, e.electionOut)
	before := e.leader
	e.doElection()
	if e.leader != nil && e.leader == before {
		e.step(zab.Input{Kind: zab.InOracle, OK: o == quorum.OracleYes})
		e.endTurn()
	}
}

// checkOracle tells of an oracle that has no say with the member list of c.
func checkOracle(c *config.Config, members *quorum.Config, warn func(msg string, args ...any)) {
	if c.Ensemble.OraclePath != "" && !members.CanTie() {
		warn(fmt.Sprintf("oraclePath has no effect while there are %d participants: it breaks the tie of two", members.VoterCount()))
	}
}
