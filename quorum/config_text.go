package quorum

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// configMaxBytes bounds the text of a member list: that of a notification, see NotificationMaxBytes.
const configMaxBytes = NotificationMaxBytes

func (a Addr) append(dst []byte) []byte {
	dst = appendHost(dst, a.Host)
	dst = append(dst, ':')
	return strconv.AppendInt(dst, int64(a.Port), 10)
}

func appendHost(dst []byte, host string) []byte {
	if strings.Contains(host, ":") {
		dst = append(dst, '[')
		dst = append(dst, host...)
		return append(dst, ']')
	}
	return append(dst, host...)
}

// AppendSpec appends the value of the member's server line (quorum protocol, section 1.1):
//
//	host:quorumPort:electionPort[|...]:role[;host:clientPort]
func (m *Member) AppendSpec(dst []byte) []byte {
	for i := range m.QuorumAddrs {
		if i > 0 {
			dst = append(dst, '|')
		}
		dst = m.QuorumAddrs[i].append(dst)
		dst = append(dst, ':')
		dst = strconv.AppendInt(dst, int64(m.ElectionAddrs[i].Port), 10)
	}
	dst = append(dst, ':')
	dst = append(dst, m.Role.String()...)
	if m.ClientImplicit || (m.ClientAddr.IsZero() && m.SecureClientAddr.IsZero()) {
		return dst
	}
	dst = append(dst, ';')
	if !m.ClientAddr.IsZero() {
		dst = m.ClientAddr.append(dst)
	}
	if !m.SecureClientAddr.IsZero() {
		dst = append(dst, ';')
		dst = m.SecureClientAddr.append(dst)
	}
	return dst
}

// AppendText appends the config as it travels in notifications and NEWLEADER and stands in the
// config node: server lines, group lines, weight lines, version, in the order of the ids.
// Java's order is that of a hash map, which is the same for small ids; texts are not compared.
func (c *Config) AppendText(dst []byte) []byte {
	for i := range c.Members {
		dst = append(dst, "server."...)
		dst = strconv.AppendInt(dst, c.Members[i].ID, 10)
		dst = append(dst, '=')
		dst = c.Members[i].AppendSpec(dst)
		dst = append(dst, '\n')
	}
	for i := range c.Groups {
		dst = append(dst, "group."...)
		dst = strconv.AppendInt(dst, c.Groups[i].ID, 10)
		for j, id := range c.Groups[i].Members {
			dst = append(dst, "=:"[min(j, 1)])
			dst = strconv.AppendInt(dst, id, 10)
		}
		dst = append(dst, '\n')
	}
	for _, w := range c.Weights {
		dst = append(dst, "weight."...)
		dst = strconv.AppendInt(dst, w.ID, 10)
		dst = append(dst, '=')
		dst = strconv.AppendInt(dst, w.Weight, 10)
		dst = append(dst, '\n')
	}
	dst = append(dst, "version="...)
	return strconv.AppendInt(dst, c.Version, 16)
}

// String returns the text of AppendText.
func (c *Config) String() string { return string(c.AppendText(nil)) }

// ParseConfig reads the text of a config as it travels. It borrows text until return. The line
// order is free; of two lines with the same key the last one counts, as in Java's properties;
// a config without a version has version 0. Lines of 3.10 with a secure client address are
// understood. Keys other than server.N, group.N, weight.N and version are refused, and so is
// a list without a participant. The error matches ErrConfig.
func ParseConfig(text []byte) (*Config, error) {
	if len(text) > configMaxBytes {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrConfig, len(text), configMaxBytes)
	}
	p := configParser{
		members: make(map[int64]int), groups: make(map[int64]int), weights: make(map[int64]int),
	}
	for len(text) > 0 {
		var line []byte
		line, text = cutLine(text)
		if line = bytes.TrimLeft(line, " \t\f"); len(line) == 0 || line[0] == '#' || line[0] == '!' {
			continue
		}
		if bytes.IndexByte(line, '\\') >= 0 {
			return nil, fmt.Errorf("%w: backslash in %q", ErrConfig, line)
		}
		key, value := cutKey(string(line))
		if err := p.line(key, value); err != nil {
			return nil, err
		}
	}
	c := &p.config
	c.Hierarchical = len(c.Groups) > 0 || len(c.Weights) > 0
	if err := c.init(); err != nil {
		return nil, err
	}
	return c, nil
}

func cutLine(text []byte) (line, rest []byte) {
	if i := bytes.IndexAny(text, "\r\n"); i >= 0 {
		return text[:i], text[i+1:]
	}
	return text, nil
}

// cutKey splits as java.util.Properties: the key ends at the first '=', ':' or blank; blanks
// around one separator are dropped. Blanks at the end belong to the value there and are
// dropped by those who read it.
func cutKey(line string) (key, value string) {
	i := strings.IndexAny(line, "=: \t\f")
	if i < 0 {
		return line, ""
	}
	key, value = line[:i], strings.TrimLeft(line[i:], " \t\f")
	if value != "" && (value[0] == '=' || value[0] == ':') {
		value = value[1:]
	}
	return key, strings.Trim(value, " \t\f")
}

// configParser collects lines; the maps find the line that a repeated key replaces.
type configParser struct {
	config                   Config
	members, groups, weights map[int64]int
}

