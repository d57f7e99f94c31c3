package quorum

import (
	"errors"
	"fmt"
	"slices"
	"sort"
)

// ErrConfig reports a member list that cannot be.
var ErrConfig = errors.New("quorum: bad config")

// Addr is a host, a name or a literal without brackets, and a port. Names are resolved anew
// before each connection.
type Addr struct {
	Host string
	Port int
}

// IsZero reports whether a is no address.
func (a Addr) IsZero() bool { return a == Addr{} }

// String returns host:port, an IPv6 literal in brackets.
func (a Addr) String() string { return string(a.append(nil)) }

// Member is one server line (quorum protocol, section 1.1).
type Member struct {
	ID   ServerID
	Role Role
	// QuorumAddrs and ElectionAddrs are of equal length, at least one; the pairs share a host
	// and are sorted by it.
	QuorumAddrs, ElectionAddrs []Addr
	// ClientAddr and SecureClientAddr are zero when the line has none. Only 3.10 knows the second.
	ClientAddr, SecureClientAddr Addr
	// ClientImplicit says that the client address came from the static configuration file of
	// the server itself and is not part of the line.
	ClientImplicit bool
}

// Equal reports whether two members are the same in everything that a config's equality looks at.
func (m *Member) Equal(o *Member) bool {
	return m.ID == o.ID && m.Role == o.Role && m.ClientAddr == o.ClientAddr &&
		slices.Equal(m.QuorumAddrs, o.QuorumAddrs) && slices.Equal(m.ElectionAddrs, o.ElectionAddrs)
}

// Group is one group of a hierarchical config.
type Group struct {
	ID      int64
	Members []ServerID // sorted
}

// Weight is the weight of one server of a hierarchical config.
type Weight struct {
	ID     ServerID
	Weight int64 // >= 0
}

// Config is a member list with its rule of what a quorum is: the majority of the participants,
// or, when Hierarchical, the rule of section 1.2. It does not change after ParseConfig or
// NewConfig returned it; WithVersion makes a copy.
type Config struct {
	Version      int64    // >= 0: the zxid of the reconfig that made it, or 0
	Members      []Member // sorted by ID, none twice
	Hierarchical bool
	Groups       []Group  // sorted by ID
	Weights      []Weight // sorted by ID; every participant has one

	voters int
	groups []groupTally // those with a weight above 0
}

// groupTally is a group prepared for counting.
type groupTally struct {
	voters []Weight // the participants of the group
	half   int64    // half of the weight of all its members, rounded down
}

// NewConfig checks a member list, sorts it, gives participants without a weight the weight 1
// in a hierarchical config, and returns it as a Config. It takes the slices. groups and
// weights are both empty in a config of the majority rule. The error matches ErrConfig.
func NewConfig(version int64, members []Member, groups []Group, weights []Weight) (*Config, error) {
	c := &Config{
		Version: version, Members: members, Groups: groups, Weights: weights,
		Hierarchical: len(groups) > 0 || len(weights) > 0,
	}
	if err := c.init(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Config) init() error {
	if c.Version < 0 {
		return fmt.Errorf("%w: version %d", ErrConfig, c.Version)
	}
	sort.Slice(c.Members, func(i, j int) bool { return c.Members[i].ID < c.Members[j].ID })
	for i := range c.Members {
		m := &c.Members[i]
		if i > 0 && c.Members[i-1].ID == m.ID {
			return fmt.Errorf("%w: server %d twice", ErrConfig, m.ID)
		}
		if len(m.QuorumAddrs) == 0 || len(m.QuorumAddrs) != len(m.ElectionAddrs) {
			return fmt.Errorf("%w: server %d has %d quorum and %d election addresses", ErrConfig, m.ID, len(m.QuorumAddrs), len(m.ElectionAddrs))
		}
		sortAddrs(m)
		if m.Role == Participant {
			c.voters++
		}
	}
	if c.voters == 0 {
		return fmt.Errorf("%w: no participant", ErrConfig)
	}
	if c.Hierarchical {
		return c.initGroups()
	}
	return nil
}

// sortAddrs sorts the pairs of addresses by host, as Java prints them.
func sortAddrs(m *Member) {
	order := make([]int, len(m.QuorumAddrs))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return m.QuorumAddrs[order[i]].Host < m.QuorumAddrs[order[j]].Host })
	q, e := make([]Addr, len(order)), make([]Addr, len(order))
	for i, j := range order {
		q[i], e[i] = m.QuorumAddrs[j], m.ElectionAddrs[j]
	}
	m.QuorumAddrs, m.ElectionAddrs = q, e
}

