package authprovider

import (
	"crypto/x509"

	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/proto"
)

// X509 knows clients by the subjects of their certificates, which TLS has verified before.
type X509 struct {
	// SuperUser is the name that is super, too, and that every ACL entry of the scheme matches; empty:
	// nobody (X509AuthenticationProvider.superUser).
	SuperUser string
}

// Scheme implements auth.Provider.
func (p *X509) Scheme() string { return auth.SchemeX509 }

// Authenticate implements auth.Provider: what the client sends does not matter, the certificate does.
func (p *X509) Authenticate(_ []byte, peer auth.Peer) ([]proto.Identity, proto.ErrCode) {
	if peer.Certificate == nil {
		return nil, proto.ErrAuthFailed
	}
	c, err := x509.ParseCertificate(peer.Certificate)
	if err != nil {
		return nil, proto.ErrAuthFailed
	}
	name, err := subjectName(c.RawSubject)
	if err != nil {
		return nil, proto.ErrAuthFailed
	}
	own := proto.Identity{Scheme: p.Scheme(), ID: name}
	if p.SuperUser != "" && name == p.SuperUser {
		return []proto.Identity{{Scheme: auth.SchemeSuper, ID: name}, own}, proto.OK
	}
	return []proto.Identity{own}, proto.OK
}

// ValidID implements auth.Provider.
func (p *X509) ValidID(id []byte) bool { return validName(string(id)) }

// Matches implements auth.Provider.
func (p *X509) Matches(identity string, aclID []byte) bool {
	return identity == string(aclID) || p.SuperUser != "" && identity == p.SuperUser
}

// Authenticated implements auth.Provider.
func (p *X509) Authenticated() bool { return true }

// UserName implements auth.Provider.
func (p *X509) UserName(identity string) string { return identity }
