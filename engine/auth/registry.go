package auth

import (
	"errors"
	"fmt"
	"net/netip"

	"zabra.dev/zabra/engine/proto"
)

// Schemes with a meaning of their own (client protocol, section 8.3).
const (
	SchemeWorld  = "world"
	SchemeAuth   = "auth"
	SchemeIP     = "ip"
	SchemeDigest = "digest"
	SchemeSuper  = "super"
	SchemeSASL   = "sasl"
	SchemeX509   = "x509"
)

// CloseSilently is what Authenticate gives for a connection that must be closed without any
// reply, so that the client tries another server (client protocol, section 8.7). It is the
// number of Java's CONNECTIONLOSS, which no server ever sends.
const CloseSilently proto.ErrCode = -4

// ErrConfig reports settings that no registry can be made of.
var ErrConfig = errors.New("auth: bad configuration")

// A Peer is what a server knows of the other end of a connection.
type Peer struct {
	Addr netip.Addr
	// Certificate is the client's leaf certificate in DER, nil without TLS or without one.
	Certificate []byte
}

// A Provider knows one scheme. Its methods are called from several goroutines at once and
// must not block; byte slices are borrowed until return.
type Provider interface {
	// Scheme is the name in ACL entries and auth packets.
	Scheme() string
	// Authenticate answers an auth packet: the identities it adds, or the code to refuse it
	// with (ErrAuthFailed, or CloseSilently). data may be nil (null).
	Authenticate(data []byte, peer Peer) ([]proto.Identity, proto.ErrCode)
	// ValidID tells whether id may stand in an ACL entry of this scheme.
	ValidID(id []byte) bool
	// Matches tells whether a connection known as identity is meant by an ACL entry with aclID.
	// It must not allocate.
	Matches(identity string, aclID []byte) bool
	// Authenticated tells whether identities of this scheme take the place of an "auth" entry.
	Authenticated() bool
	// UserName is what whoAmI calls the identity.
	UserName(identity string) string
}

// Options are the settings of a Registry. The zero value knows no digest scheme.
type Options struct {
	// DigestAlg is zookeeper.DigestAuthenticationProvider.digestAlg in Java's spelling; empty means SHA1.
	DigestAlg string
	// SuperDigest is "user:hash" as DigestID gives it; whoever authenticates as that is super. Empty: nobody.
	SuperDigest string
	// SkipACL is zookeeper.skipACL=yes: every check succeeds.
	SkipACL bool
	// DigestEnabled is zookeeper.DigestAuthenticationProvider.enabled, which is true by default.
	DigestEnabled bool
	// Providers are the schemes besides world, ip and digest.
	Providers []Provider
}

// A Registry is the set of providers of a server; see the package comment.
type Registry struct {
	skipACL   bool
	providers []Provider
}

// NewRegistry makes a registry. It fails with ErrConfig for an unknown digest algorithm or two
// providers of one scheme.
func NewRegistry(o Options) (*Registry, error) {
	digest, err := newDigestProvider(o.DigestAlg, o.SuperDigest)
	if err != nil {
		return nil, err
	}
	r := &Registry{skipACL: o.SkipACL, providers: []Provider{ipProvider{}}}
	if o.DigestEnabled {
		r.providers = append(r.providers, digest)
	}
	for _, p := range o.Providers {
		s := p.Scheme()
		if s == "" || s == SchemeWorld || s == SchemeAuth || s == SchemeSuper || r.Has(s) {
			return nil, fmt.Errorf("%w: provider for scheme %q is not possible", ErrConfig, s)
		}
		r.providers = append(r.providers, p)
	}
	return r, nil
}

// Has tells whether a provider for the scheme is loaded. World and super have none.
func (r *Registry) Has(scheme string) bool { return provider(r, scheme) != nil }

// provider finds the provider of a scheme, nil if there is none. The few that there are cost
// less to compare than to hash.
func provider[T text](r *Registry, scheme T) Provider {
	for _, p := range r.providers {
		if p.Scheme() == string(scheme) {
			return p
		}
	}
	return nil
}

// Authenticate answers an auth packet. With OK the connection gains ids, which it merges with
// what it has; with any other code the server answers that code and closes the connection,
// except that CloseSilently closes without an answer. It borrows data, which may be nil.
// Source: client protocol, sections 8.5 and 8.6.
func (r *Registry) Authenticate(scheme string, data []byte, peer Peer) (ids []proto.Identity, code proto.ErrCode) {
	if p := provider(r, scheme); p != nil {
		return p.Authenticate(data, peer)
	}
	return nil, proto.ErrAuthFailed
}

// UserName is the user that whoAmI reports for an identity; an identity without a provider,
// such as super, has none (client protocol, section 3.3).
func (r *Registry) UserName(id proto.Identity) string {
	if p := provider(r, id.Scheme); p != nil {
		return p.UserName(id.ID)
	}
	return ""
}

// Merge gives have with those of add that it lacks, in order. It never changes have in place,
// since requests in flight hold it.
func Merge(have, add []proto.Identity) []proto.Identity {
	out := have[:len(have):len(have)]
next:
	for _, a := range add {
		for _, h := range out {
			if h == a {
				continue next
			}
		}
		out = append(out, a)
	}
	return out
}

// IsSuper tells whether ids bypass access control lists (client protocol, section 8.6).
func IsSuper(ids []proto.Identity) bool {
	for i := range ids {
		if ids[i].Scheme == SchemeSuper {
			return true
		}
	}
	return false
}
