package auth

import (
	"bytes"
	"net/netip"
	"strconv"

	"zabra.dev/zabra/engine/proto"
)

// IPIdentity is the identity that every connection has from its peer's address, in Java's
// spelling: IPv6 as eight hexadecimal groups without zero compression (client protocol,
// section 8.3). Addresses of IPv4 inside IPv6 count as IPv4; a zone is left out.
func IPIdentity(addr netip.Addr) proto.Identity {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return proto.Identity{Scheme: SchemeIP, ID: addr.String()}
	}
	b := addr.As16()
	text := make([]byte, 0, 39)
	for i := 0; i < len(b); i += 2 {
		if i > 0 {
			text = append(text, ':')
		}
		text = strconv.AppendUint(text, uint64(b[i])<<8|uint64(b[i+1]), 16)
	}
	return proto.Identity{Scheme: SchemeIP, ID: string(text)}
}

// ipProvider is the ip scheme: an ACL id is an address with an optional number of prefix bits.
type ipProvider struct{}

func (ipProvider) Scheme() string { return SchemeIP }

func (ipProvider) Authenticate(_ []byte, peer Peer) ([]proto.Identity, proto.ErrCode) {
	return []proto.Identity{IPIdentity(peer.Addr)}, proto.OK
}

func (ipProvider) ValidID(id []byte) bool {
	var p ipPrefix
	return parsePrefix(&p, id)
}

func (ipProvider) Matches(identity string, aclID []byte) bool {
	var want, have ipPrefix
	if !parsePrefix(&want, aclID) || !parseAddr(&have, identity) || have.bytes != want.bytes {
		return false
	}
	full := want.bits / 8
	if !bytes.Equal(have.addr[:full], want.addr[:full]) {
		return false
	}
	rest := want.bits % 8
	return rest == 0 || (have.addr[full]^want.addr[full])>>(8-rest) == 0
}

func (ipProvider) Authenticated() bool { return false }

func (ipProvider) UserName(identity string) string { return identity }

// An ipPrefix is an address of 4 or 16 bytes and the number of leading bits that count.
type ipPrefix struct {
	addr  [16]byte
	bytes int
	bits  int
}

// text is what ids come as: bytes in an ACL, a string in an identity.
type text interface{ ~string | ~[]byte }

// parsePrefix reads "address" or "address/bits".
func parsePrefix[T text](p *ipPrefix, s T) bool {
	slash := indexByte(s, '/')
	if slash < 0 {
		return parseAddr(p, s)
	}
	if !parseAddr(p, s[:slash]) {
		return false
	}
	bits, ok := parseInt(s[slash+1:], 10)
	p.bits = bits
	return ok && bits >= 0 && bits <= p.bytes*8
}

// parseAddr reads an address as Java's ip provider does: with a colon it is IPv6 (one "::"
// may stand for missing groups; no dotted tail), else IPv4 in four decimal parts.
func parseAddr[T text](p *ipPrefix, s T) bool {
	*p = ipPrefix{}
	if indexByte(s, ':') >= 0 {
		return parseV6(p, s)
	}
	p.bytes, p.bits = 4, 32
	for i := 0; i < 4; i++ {
		dot := indexByte(s, '.')
		if (dot < 0) != (i == 3) {
			return false
		}
		part := s
		if dot >= 0 {
			part, s = s[:dot], s[dot+1:]
		}
		v, ok := parseInt(part, 10)
		if !ok || v < 0 || v > 255 {
			return false
		}
		p.addr[i] = byte(v)
	}
	return true
}

func parseV6[T text](p *ipPrefix, s T) bool {
	p.bytes, p.bits = 16, 128
	gap := -1
	for i := 0; i+1 < len(s); i++ {
		if s[i] == ':' && s[i+1] == ':' {
			gap = i
			break
		}
	}
	if gap < 0 {
		n, ok := parseGroups(&p.addr, s)
		return ok && n == 8
	}
	var tail [16]byte
	n1, ok1 := parseGroups(&p.addr, s[:gap])
	n2, ok2 := parseGroups(&tail, s[gap+2:])
	if !ok1 || !ok2 || n1+n2 >= 8 {
		return false
	}
	copy(p.addr[16-2*n2:], tail[:2*n2])
	return true
}

// parseGroups reads up to eight groups of one to four hexadecimal digits with colons between
// into addr and returns their number; the empty text has none.
func parseGroups[T text](addr *[16]byte, s T) (n int, ok bool) {
	for more := len(s) > 0; more; n++ {
		colon := indexByte(s, ':')
		part := s
		if more = colon >= 0; more {
			part, s = s[:colon], s[colon+1:]
		}
		v, ok := parseInt(part, 16)
		if !ok || len(part) > 4 || n == 8 {
			return n, false
		}
		addr[2*n], addr[2*n+1] = byte(v>>8), byte(v)
	}
	return n, true
}

func indexByte[T text](s T, c byte) int {
	for i := 0; i < len(s); i++ {
		if s[i] == c {
			return i
		}
	}
	return -1
}

// parseInt reads a number of 32 bits as Java's Integer.parseInt does, sign included.
func parseInt[T text](s T, base int) (int, bool) {
	neg := len(s) > 0 && s[0] == '-'
	if len(s) > 0 && (neg || s[0] == '+') {
		s = s[1:]
	}
	if len(s) == 0 {
		return 0, false
	}
	v := 0
	for i := 0; i < len(s); i++ {
		digit := 99
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digit = int(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			digit = int(c|0x20-'a') + 10
		}
		if digit >= base {
			return 0, false
		}
		if v = v*base + digit; v > 1<<31 {
			return 0, false
		}
	}
	if neg {
		return -v, true
	}
	return v, v < 1<<31
}
