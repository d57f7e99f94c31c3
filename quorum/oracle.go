package quorum

// Oracle is what breaks the tie in an ensemble of two servers one of which is gone (quorum protocol, section 1.2): somebody
// outside the ensemble who knows which of the two may go on alone, and tells it each by a file. It must never say yes
// to both, nor to one that lacks what the other has acknowledged without it.
type Oracle uint8

// The answers.
const (
	NoOracle  Oracle = iota // there is none: a majority of two is both
	OracleNo                // this server must not go on alone
	OracleYes               // it may
)

func (o Oracle) String() string {
	switch o {
	case OracleNo:
		return "no"
	case OracleYes:
		return "yes"
	}
	return "none"
}

// CanTie reports whether an oracle has a say in c: it has two participants and the majority rule.
func (c *Config) CanTie() bool { return !c.Hierarchical && c.voters == 2 }

// ContainsVoter reports whether set holds a participant, which the yes of an oracle makes a quorum in a config that CanTie.
// Java asks for none, and would commit what nobody has on disk.
func (c *Config) ContainsVoter(set func(ServerID) bool) bool {
	for i := range c.Members {
		if m := &c.Members[i]; m.Role == Participant && set(m.ID) {
			return true
		}
	}
	return false
}
