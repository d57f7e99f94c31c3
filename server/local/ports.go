package local

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Distances of the other ports of a server from its client port.
const (
	quorumAbove   = 1000
	electionAbove = 2000
)

// checkPorts tells which port of n servers cannot be listened on.
func checkPorts(base, n int) error {
	if base < 1 || base+electionAbove+n-1 > 65535 {
		return fmt.Errorf("local: client port %d of the first server: the ports up to %d must exist", base, base+electionAbove+n-1)
	}
	for _, kind := range []struct {
		name  string
		above int
	}{{"client", 0}, {"quorum", quorumAbove}, {"election", electionAbove}} {
		for i := range n {
			port := base + kind.above + i
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err == nil {
				err = l.Close()
			}
			if err != nil {
				return fmt.Errorf("%w: %d, the %s port of server %d: %w", ErrPortTaken, port, kind.name, i+1, err)
			}
		}
	}
	return nil
}

// findPorts finds a client port for the first of n servers. The range is below that of outgoing connections, which
// closed connections may have filled.
func findPorts(n int) (int, error) {
	const from, to, attempts = 12000, 28000, 100
	var err error
	for range attempts {
		base := from + rand.IntN(to-from)
		if err = checkPorts(base, n); err == nil {
			return base, nil
		}
	}
	return 0, fmt.Errorf("local: found no free ports from %d to %d; the last attempt: %w", from, to, err)
}
