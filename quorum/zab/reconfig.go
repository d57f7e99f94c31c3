package zab

import (
	"fmt"

	"zabra.dev/zabra/quorum"
)

// proposeConfig takes a reconfig that has just been proposed: from it on, until it is committed,
// every proposal needs a quorum of both configs (section 8.3).
func (l *Leader) proposeConfig(p *Proposal, out *Outputs) {
	if p.Config.Version != p.Zxid || l.lastSeen.Version > l.config.Version {
		panic(fmt.Sprintf("zab: reconfig 0x%x with version 0x%x while 0x%x of 0x%x is pending", p.Zxid, p.Config.Version, l.lastSeen.Version, l.config.Version))
	}
	l.lastSeen = p.Config
	l.eras = append(l.eras, era{from: p.Zxid, a: l.config, b: p.Config, pending: true})
	o := out.add(OutSaveConfig)
	o.Config = p.Config
}

// commitReconfig commits the reconfig z, naming the designated leader to everybody.
func (l *Leader) commitReconfig(z quorum.Zxid, out *Outputs) {
	designated, ok := quorum.DesignatedLeader(l.config, l.lastSeen, l.opts.Self, l.ackedBy)
	if !ok {
		designated = l.opts.Self // cannot be: a quorum of the new config has acknowledged it
	}
	data := quorum.AppendActivate(nil, designated)
	for _, p := range l.peers {
		if p.state < peerSynced || p.observer || p.commitSent >= z {
			continue
		}
		out.send(p.link, quorum.PacketCommitAndActivate, z, data)
		p.commitSent = z
	}
	txn := l.txnOf(z)
	for _, p := range l.peers {
		if p.state < peerSynced || !p.observer || p.commitSent >= z {
			continue
		}
		out.send(p.link, quorum.PacketInformAndActivate, z, out.keep(data, txn))
		p.commitSent = z
	}
	l.applyUpTo(z, out)
	l.activate(designated, out)
	if l.muted {
		l.heir = designated
	}
}

// txnOf lends the transaction of a proposal in the window.
func (l *Leader) txnOf(z quorum.Zxid) []byte {
	p, _, err := quorum.DecodePacket(l.window.At(l.window.After(z - 1)).Packet)
	if err != nil {
		panic("zab: own proposal does not decode: " + err.Error())
	}
	return p.Data
}

// commitConfig goes on after a reconfig: from now on a quorum of the new config is enough, also for what was
// proposed while the reconfig was pending. Who leads next has to have a quorum of the new config, since one
// of the old config has the reconfig. Java asks for both quorums for what was proposed before the commit; but who
// is no voter any more does not acknowledge it, and then nothing is committed ever again.
func (l *Leader) commitConfig() {
	l.eras = append(l.eras[:0], era{from: l.eras[0].from, a: l.config})
}

// activate makes the last seen config the committed one.
func (l *Leader) activate(designated quorum.ServerID, out *Outputs) {
	l.config = l.lastSeen
	l.newLeaderText = l.config.AppendText(nil)
	l.muted, l.mutedAt = designated != l.opts.Self, l.now
	o := out.add(OutActivateConfig)
	o.Config, o.Server, o.Zxid = l.config, designated, l.committed
}

// completeReconfig commits, with the leader's history, a config that an earlier leader proposed,
// or the first one (sections 1.6 and 8.6).
func (l *Leader) completeReconfig(out *Outputs) {
	if !l.opts.ReconfigEnabled || l.lastSeen.Version <= l.config.Version {
		return
	}
	designated, ok := quorum.DesignatedLeader(l.config, l.lastSeen, l.opts.Self, func(id quorum.ServerID) quorum.Zxid {
		if l.hasHistory(id) {
			return l.last
		}
		return 0
	})
	if !ok {
		designated = l.opts.Self
	}
	l.activate(designated, out)
	l.eras = append(l.eras[:0], era{from: l.last + 1, a: l.config})
}