func (c *Config) initGroups() error {
	sort.Slice(c.Weights, func(i, j int) bool { return c.Weights[i].ID < c.Weights[j].ID })
	for i, w := range c.Weights {
		if w.Weight < 0 || w.Weight > 1<<31 {
			return fmt.Errorf("%w: weight %d of server %d", ErrConfig, w.Weight, w.ID)
		}
		if i > 0 && c.Weights[i-1].ID == w.ID {
			return fmt.Errorf("%w: server %d has two weights", ErrConfig, w.ID)
		}
	}
	given := c.Weights
	for i := range c.Members {
		m := &c.Members[i]
		if m.Role == Participant && !hasWeight(given, m.ID) {
			c.Weights = append(c.Weights[:len(c.Weights):len(c.Weights)], Weight{ID: m.ID, Weight: 1})
		}
	}
	sort.Slice(c.Weights, func(i, j int) bool { return c.Weights[i].ID < c.Weights[j].ID })
	sort.Slice(c.Groups, func(i, j int) bool { return c.Groups[i].ID < c.Groups[j].ID })
	grouped := make(map[ServerID]bool, len(c.Members))
	for i := range c.Groups {
		g := &c.Groups[i]
		if i > 0 && c.Groups[i-1].ID == g.ID {
			return fmt.Errorf("%w: group %d twice", ErrConfig, g.ID)
		}
		slices.Sort(g.Members)
		var tally groupTally
		var sum int64
		for _, id := range g.Members {
			if grouped[id] {
				return fmt.Errorf("%w: server %d is in two groups, or twice in one", ErrConfig, id)
			}
			grouped[id] = true
			if !hasWeight(c.Weights, id) {
				return fmt.Errorf("%w: server %d of group %d has no weight and is no participant", ErrConfig, id, g.ID)
			}
			w := Weight{ID: id, Weight: findWeight(c.Weights, id)}
			sum += w.Weight
			if c.IsVoter(id) {
				tally.voters = append(tally.voters, w)
			}
		}
		if sum > 0 {
			tally.half = sum / 2
			c.groups = append(c.groups, tally)
		}
	}
	for i := range c.Members {
		if m := &c.Members[i]; m.Role == Participant && !grouped[m.ID] {
			return fmt.Errorf("%w: server %d is not in a group", ErrConfig, m.ID)
		}
	}
	return nil
}

func searchWeight(weights []Weight, id ServerID) (int, bool) {
	return slices.BinarySearchFunc(weights, id, func(w Weight, id ServerID) int {
		switch {
		case w.ID < id:
			return -1
		case w.ID > id:
			return 1
		}
		return 0
	})
}

func hasWeight(weights []Weight, id ServerID) bool {
	_, ok := searchWeight(weights, id)
	return ok
}

func findWeight(weights []Weight, id ServerID) int64 {
	if i, ok := searchWeight(weights, id); ok {
		return weights[i].Weight
	}
	return 0
}

// MayBeCommitted reports whether a last-seen config, which has been proposed, can ever be committed by servers with
// this history: the epoch that it begins and the zxid at which it ends. Whoever has seen the proposal and
// lost it again, or was told to cut it off, may lead without the reconfig, or not at all: had it been committed, an old
// quorum would have it, and a leader without it would find somebody ahead. Java goes on asking for a quorum of
// such a config, whose members may never have heard of it.
func (c *Config) MayBeCommitted(currentEpoch Epoch, lastZxid Zxid) bool {
	proposed := EpochOf(c.Version)
	return CounterOf(c.Version) == 0 || currentEpoch > proposed || (currentEpoch == proposed && lastZxid >= c.Version)
}

