package config

import (
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strconv"
	"strings"
)

// Quorum is a member list with its quorum system: plain majority, or groups with weights.
type Quorum struct {
	Members []Member          // ascending ID, no duplicates
	Groups  map[int64][]int64 // group id to member ids as written; empty: plain majority
	Weights map[int64]int64   // member id to weight as written; a participant of a group defaults to 1
	Version uint64            // of a dynamic configuration; 0 for a static one
}

// Hierarchical reports whether groups decide, rather than a plain majority.
func (q *Quorum) Hierarchical() bool { return len(q.Groups) > 0 }

// Member returns the member with that id.
func (q *Quorum) Member(id int64) (m Member, ok bool) {
	i := sort.Search(len(q.Members), func(i int) bool { return q.Members[i].ID >= id })
	if i < len(q.Members) && q.Members[i].ID == id {
		return q.Members[i], true
	}
	return Member{}, false
}

// CountOf returns the number of members of type t.
func (q *Quorum) CountOf(t PeerType) int {
	n := 0
	for _, m := range q.Members {
		if m.Type == t {
			n++
		}
	}
	return n
}

// Weight returns the weight of a member: 1 for majorities, and for groups what weight.N says, else 1.
func (q *Quorum) Weight(id int64) int64 {
	if w, ok := q.Weights[id]; ok && q.Hierarchical() {
		return w
	}
	return 1
}

// Lines returns the pairs of the list without its version, sorted as text, as dynamic files hold them.
func (q *Quorum) Lines() []string {
	lines := q.pairs()
	sort.Strings(lines)
	return lines
}

func (q *Quorum) pairs() []string {
	var lines []string
	for _, m := range q.Members {
		lines = append(lines, fmt.Sprintf("server.%d=%s", m.ID, m))
	}
	for _, g := range sortedKeys(q.Groups) {
		ids := make([]string, len(q.Groups[g]))
		for i, id := range q.Groups[g] {
			ids[i] = strconv.FormatInt(id, 10)
		}
		lines = append(lines, fmt.Sprintf("group.%d=%s", g, strings.Join(ids, ":")))
	}
	if q.Hierarchical() {
		weights := make(map[int64]int64, len(q.Weights))
		for id, w := range q.Weights {
			weights[id] = w
		}
		for _, m := range q.Members {
			if m.Type == Participant {
				weights[m.ID] = q.Weight(m.ID)
			}
		}
		for _, id := range sortedKeys(weights) {
			lines = append(lines, fmt.Sprintf("weight.%d=%d", id, weights[id]))
		}
	}
	return lines
}

// String returns the content of /zookeeper/config: members, groups and weights by ascending id, one per
// line, then version=HEX without a newline.
func (q *Quorum) String() string {
	return strings.Join(append(q.pairs(), fmt.Sprintf("version=%x", q.Version)), "\n")
}

func sortedKeys[V any](m map[int64]V) []int64 {
	keys := make([]int64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i] < keys[j] })
	return keys
}

func isQuorumKey(key string) bool {
	return strings.HasPrefix(key, "server.") || strings.HasPrefix(key, "group") || strings.HasPrefix(key, "weight")
}

// ParseQuorum reads the server., group., weight. and version pairs of p and skips all others. It checks
// that groups are disjoint and hold every participant, not how many participants there are. A wrong pair
// is refused with an *Error of exit code 2. Source: QuorumMaj, QuorumHierarchical; spec/operations.md 1.5.
func ParseQuorum(p *Properties, multiAddress bool) (*Quorum, error) {
	q, err := parseQuorum(p, multiAddress)
	if err != nil {
		return nil, err
	}
	return q, nil
}

func parseQuorum(p *Properties, multiAddress bool) (*Quorum, *Error) {
	q := &Quorum{}
	groupOf := map[int64]int64{}
	hierarchical := false
	for _, kv := range p.Effective() {
		err := q.parsePair(kv, multiAddress, groupOf)
		if err != nil {
			err.Key, err.Value, err.Line = kv.Key, kv.Value, kv.Line
			return nil, err
		}
		hierarchical = hierarchical || strings.HasPrefix(kv.Key, "group.") || strings.HasPrefix(kv.Key, "weight.")
	}
	sort.Slice(q.Members, func(i, j int) bool { return q.Members[i].ID < q.Members[j].ID })
	for i := 1; i < len(q.Members); i++ {
		if id := q.Members[i].ID; q.Members[i-1].ID == id {
			return nil, memberError("keep one line for this server", "server.%d is given twice", id)
		}
	}
	if !hierarchical {
		return q, nil
	}
	for _, m := range q.Members {
		if _, ok := groupOf[m.ID]; !ok && m.Type == Participant {
			// The missing blank is Java's.
			return nil, memberError(fmt.Sprintf("add %d to one of the group.N lines, or drop all group.N and weight.N lines", m.ID),
				"Server %dis not in a group", m.ID)
		}
	}
	return q, nil
}

