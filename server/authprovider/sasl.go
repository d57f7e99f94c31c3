package authprovider

import (
	"regexp"

	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/proto"
)

// SASL knows clients by the name that they have logged in with. Logging in is not its task: an auth packet proves
// nothing.
type SASL struct {
	// AnyUser is the id in an ACL entry that means everybody who has logged in; empty: none does
	// (letAnySaslUserDoX).
	AnyUser string
}

// Scheme implements auth.Provider.
func (p *SASL) Scheme() string { return auth.SchemeSASL }

// Authenticate implements auth.Provider.
func (p *SASL) Authenticate([]byte, auth.Peer) ([]proto.Identity, proto.ErrCode) {
	return nil, proto.ErrAuthFailed
}

// principal is what may be a name with a realm.
var principal = regexp.MustCompile(`^[^/@]*(/[^/@]*)?@[^/@]*$`)

// ValidID implements auth.Provider.
func (p *SASL) ValidID(id []byte) bool {
	for _, b := range id {
		if b == '@' {
			return principal.Match(id)
		}
	}
	return true
}

// Matches implements auth.Provider.
func (p *SASL) Matches(identity string, aclID []byte) bool {
	return identity == auth.SchemeSuper || identity == string(aclID) || p.AnyUser != "" && p.AnyUser == string(aclID)
}

// Authenticated implements auth.Provider.
func (p *SASL) Authenticated() bool { return true }

// UserName implements auth.Provider.
func (p *SASL) UserName(identity string) string { return identity }
