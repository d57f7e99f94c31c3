package server

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/prep"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/server/config"
)

// Dynamic reconfiguration (quorum protocol, sections 1.6 and 8), the server's part of it: requests are judged here, the
// machines tell when a config is the last seen one and when it is committed, and files, ports, addresses and roles
// follow.

var _ prep.Reconfigurer = (*ensemble)(nil)

// Reconfig implements prep.Reconfigurer.
func (e *ensemble) Reconfig(req *proto.ReconfigRequest, zxid proto.Zxid) ([]byte, proto.ErrCode) {
	log := e.r.srv.log
	last := e.leader.LastSeen()
	if e.prepared != nil || last.Version != e.leader.Config().Version {
		return nil, proto.ErrReconfigInProgress
	}
	if req.CurConfigID != -1 && req.CurConfigID != last.Version {
		log.Info(fmt.Sprintf("Reconfiguration from version %d failed -- last seen version is %d", req.CurConfigID, last.Version))
		return nil, proto.ErrBadVersion
	}
	rule := reconfigRule{standaloneEnabled: e.opts.StandaloneEnabled, multiAddress: e.opts.MultiAddress}
	next, code, err := rule.next(req, last, zxid)
	if err != nil {
		log.Warn("Reconfig failed", "err", err)
		return nil, code
	}
	if !e.leader.HasSyncedQuorum(next) {
		log.Warn("Reconfig failed - there must be a connected and synced quorum in new configuration")
		return nil, proto.ErrNewConfigNoQuorum
	}
	e.prepared = next
	return next.AppendText(nil), proto.OK
}

// saveConfig notes a config that is proposed.
func (e *ensemble) saveConfig(c *quorum.Config) {
	e.lastSeen = c
	e.election.SetConfigs(e.config, e.lastSeen)
	e.port.Reconfigure(e.config, e.lastSeen, false)
	if e.opts.ConfigPath == "" {
		return
	}
	if err := config.WriteNext(e.opts.ConfigPath, configLines(c), uint64(c.Version)); err != nil {
		e.r.srv.log.Error("The proposed member list cannot be kept; a restart before it is committed may not know of it", "err", err)
	}
}

// activateConfig makes c, which is committed, the config in force. Who leads from now on is the designated leader: the
// machines give up by themselves when that is another one.
func (e *ensemble) activateConfig(c *quorum.Config, designated quorum.ServerID) {
	e.commitConfig(c)
	if e.leader != nil && designated != e.opts.Self {
		e.r.srv.log.Info(fmt.Sprintf("This leader is not the designated leader, which is server %d: it commits nothing any more", designated))
	}
}

// commitConfig makes a newer config the committed one (quorum protocol, section 8.4, steps 1 to 3). It may come by an
// activation, or from another server by a notification while this one looks.
// Source: QuorumPeer.processReconfig.
func (e *ensemble) commitConfig(c *quorum.Config) {
	s, old := e.r.srv, e.config
	if c.Version <= old.Version {
		return
	}
	e.config = c
	if c.Version >= e.lastSeen.Version {
		e.lastSeen = c
	}
	if err := e.storeConfig(); err != nil {
		s.log.Error("The committed member list cannot be kept; after a restart this server begins with the one before", "err", err)
	}
	// There is no transaction for the first config, nor for one that a notification brought.
	var n engine.Node
	if e.r.engine.Node(e.r.engine.ConfigNode(), &n); n.Mzxid != c.Version {
		s.lockGates()
		e.writeConfigNode()
		s.unlockGates()
	}
	differs := !c.SameMembers(old)
	if differs {
		s.log.Warn("Restarting Leader Election")
	}
	e.election.SetConfigs(e.config, e.lastSeen)
	e.port.Reconfigure(e.config, e.lastSeen, differs)
	if differs {
		e.moveClientPort()
	}
}

// storeConfig writes the committed config to the file of its version, has the static file point to it, and removes
// the file of the last seen one if that is the same.
func (e *ensemble) storeConfig() error {
	path := e.opts.ConfigPath
	if path == "" {
		return nil
	}
	name, err := config.WriteDynamic(path, configLines(e.config), uint64(e.config.Version))
	if err != nil {
		return err
	}
	self := e.config.Member(e.opts.Self)
	if err := config.RewriteStatic(path, name, self != nil && !self.ClientAddr.IsZero()); err != nil {
		return err
	}
	if e.lastSeen.Version == e.config.Version {
		return config.RemoveNext(path)
	}
	return nil
}

// configLines are the lines of a member list as files have them: sorted, without the version.
func configLines(c *quorum.Config) []string {
	lines := strings.Split(c.String(), "\n")
	lines = lines[:len(lines)-1] // the version is the last one
	slices.Sort(lines)
	return lines
}

// moveClientPort follows the client address of this server's line, if it has one. Connections stay. Source:
// ServerCnxnFactory.reconfigure.
func (e *ensemble) moveClientPort() {
	s := e.r.srv
	m := e.config.Member(e.opts.Self)
	if m == nil || m.ClientAddr.IsZero() || m.ClientAddr == e.clientAddr {
		return
	}
	e.clientAddr = m.ClientAddr
	address := net.JoinHostPort(m.ClientAddr.Host, strconv.Itoa(m.ClientAddr.Port))
	if s.clientPort.Load() == -1 {
		s.log.Warn("The member list has a client address for this server, which was started without clientPort: it takes effect with the next start", "address", address)
		return
	}
	if err := s.np.Rebind(0, address); err != nil {
		s.log.Error("Error reconfiguring client port to "+address, "err", err)
		return
	}
	s.log.Info("binding to port " + address)
	s.clientPort.Store(int64(m.ClientAddr.Port))
	e.opts.ClientAddr = address
}

// succeed takes the role that a reconfig gives this server, under the leader that it designated, without an election
// (quorum protocol, section 8.5). If that fails, an election follows.
func (e *ensemble) succeed(leader quorum.ServerID) {
	s := e.r.srv
	s.setMode("")
	e.lookedMs = s.nowMs()
	if e.downMs == 0 {
		e.downMs = e.lookedMs
	}
	state := e.election.Assume(leader, e.config.Version)
	s.log.Info(fmt.Sprintf("%s under server %d, which a reconfig designated", state, leader))
	e.beginRole(state, leader, nil)
}
