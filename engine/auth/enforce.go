package auth

import (
	"fmt"
	"slices"
	"strings"

	"zabra.dev/zabra/engine/proto"
)

// Enforcement is enforce.auth: connections must have an identity of one of some schemes before
// they may send anything but auth and sasl. Whoever fails Satisfied is answered
// ErrSessionClosedRequires with zxid 0 and closed. Source: client protocol, section 10.3.
type Enforcement struct{ schemes []string }

// NewEnforcement takes enforce.auth.schemes, a comma-separated list. It fails with ErrConfig
// if the list is empty or names a scheme that the registry has no provider for; a server must
// not start then.
func NewEnforcement(r *Registry, schemes string) (*Enforcement, error) {
	var e Enforcement
	for s := range strings.SplitSeq(schemes, ",") {
		s = strings.TrimSpace(s)
		if !r.Has(s) {
			return nil, fmt.Errorf("%w: authentication scheme %q is not available", ErrConfig, s)
		}
		e.schemes = append(e.schemes, s)
	}
	return &e, nil
}

// Satisfied tells whether one of the identities is of a wanted scheme. A nil Enforcement is
// satisfied by anybody. It allocates nothing.
func (e *Enforcement) Satisfied(ids []proto.Identity) bool {
	if e == nil {
		return true
	}
	for i := range ids {
		if slices.Contains(e.schemes, ids[i].Scheme) {
			return true
		}
	}
	return false
}

// RequiresSASL tells whether sasl is among the wanted schemes, so that a failed SASL exchange
// is answered ErrSessionClosedRequires (client protocol, section 10.1).
func (e *Enforcement) RequiresSASL() bool {
	return e != nil && slices.Contains(e.schemes, SchemeSASL)
}
