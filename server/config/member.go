package config

import (
	"fmt"
	"net/netip"
	"sort"
	"strconv"
	"strings"
)

// Address is one pair of quorum and election ports of a member.
type Address struct {
	Host         string // as written; resolved again before each connection attempt
	QuorumPort   int
	ElectionPort int
}

// Member is one server.N line.
type Member struct {
	ID        int64
	Addresses []Address // at least one; several only with the multi-address feature
	Type      PeerType
	Client    Listener // client part of the line; Host is 0.0.0.0 when only a port was written
}

// memberForm is the tail of the message about a line of the wrong shape.
const memberForm = " does not have the form server_config or server_config;client_config" +
	" where server_config is the pipe separated list of host:port:port or host:port:port:type" +
	" and client_config is port or host:port"

const memberFix = "write server.N=host:quorumPort:electionPort[:participant|:observer][;[host:]clientPort]"

func memberError(fix, format string, args ...any) *Error {
	return &Error{ExitCode: ExitInvalidInvocation, Message: fmt.Sprintf(format, args...), Fix: fix}
}

// ParseMember parses the value of a server.N line:
//
//	addr[|addr...][;[host:]clientPort]   addr = host:quorumPort:electionPort[:type]
//
// IPv6 hosts stand in brackets; type is participant or observer in any case. Several addresses need
// multiAddress. Ports are 0..65535. A wrong line is refused with an *Error of exit code 2 that lacks Key,
// Value and place. Source: spec/operations.md 1.5, the shape of line 3.9.
func ParseMember(id int64, line string, multiAddress bool) (Member, error) {
	m, err := parseMember(id, trim(line), multiAddress)
	if err != nil {
		return Member{}, err
	}
	return m, nil
}

func parseMember(id int64, line string, multiAddress bool) (Member, *Error) {
	m := Member{ID: id}
	parts := splitJava(line, ";")
	if len(parts) > 2 {
		fix := memberFix
		if len(parts) == 3 {
			fix = "drop the third part, it belongs to line 3.10; set secureClientPort in zoo.cfg"
		}
		return m, memberError(fix, "%s", line+memberForm)
	}
	if len(parts) == 0 {
		return m, memberError(memberFix, "%s", line+memberForm)
	}
	if len(parts) == 2 {
		client, err := parseClientPart(line, parts[1])
		if err != nil {
			return m, err
		}
		m.Client = client
	}
	addresses := splitJava(parts[0], "|")
	if len(addresses) > 1 && !multiAddress {
		return m, memberError("set multiAddress.enabled=true, or keep one address",
			"Multiple address feature is disabled, but multiple addresses were specified for sid %d", id)
	}
	typed := false
	for _, text := range addresses {
		fields, err := hostAndPorts(text)
		if err != nil {
			return m, err
		}
		if len(fields) < 3 || len(fields) > 4 {
			return m, memberError(memberFix, "%s", line+memberForm)
		}
		a := Address{Host: fields[0]}
		if a.QuorumPort, err = memberPort(fields[0], fields[1]); err != nil {
			return m, err
		}
		if a.ElectionPort, err = memberPort(fields[0], fields[2]); err != nil {
			return m, err
		}
		if a.QuorumPort == a.ElectionPort {
			return m, memberError("give the quorum port and the election port different numbers",
				"Client and election port must be different! Please update the configuration file on server.%d", id)
		}
		if len(fields) == 4 {
			t, ok := parsePeerType(fields[3])
			if !ok {
				return m, memberError("write participant or observer", "Unrecognised peertype: %s", fields[3])
			}
			if typed && t != m.Type {
				return m, memberError("give all addresses of the member the same type",
					"Multiple addresses should have similar roles: %s vs %s",
					strings.ToUpper(m.Type.String()), strings.ToUpper(t.String()))
			}
			m.Type, typed = t, true
		}
		m.Addresses = append(m.Addresses, a)
	}
	if len(m.Addresses) == 0 {
		return m, memberError(memberFix, "%s", line+memberForm)
	}
	return m, nil
}

func parseClientPart(line, text string) (Listener, *Error) {
	fields, err := hostAndPorts(text)
	if err != nil {
		return Listener{}, err
	}
	if len(fields) == 0 || len(fields) > 2 {
		return Listener{}, memberError(memberFix, "%s", line+memberForm)
	}
	host := "0.0.0.0"
	if len(fields) == 2 {
		host = fields[0]
	}
	port, err := memberPort(host, fields[len(fields)-1])
	if err != nil {
		return Listener{}, err
	}
	return Listener{Enabled: true, Endpoint: Endpoint{Host: host, Port: port}}, nil
}

func parsePeerType(s string) (PeerType, bool) {
	switch strings.ToLower(trim(s)) {
	case "participant":
		return Participant, true
	case "observer":
		return Observer, true
	}
	return Participant, false
}

// validHost reports whether host can be a name or an address: letters, digits, '-', '.', '_' and anything
// beyond ASCII, or an IPv6 address.
func validHost(host string) bool {
	if strings.Contains(host, ":") {
		_, err := netip.ParseAddr(host)
		return err == nil && !strings.ContainsAny(host, "[]|;, =\t")
	}
	for _, r := range host {
		if r < 0x80 && !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_') {
			return false
		}
	}
	return host != ""
}

func memberPort(host, text string) (int, *Error) {
	if !validHost(host) {
		return 0, memberError("write a host name, an IPv4 address, or an IPv6 address in brackets", "Address unresolved: %s:%s", host, text)
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, memberError("write the port as a number from 1 to 65535", "Address unresolved: %s:%s", host, text)
	}
	if n < 0 || n > 65535 {
		return 0, memberError("write a port from 1 to 65535", "port out of range:%d", n)
	}
	return int(n), nil
}

// hostAndPorts splits at colons, a leading bracketed IPv6 host kept whole and without its brackets.
func hostAndPorts(s string) ([]string, *Error) {
	if !strings.HasPrefix(s, "[") {
		return splitJava(s, ":"), nil
	}
	i := strings.IndexByte(s, ']')
	if i < 0 {
		return nil, memberError("close the bracket", "%s starts with '[' but has no matching ']:'", s)
	}
	if i+2 == len(s) {
		return nil, memberError("write the port", "%s doesn't have a port after colon", s)
	}
	if i+1 == len(s) {
		return []string{s[1:i]}, nil
	}
	if s[i+1] != ':' {
		return nil, memberError("write a colon after the bracket", "%s starts with '[' but has no matching ']:'", s)
	}
	return append([]string{s[1:i]}, splitJava(s[i+2:], ":")...), nil
}

// splitJava splits as java.lang.String.split: empty parts at the end are dropped.
func splitJava(s, sep string) []string {
	parts := strings.Split(s, sep)
	for len(parts) > 0 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	return parts
}

func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// String returns the line's value in the form Java servers write into dynamic files and /zookeeper/config:
// addresses sorted by host, the type always spelled out, the client part with its host.
func (m Member) String() string {
	addresses := append([]Address(nil), m.Addresses...)
	sort.SliceStable(addresses, func(i, j int) bool { return addresses[i].Host < addresses[j].Host })
	var b strings.Builder
	for i, a := range addresses {
		if i > 0 {
			b.WriteByte('|')
		}
		fmt.Fprintf(&b, "%s:%d:%d", bracketed(a.Host), a.QuorumPort, a.ElectionPort)
	}
	b.WriteString(":" + m.Type.String())
	if m.Client.Enabled {
		fmt.Fprintf(&b, ";%s:%d", bracketed(m.Client.Host), m.Client.Port)
	}
	return b.String()
}
