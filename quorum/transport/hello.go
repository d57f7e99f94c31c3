package transport

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strings"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/quorum"
)

// The first eight bytes of an initial message that is more than a bare id.
const (
	helloVersion1 int64 = -65536 // 3.5: one address
	helloVersion2 int64 = -65535 // 3.6: several, only when multi-address is on
)

// observerWithoutID is the id of observers that have none. The acceptor would invent one that
// nobody can be called back by, so that it never gets a connection.
const observerWithoutID = math.MaxInt64

var errHello = errors.New("transport: malformed initial message")

// hello is the initial message of the election port (quorum protocol, section 2.2):
//
//	[id i64]                                             3.4
//	[-65536 i64][id i64][n i32][host:port]               version 1
//	[-65535 i64][id i64][n i32][host:port|host:port...]  version 2
type hello struct {
	id    quorum.ServerID
	addrs []quorum.Addr // where to connect back; wildcards are left out
}

// appendHello appends the initial message of server id with the election addresses addrs, at
// least one; in version 2, with all of them, if multi.
func appendHello(dst []byte, id quorum.ServerID, addrs []quorum.Addr, multi bool) []byte {
	version := helloVersion1
	if multi {
		version = helloVersion2
	} else {
		addrs = addrs[:1]
	}
	dst = jute.AppendInt64(dst, version)
	dst = jute.AppendInt64(dst, id)
	start := len(dst)
	dst = jute.AppendInt32(dst, 0)
	for i, a := range addrs {
		if i > 0 {
			dst = append(dst, '|')
		}
		dst = append(dst, a.String()...)
	}
	jute.PutInt32(dst[start:], int32(len(dst)-start-4))
	return dst
}

// readHello reads an initial message of any version and not a byte more. The error matches
// errHello if what came is none.
func readHello(r io.Reader) (hello, error) {
	var head [8 + 4]byte
	if _, err := io.ReadFull(r, head[:8]); err != nil {
		return hello{}, err
	}
	first := jute.Int64(head[:])
	if first >= 0 {
		if first == observerWithoutID {
			return hello{}, fmt.Errorf("%w: observer without an id", errHello)
		}
		return hello{id: first}, nil
	}
	if first != helloVersion1 && first != helloVersion2 {
		return hello{}, fmt.Errorf("%w: version %d", errHello, first)
	}
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return hello{}, err
	}
	h := hello{id: jute.Int64(head[:])}
	n := int(jute.Int32(head[8:]))
	if n <= 0 || n > helloAddrsMaxBytes {
		return hello{}, fmt.Errorf("%w: %d bytes of addresses", errHello, n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return hello{}, err
	}
	list := []string{string(text)}
	if first == helloVersion2 {
		list = strings.Split(string(text), "|")
	}
	for _, s := range list {
		a, err := quorum.ParseAddr(s)
		if err != nil {
			return hello{}, fmt.Errorf("%w: %w", errHello, err)
		}
		if !isWildcard(a.Host) {
			h.addrs = append(h.addrs, a)
		}
	}
	return h, nil
}

// isWildcard reports whether host is an address that stands for all of a machine's.
func isWildcard(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsUnspecified()
}