// WithVersion returns a copy of c that differs in the version alone.
func (c *Config) WithVersion(version int64) *Config {
	d := *c
	d.Version = version
	return &d
}

// Member returns the line of a server, nil if it is not in the list. The caller must not
// change it.
func (c *Config) Member(id ServerID) *Member {
	i := sort.Search(len(c.Members), func(i int) bool { return c.Members[i].ID >= id })
	if i < len(c.Members) && c.Members[i].ID == id {
		return &c.Members[i]
	}
	return nil
}

// IsVoter reports whether id is a participant of the list.
func (c *Config) IsVoter(id ServerID) bool {
	m := c.Member(id)
	return m != nil && m.Role == Participant
}

// VoterCount returns the number of participants.
func (c *Config) VoterCount() int { return c.voters }

// RoleOf returns the role that the list gives a server: a server that is not in it is a
// participant without a vote (section 8.4).
func (c *Config) RoleOf(id ServerID) Role {
	if m := c.Member(id); m != nil {
		return m.Role
	}
	return Participant
}

// WeightOf returns the weight of a server: 1 under the majority rule, whoever it is; its weight
// under the hierarchical one, 0 if it has none.
func (c *Config) WeightOf(id ServerID) int64 {
	if !c.Hierarchical {
		return 1
	}
	return findWeight(c.Weights, id)
}

// ContainsQuorum reports whether the participants for which set returns true are a quorum
// (quorum protocol, section 1.2). It asks for each participant at most once, in no order that
// the caller may rely on.
func (c *Config) ContainsQuorum(set func(ServerID) bool) bool {
	if !c.Hierarchical {
		n := 0
		for i := range c.Members {
			if m := &c.Members[i]; m.Role == Participant && set(m.ID) {
				n++
			}
		}
		return n > c.voters/2
	}
	n := 0
	for i := range c.groups {
		var sum int64
		for _, w := range c.groups[i].voters {
			if set(w.ID) {
				sum += w.Weight
			}
		}
		if sum > c.groups[i].half {
			n++
		}
	}
	return n > len(c.groups)/2
}

// Equal reports whether two configs are the same to Java: the same kind of rule, and either the
// same version or the same members, groups and weights (section 1.1). Two nils are equal.
func (c *Config) Equal(o *Config) bool {
	if c == nil || o == nil {
		return c == o
	}
	if c.Hierarchical != o.Hierarchical {
		return false
	}
	return c.Version == o.Version || c.SameMembers(o)
}

// SameMembers reports whether two configs agree in everything but the version.
func (c *Config) SameMembers(o *Config) bool {
	return c.Hierarchical == o.Hierarchical &&
		slices.EqualFunc(c.Members, o.Members, func(a, b Member) bool { return a.Equal(&b) }) &&
		slices.Equal(c.Weights, o.Weights) &&
		slices.EqualFunc(c.Groups, o.Groups, func(a, b Group) bool { return a.ID == b.ID && slices.Equal(a.Members, b.Members) })
}

// DesignatedLeader returns who shall lead once next, a reconfig that is about to commit, is
// active (section 8.4): leader itself if it is a voter of next with the quorum addresses that
// it has now; else, of the voters of next that acknowledged the reconfig, the one that
// acknowledged most of what was proposed after it, the highest id among equals. acked returns
// the last zxid that a server acknowledged, 0 if none. ok is false when no voter of next
// acknowledged the reconfig, whose zxid is next.Version.
func DesignatedLeader(current, next *Config, leader ServerID, acked func(ServerID) Zxid) (id ServerID, ok bool) {
	if now, then := current.Member(leader), next.Member(leader); now != nil && then != nil &&
		then.Role == Participant && slices.Equal(now.QuorumAddrs, then.QuorumAddrs) {
		return leader, true
	}
	var best Zxid
	for i := range next.Members {
		m := &next.Members[i]
		if m.Role != Participant || m.ID == leader {
			continue
		}
		if z := acked(m.ID); z >= next.Version && (!ok || z >= best) {
			id, best, ok = m.ID, z, true
		}
	}
	return id, ok
}
