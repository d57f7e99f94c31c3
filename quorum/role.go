package quorum

import "strconv"

// Role is what the member list makes of a server.
type Role uint8

const (
	// Participant is a voter. It is also the role of a server that the list does not name; such
	// a server follows without a vote.
	Participant Role = iota
	// Observer receives what is committed and has no vote.
	Observer
)

// String returns the role's word in a server line.
func (r Role) String() string {
	if r == Observer {
		return "observer"
	}
	return "participant"
}

// State is what a server is doing, as notifications tell it (quorum protocol, section 3.1).
type State int32

// The states and their numbers on the wire.
const (
	Looking   State = 0
	Following State = 1
	Leading   State = 2
	Observing State = 3
)

// Known reports whether s is one of the four states.
func (s State) Known() bool { return s >= Looking && s <= Observing }

// String returns the state's name as Java logs it.
func (s State) String() string {
	switch s {
	case Looking:
		return "LOOKING"
	case Following:
		return "FOLLOWING"
	case Leading:
		return "LEADING"
	case Observing:
		return "OBSERVING"
	}
	return "state " + strconv.Itoa(int(s))
}