// slot returns where the element of a key goes: an older one of the same key is overwritten.
func slot[T any](list *[]T, index map[int64]int, id int64) *T {
	i, ok := index[id]
	if !ok {
		i = len(*list)
		index[id] = i
		var zero T
		*list = append(*list, zero)
	}
	return &(*list)[i]
}

func (p *configParser) line(key, value string) error {
	bad := func(err error) error { return fmt.Errorf("%w: %s=%s: %v", ErrConfig, key, value, err) }
	kind, number, _ := strings.Cut(key, ".")
	var id int64
	if key != "version" {
		var err error
		if id, err = strconv.ParseInt(number, 10, 64); err != nil {
			return bad(err)
		}
	}
	switch kind {
	case "server":
		m, err := ParseMember(id, value)
		if err != nil {
			return err
		}
		*slot(&p.config.Members, p.members, id) = m
	case "group":
		g := Group{ID: id}
		for _, s := range strings.Split(value, ":") {
			sid, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				return bad(err)
			}
			g.Members = append(g.Members, sid)
		}
		*slot(&p.config.Groups, p.groups, id) = g
	case "weight":
		w, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return bad(err)
		}
		*slot(&p.config.Weights, p.weights, id) = Weight{ID: id, Weight: w}
	case "version":
		v, err := strconv.ParseInt(value, 16, 64)
		if err != nil || v < 0 || key != "version" {
			return bad(fmt.Errorf("not a version"))
		}
		p.config.Version = v
	default:
		return bad(fmt.Errorf("unknown key"))
	}
	return nil
}

// ParseMember reads the value of a server line (quorum protocol, section 1.1). Several addresses
// are accepted: whether they are allowed is for who reads a configuration file to say. The
// error matches ErrConfig.
func ParseMember(id ServerID, spec string) (Member, error) {
	m, err := parseMember(spec)
	if err != nil {
		return Member{}, fmt.Errorf("%w: server.%d=%s: %v", ErrConfig, id, spec, err)
	}
	m.ID = id
	return m, nil
}

func parseMember(spec string) (m Member, err error) {
	parts := strings.Split(spec, ";")
	if len(parts) > 3 {
		return m, fmt.Errorf("more than two semicolons")
	}
	typed := false
	for _, a := range strings.Split(parts[0], "|") {
		host, rest, err := cutHost(a)
		if err != nil {
			return m, err
		}
		fields := strings.Split(rest, ":")
		if len(fields) < 2 || len(fields) > 3 {
			return m, fmt.Errorf("%q is not host:port:port[:role]", a)
		}
		q, err := parsePort(fields[0])
		if err != nil {
			return m, err
		}
		e, err := parsePort(fields[1])
		if err != nil {
			return m, err
		}
		if q == e {
			return m, fmt.Errorf("quorum port and election port are both %d", q)
		}
		if len(fields) == 3 {
			role, err := parseRole(fields[2])
			if err != nil {
				return m, err
			}
			if typed && role != m.Role {
				return m, fmt.Errorf("addresses with different roles")
			}
			m.Role, typed = role, true
		}
		m.QuorumAddrs = append(m.QuorumAddrs, Addr{host, q})
		m.ElectionAddrs = append(m.ElectionAddrs, Addr{host, e})
	}
	if len(parts) > 1 && parts[1] != "" {
		if m.ClientAddr, err = parseClient(parts[1]); err != nil {
			return m, err
		}
	}
	if len(parts) > 2 && parts[2] != "" {
		if m.SecureClientAddr, err = parseClient(parts[2]); err != nil {
			return m, err
		}
	}
	return m, nil
}

// parseClient reads [host:]port; the host defaults to the wildcard.
func parseClient(s string) (Addr, error) {
	host, port := "0.0.0.0", s
	if strings.ContainsAny(s, ":[") {
		var err error
		if host, port, err = cutHost(s); err != nil {
			return Addr{}, err
		}
	}
	n, err := parsePort(port)
	return Addr{host, n}, err
}

// ParseAddr reads host:port, an IPv6 literal in brackets. The error matches ErrConfig.
func ParseAddr(s string) (Addr, error) {
	host, port, err := cutHost(s)
	if err == nil {
		var n int
		if n, err = parsePort(port); err == nil {
			return Addr{host, n}, nil
		}
	}
	return Addr{}, fmt.Errorf("%w: %v", ErrConfig, err)
}

// cutHost splits host:rest.
func cutHost(s string) (host, rest string, err error) {
	if strings.HasPrefix(s, "[") {
		end := strings.Index(s, "]:")
		if end < 0 {
			return "", "", fmt.Errorf("%q starts with '[' but has no matching ']:'", s)
		}
		host, rest = s[1:end], s[end+2:]
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return "", "", fmt.Errorf("%q is no IPv6 address", host)
		}
		return host, rest, nil
	}
	host, rest, ok := strings.Cut(s, ":")
	if !ok || !validHost(host) {
		return "", "", fmt.Errorf("%q does not begin with a host and a colon", s)
	}
	return host, rest, nil
}

// validHost reports whether a name holds nothing that would change the meaning of a line it is
// printed into.
func validHost(host string) bool {
	for _, r := range host {
		if r < 0x80 && !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_') {
			return false
		}
	}
	return host != ""
}

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is no port", s)
	}
	return int(n), nil
}

func parseRole(s string) (Role, error) {
	switch strings.ToLower(s) {
	case "participant":
		return Participant, nil
	case "observer":
		return Observer, nil
	}
	return 0, fmt.Errorf("unrecognised peertype %q", s)
}