func (q *Quorum) parsePair(kv Property, multiAddress bool, groupOf map[int64]int64) *Error {
	suffix := func() (int64, *Error) {
		_, text, _ := strings.Cut(kv.Key, ".")
		return parseInt64(text, "write a number after the dot")
	}
	switch {
	case strings.HasPrefix(kv.Key, "server."):
		id, err := suffix()
		if err != nil {
			return err
		}
		m, err := parseMember(id, kv.Value, multiAddress)
		if err != nil {
			return err
		}
		q.Members = append(q.Members, m)
	case strings.HasPrefix(kv.Key, "group."):
		group, err := suffix()
		if err != nil {
			return err
		}
		if q.Groups == nil {
			q.Groups = map[int64][]int64{}
		}
		for _, text := range splitJava(kv.Value, ":") {
			id, err := parseInt64(text, "write server ids with colons between them, for example 1:2:3")
			if err != nil {
				return err
			}
			if _, dup := groupOf[id]; dup {
				return memberError("keep the server in one group", "Server %dis in multiple groups", id)
			}
			groupOf[id] = group
			q.Groups[group] = append(q.Groups[group], id)
		}
		if len(q.Groups[group]) == 0 {
			return memberError("list the ids of the group's servers, for example 1:2:3", "group %d is empty", group)
		}
	case strings.HasPrefix(kv.Key, "weight."):
		id, err := suffix()
		if err != nil {
			return err
		}
		w, err := parseInt64(kv.Value, "write the weight as a whole number, 0 for a server that never counts")
		if err != nil {
			return err
		}
		if w < 0 {
			return memberError("write 0 or more", "negative weight %d", w)
		}
		if q.Weights == nil {
			q.Weights = map[int64]int64{}
		}
		q.Weights[id] = w
	case kv.Key == "version":
		v, err := strconv.ParseUint(kv.Value, 16, 64)
		if err != nil {
			return numberError(kv.Value, "write the version in hexadecimal digits")
		}
		q.Version = v
	}
	return nil
}

// ErrNumber is the cause of an *Error about a text that is no number.
var ErrNumber = errors.New("config: not a number")

func numberError(text, fix string) *Error {
	err := memberError(fix, "For input string: \"%s\"", text)
	err.Err = ErrNumber
	return err
}

func parseInt64(text, fix string) (int64, *Error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, numberError(text, fix)
	}
	return n, nil
}

// checkMembership applies the rules on the number of participants and observers and appends the warnings
// they call for. Source: QuorumPeerConfig.parseDynamicConfig.
func (q *Quorum) checkMembership(standaloneEnabled bool, warn func(Warning)) *Error {
	participants, observers := q.CountOf(Participant), q.CountOf(Observer)
	refuse := func(fix, text string) *Error { return memberError(fix, "%s", text) }
	switch {
	case participants == 0 && !standaloneEnabled:
		return refuse("add server.N lines, or set standaloneEnabled=true",
			"standaloneEnabled = false then number of participants should be >0")
	case participants == 0 && observers > 0:
		return refuse("add server.N lines of participants", "Observers w/o participants is an invalid configuration")
	case participants == 0:
	case participants == 1 && standaloneEnabled:
		warn(Warning{Level: slog.LevelError, Message: "Invalid configuration, only one server specified (ignoring)"})
		if observers > 0 {
			return refuse("add participants, or set standaloneEnabled=false", "Observers w/o quorum is an invalid configuration")
		}
	case participants <= 2:
		warn(Warning{Level: slog.LevelWarn, Message: "No server failure will be tolerated. You need at least 3 servers."})
	case participants%2 == 0:
		warn(Warning{Level: slog.LevelWarn, Message: "Non-optimal configuration, consider an odd number of servers."})
	}
	return nil
}
