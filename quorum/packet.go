package quorum

import (
	"errors"
	"fmt"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// PacketType is the first field of a packet.
type PacketType = proto.PacketType

// The packet types (quorum protocol, section 4.1). L is a learner, F a follower, O an observer.
const (
	PacketRequest           PacketType = 1                    // L: a client's write or sync
	PacketProposal          PacketType = proto.PacketProposal // to F
	PacketAck               PacketType = 3                    // L: a logged transaction, or NEWLEADER
	PacketCommit            PacketType = 4                    // to F
	PacketPing              PacketType = 5                    // both ways
	PacketRevalidate        PacketType = 6                    // both ways
	PacketSync              PacketType = 7                    // to L: its oldest sync is done
	PacketInform            PacketType = 8                    // to O: a committed transaction
	PacketCommitAndActivate PacketType = 9                    // to F: a committed reconfig
	PacketNewLeader         PacketType = 10                   // to L: the history is complete
	PacketFollowerInfo      PacketType = 11                   // F: first packet
	PacketUpToDate          PacketType = 12                   // to L: serve
	PacketDiff              PacketType = 13                   // to L: proposals follow
	PacketTrunc             PacketType = 14                   // to L: cut the log
	PacketSnap              PacketType = 15                   // to L: a tree follows
	PacketObserverInfo      PacketType = 16                   // O: first packet
	PacketLeaderInfo        PacketType = 17                   // to L: the new epoch
	PacketAckEpoch          PacketType = 18                   // L: its history
	PacketInformAndActivate PacketType = 19                   // to O: a committed reconfig
)

var packetNames = [...]string{
	1: "REQUEST", "PROPOSAL", "ACK", "COMMIT", "PING", "REVALIDATE", "SYNC", "INFORM",
	"COMMITANDACTIVATE", "NEWLEADER", "FOLLOWERINFO", "UPTODATE", "DIFF", "TRUNC", "SNAP",
	"OBSERVERINFO", "LEADERINFO", "ACKEPOCH", "INFORMANDACTIVATE",
}

// PacketName returns the name of t as the Java sources have it.
func PacketName(t PacketType) string {
	if t >= 1 && int(t) < len(packetNames) {
		return packetNames[t]
	}
	return fmt.Sprintf("packet type %d", t)
}

// NoZxid is the zxid of packets that have none: REQUEST, REVALIDATE, UPTODATE.
const NoZxid Zxid = -1

// PacketMinBytes is the size of a packet with null data and null authinfo.
const PacketMinBytes = 4 + 8 + 4 + 4

// A Packet is one QuorumPacket.
type Packet struct {
	Type PacketType
	Zxid Zxid
	Data []byte           // nil is null
	Auth []proto.Identity // nil is null; a decoded one is shared and must not be changed
	// Raw is the whole packet as it was received; nil in a packet that was not decoded. A
	// PROPOSAL is logged as Raw. Append does not look at it.
	Raw []byte
}

// Append appends the encoded packet. It borrows Data and Auth until return.
func (p *Packet) Append(dst []byte) []byte {
	dst = jute.AppendInt32(dst, int32(p.Type))
	dst = jute.AppendInt64(dst, p.Zxid)
	dst = jute.AppendBuffer(dst, p.Data)
	if p.Auth == nil {
		return jute.AppendInt32(dst, -1)
	}
	dst = jute.AppendInt32(dst, int32(len(p.Auth)))
	for i := range p.Auth {
		dst = jute.AppendString(dst, p.Auth[i].Scheme)
		dst = jute.AppendString(dst, p.Auth[i].ID)
	}
	return dst
}

// AppendPacket appends a packet with null authinfo: every type but REQUEST. It borrows data
// until return; nil is null.
func AppendPacket(dst []byte, t PacketType, z Zxid, data []byte) []byte {
	dst = jute.AppendInt32(dst, int32(t))
	dst = jute.AppendInt64(dst, z)
	dst = jute.AppendBuffer(dst, data)
	return jute.AppendInt32(dst, -1)
}

// BeginPacket appends the head of a packet whose data is then encoded in place; EndPacket
// closes it. start is what EndPacket needs.
func BeginPacket(dst []byte, t PacketType, z Zxid) (out []byte, start int) {
	start = len(dst)
	dst = jute.AppendInt32(dst, int32(t))
	dst = jute.AppendInt64(dst, z)
	return jute.AppendInt32(dst, 0), start
}

// EndPacket fills the length of the data in and appends null authinfo.
func EndPacket(dst []byte, start int) []byte {
	jute.PutInt32(dst[start+12:], int32(len(dst)-start-16))
	return jute.AppendInt32(dst, -1)
}

// ErrNeedMore reports that the input ends inside a packet.
var ErrNeedMore = errors.New("quorum: input ends inside a packet")

// ErrPacket reports bytes that are no packet or exceed a limit: the connection is of no use
// any more.
var ErrPacket = errors.New("quorum: malformed packet")

// Limits bound what a peer can make a Decoder accept. The zero value means the defaults.
type Limits struct {
	// DataMaxBytes bounds a packet's data. Default 2 x 0xfffff, which is what Java takes:
	// jute.maxbuffer plus an extra of the same size.
	DataMaxBytes int
	// AuthMaxCount and AuthMaxBytes bound the identities of a REQUEST, the latter all their
	// strings with their lengths. Defaults 1024 and 64 KiB; Java has a limit per string only.
	AuthMaxCount, AuthMaxBytes int
}

const (
	defaultDataMaxBytes = 2 * 0xfffff
	defaultAuthMaxCount = 1024
	defaultAuthMaxBytes = 64 << 10
)

func (l Limits) withDefaults() Limits {
	if l.DataMaxBytes <= 0 {
		l.DataMaxBytes = defaultDataMaxBytes
	}
	if l.AuthMaxCount <= 0 {
		l.AuthMaxCount = defaultAuthMaxCount
	}
	if l.AuthMaxBytes <= 0 {
		l.AuthMaxBytes = defaultAuthMaxBytes
	}
	return l
}

// PacketMaxBytes returns the size of the largest packet that the limits admit, and so that of
// the largest buffer a Decoder can ask for.
func (l Limits) PacketMaxBytes() int {
	l = l.withDefaults()
	return PacketMinBytes + l.DataMaxBytes + l.AuthMaxBytes
}

// authCacheCount bounds the lists of identities that a Decoder remembers. It covers the
// identities of the clients that a learner forwards for at one time; beyond it each REQUEST
// pays for its own copy until the cache is begun anew.
const authCacheCount = 256

// A Decoder cuts packets out of a stream of one peer. It remembers the identity lists it has
// seen, which repeat from REQUEST to REQUEST, so that decoding does not allocate in the
// steady state. The zero Decoder has the default limits.
type Decoder struct {
	limits Limits
	auth   map[string][]proto.Identity
}

// NewDecoder returns a Decoder with the given limits.
func NewDecoder(limits Limits) *Decoder { return &Decoder{limits: limits.withDefaults()} }

// Decode reads the packet at the start of buf. It borrows buf until return and lends Data and
// Raw, which alias it; Auth is shared and stays valid.
//
//	err == nil        p is complete and took the first n bytes
//	ErrNeedMore       the packet has at least n bytes, n > len(buf); call again with more of it
//	ErrPacket         no packet
//
// n never exceeds Limits.PacketMaxBytes. A type that nobody knows is decoded like any other.
func (d *Decoder) Decode(buf []byte) (p Packet, n int, err error) {
	if d.limits.DataMaxBytes == 0 {
		d.limits = d.limits.withDefaults()
	}
	if len(buf) < 16 {
		return Packet{}, PacketMinBytes, ErrNeedMore
	}
	p.Type, p.Zxid = PacketType(jute.Int32(buf)), jute.Int64(buf[4:])
	n = 16
	if dataBytes := int(jute.Int32(buf[12:])); dataBytes != -1 {
		if dataBytes < 0 || dataBytes > d.limits.DataMaxBytes {
			return Packet{}, 0, fmt.Errorf("%w: %s with %d bytes of data, limit %d", ErrPacket, PacketName(p.Type), dataBytes, d.limits.DataMaxBytes)
		}
		n += dataBytes
		if len(buf) < n {
			return Packet{}, n + 4, ErrNeedMore
		}
		p.Data = buf[16:n:n]
	}
	if len(buf) < n+4 {
		return Packet{}, n + 4, ErrNeedMore
	}
	count := int(jute.Int32(buf[n:]))
	authStart := n
	n += 4
	if count >= 0 {
		if count > d.limits.AuthMaxCount {
			return Packet{}, 0, fmt.Errorf("%w: %s with %d identities, limit %d", ErrPacket, PacketName(p.Type), count, d.limits.AuthMaxCount)
		}
		for i := 0; i < 2*count; i++ {
			if len(buf) < n+4 {
				return Packet{}, n + 4, ErrNeedMore
			}
			s := max(int(jute.Int32(buf[n:])), 0) // a null string becomes an empty one
			n += 4
			if s > d.limits.AuthMaxBytes || n+s-authStart > d.limits.AuthMaxBytes {
				return Packet{}, 0, fmt.Errorf("%w: %s with more than %d bytes of identities", ErrPacket, PacketName(p.Type), d.limits.AuthMaxBytes)
			}
			n += s
			if len(buf) < n {
				return Packet{}, n, ErrNeedMore
			}
		}
		p.Auth = d.identities(buf[authStart:n], count)
	} else if count < -1 {
		return Packet{}, 0, fmt.Errorf("%w: %s with %d identities", ErrPacket, PacketName(p.Type), count)
	}
	p.Raw = buf[:n:n]
	return p, n, nil
}

// identities returns the list whose checked encoding is raw.
func (d *Decoder) identities(raw []byte, count int) []proto.Identity {
	if auth, ok := d.auth[string(raw)]; ok {
		return auth
	}
	in := jute.NewDecoder(raw[4:], 0)
	auth := make([]proto.Identity, count)
	for i := range auth {
		auth[i].Scheme = string(in.Buffer())
		auth[i].ID = string(in.Buffer())
	}
	if d.auth == nil || len(d.auth) >= authCacheCount {
		d.auth = make(map[string][]proto.Identity)
	}
	d.auth[string(raw)] = auth
	return auth
}

// DecodePacket decodes one packet as Decoder.Decode does, with the default limits. It is for
// places where speed does not count.
func DecodePacket(buf []byte) (p Packet, n int, err error) {
	var d Decoder
	return d.Decode(buf)
}

// informHead is what distinguishes an INFORM from the PROPOSAL of the same transaction.
var informHead = [4]byte{0, 0, 0, byte(PacketInform)}

// InformOf splits the INFORM of a transaction into two parts to be written one after the
// other, of which the second aliases the PROPOSAL packet it is given: an observer gets the
// log's bytes without a copy. It borrows proposal; head must not be changed.
func InformOf(proposal []byte) (head, rest []byte) { return informHead[:], proposal[4:] }

// AppendProposalOf appends the PROPOSAL packet of the transaction that an INFORM carries: what
// an observer logs. It borrows inform.Data until return.
func AppendProposalOf(dst []byte, inform *Packet) []byte {
	return AppendPacket(dst, PacketProposal, inform.Zxid, inform.Data)
}
