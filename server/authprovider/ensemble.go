package authprovider

import (
	"log/slog"
	"slices"
	"strings"

	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/logging"
	"zabra.dev/zabra/server/metrics"
)

// Ensemble lets clients say which ensemble they mean. It proves nothing and stands in no ACL: a client that
// means another one is disconnected, so that it tries the next server of its list.
type Ensemble struct {
	names               []string
	log                 *slog.Logger
	sampler             logging.Sampler
	skip, success, fail *metrics.Counter
}

// NewEnsemble makes the provider of a server that answers to names (ensembleAuthName); without any it
// answers to all.
func NewEnsemble(names []string, figures *metrics.Registry, log *slog.Logger) *Ensemble {
	return &Ensemble{names: names, log: log,
		skip: figures.Counter("ensemble_auth_skip"), success: figures.Counter("ensemble_auth_success"), fail: figures.Counter("ensemble_auth_fail")}
}

// Scheme implements auth.Provider.
func (p *Ensemble) Scheme() string { return "ensemble" }

// Authenticate implements auth.Provider.
func (p *Ensemble) Authenticate(data []byte, peer auth.Peer) ([]proto.Identity, proto.ErrCode) {
	name := strings.ToValidUTF8(string(data), "\ufffd")
	switch {
	case len(data) == 0 || len(p.names) == 0:
		p.skip.Add(1)
		return nil, proto.OK
	case slices.Contains(p.names, name):
		p.success.Add(1)
		return nil, proto.OK
	}
	p.fail.Add(1)
	p.sampler.Warn(p.log, "Unexpected ensemble name: ensemble name: "+name+" client ip: "+peer.Addr.String())
	return nil, auth.CloseSilently
}

// ValidID implements auth.Provider.
func (p *Ensemble) ValidID([]byte) bool { return false }

// Matches implements auth.Provider.
func (p *Ensemble) Matches(string, []byte) bool { return false }

// Authenticated implements auth.Provider.
func (p *Ensemble) Authenticated() bool { return false }

// UserName implements auth.Provider.
func (p *Ensemble) UserName(identity string) string { return identity }
