package server

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/server/config"
)

// A reconfigRule is what the settings of a server say about reconfig requests.
type reconfigRule struct {
	standaloneEnabled bool
	multiAddress      bool
}

// next makes the config that a request asks for, with this version, out of the last one. The codes, and the order of
// the checks, are those of section 8.2 of the quorum protocol up to the number of voters. What Java refuses with an
// exception that it did not foresee gives ErrMarshalling, as there. It borrows req until return.
// Source: PrepRequestProcessor, case reconfig.
func (r reconfigRule) next(req *proto.ReconfigRequest, last *quorum.Config, version quorum.Zxid) (*quorum.Config, proto.ErrCode, error) {
	var c *quorum.Config
	var err error
	if req.NewMembers != nil {
		c, err = r.whole(string(req.NewMembers), version)
	} else {
		c, err = r.incremental(string(req.Joining), string(req.Leaving), last, version)
	}
	switch {
	case errors.Is(err, config.ErrNumber), errors.Is(err, errUnforeseen):
		return nil, proto.ErrMarshalling, err
	case err != nil:
		return nil, proto.ErrBadArguments, err
	case r.standaloneEnabled && c.VoterCount() < 2:
		return nil, proto.ErrBadArguments, errors.New("new configuration must include at least 2 followers")
	}
	return c, proto.OK, nil
}

// errUnforeseen marks what Java throws an IllegalArgumentException for, which it answers as a request that does
// not decode.
var errUnforeseen = errors.New("server: invalid configuration")

// whole reads a complete member list, its lines separated by commas or newlines.
func (r reconfigRule) whole(text string, version quorum.Zxid) (*quorum.Config, error) {
	p, err := config.ParseProperties([]byte(strings.ReplaceAll(text, ",", "\n")))
	if err != nil {
		return nil, err
	}
	for _, kv := range p.Effective() {
		switch {
		case strings.HasPrefix(kv.Key, "server."), strings.HasPrefix(kv.Key, "group"), strings.HasPrefix(kv.Key, "weight"), kv.Key == "version":
		default:
			return nil, fmt.Errorf("unrecognised parameter: %s", kv.Key)
		}
	}
	q, err := config.ParseQuorum(p, r.multiAddress)
	if err != nil {
		return nil, err
	}
	participants, observers := q.CountOf(config.Participant), q.CountOf(config.Observer)
	switch {
	case participants == 0 && !r.standaloneEnabled:
		return nil, fmt.Errorf("%w: standaloneEnabled = false then number of participants should be >0", errUnforeseen)
	case participants == 0 && observers > 0:
		return nil, fmt.Errorf("%w: observers w/o participants is an invalid configuration", errUnforeseen)
	case participants == 1 && observers > 0 && r.standaloneEnabled:
		return nil, fmt.Errorf("%w: observers w/o quorum is an invalid configuration", errUnforeseen)
	}
	q.Version = uint64(version)
	return quorum.ParseConfig([]byte(q.String()))
}

// incremental takes the servers that leave out of the last config and puts those that join in, or in place of those
// with the same id.
func (r reconfigRule) incremental(joining, leaving string, last *quorum.Config, version quorum.Zxid) (*quorum.Config, error) {
	if last.Hierarchical {
		return nil, errors.New("incremental reconfiguration requested but last configuration seen has a non-majority quorum system")
	}
	members := map[quorum.ServerID]quorum.Member{}
	for _, m := range last.Members {
		members[m.ID] = m
	}
	for _, text := range splitTrimmed(leaving, ",") {
		id, err := serverID(text)
		if err != nil {
			return nil, err
		}
		delete(members, id)
	}
	for _, text := range splitTrimmed(joining, ",") {
		parts := splitTrimmed(text, "=")
		if len(parts) != 2 {
			return nil, fmt.Errorf("wrong format of server string: %s", text)
		}
		id, err := serverID(parts[0][strings.LastIndexByte(parts[0], '.')+1:])
		if err != nil {
			return nil, err
		}
		// Two parsers: the one that refuses in Java's words, and that of the text that travels.
		line, err := config.ParseMember(id, parts[1], r.multiAddress)
		if err != nil {
			return nil, err
		}
		if !line.Client.Enabled {
			return nil, fmt.Errorf("wrong format of server string - each server should have 3 ports specified: %s", text)
		}
		m, err := quorum.ParseMember(id, line.String())
		if err != nil {
			return nil, err
		}
		for _, other := range members {
			if err := checkAddresses(&m, &other); err != nil {
				return nil, err
			}
		}
		members[id] = m
	}
	list := make([]quorum.Member, 0, len(members))
	for _, m := range members {
		list = append(list, m)
	}
	return quorum.NewConfig(version, list, nil, nil)
}

// splitTrimmed splits as Java's StringUtils.split: parts are trimmed and empty ones left out.
func splitTrimmed(s, sep string) []string {
	var parts []string
	for part := range strings.SplitSeq(s, sep) {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

func serverID(text string) (quorum.ServerID, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q", config.ErrNumber, text)
	}
	return id, nil
}

// checkAddresses refuses a joining server that has an address of another one. Loopback and wildcard addresses may
// be shared: they say nothing of which machine is meant. Unlike Java's, names are compared as they are written and
// not resolved: the leader does not wait for a name server.
func checkAddresses(m, other *quorum.Member) error {
	if m.ID == other.ID {
		return nil
	}
	for _, a := range addressesOf(m) {
		for _, b := range addressesOf(other) {
			if a == b && !sharable(a.Host) {
				return fmt.Errorf("%s of server.%d conflicts %s of server.%d", a, m.ID, b, other.ID)
			}
		}
	}
	return nil
}

func addressesOf(m *quorum.Member) []quorum.Addr {
	list := append(append([]quorum.Addr(nil), m.QuorumAddrs...), m.ElectionAddrs...)
	if !m.ClientAddr.IsZero() {
		list = append(list, m.ClientAddr)
	}
	return list
}

func sharable(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && (a.IsUnspecified() || a.IsLoopback())
}
