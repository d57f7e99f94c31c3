package admin

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/server"
)

// The commands that are about the ensemble. A server alone answers as one that is no part of any.

func leader(q *request) {
	m, ok := q.a.srv.Membership()
	if !ok || !m.HasLeader {
		q.failed = "server is not initialized"
		return
	}
	q.put("is_leader", m.State == quorum.Leading)
	q.put("leader_id", m.Leader)
	q.put("leader_ip", leaderIP(q.http.Context(), &m))
}

// lookUpMax bounds how long the name of the leader is looked up.
const lookUpMax = 2 * time.Second

// leaderIP is the address that the leader is reached at, its name if that has none.
func leaderIP(ctx context.Context, m *server.Membership) string {
	if a, err := netip.ParseAddrPort(m.LeaderLink); err == nil {
		return a.Addr().Unmap().String()
	}
	self := m.Config.Member(m.Leader)
	if self == nil {
		return ""
	}
	host := self.QuorumAddrs[0].Host
	ctx, cancel := context.WithTimeout(ctx, lookUpMax)
	defer cancel()
	if list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host); err == nil && len(list) > 0 {
		return list[0].Unmap().String()
	}
	return host
}

func votingView(q *request) {
	view := object{}
	if m, ok := q.a.srv.Membership(); ok {
		for i := range m.Config.Members {
			x := &m.Config.Members[i]
			if x.Role != quorum.Participant {
				continue
			}
			view.put(strconv.FormatInt(x.ID, 10), object{
				{"server_addresses", texts(x.QuorumAddrs)}, {"election_addresses", texts(x.ElectionAddrs)},
				{"client_address", clientAddress(&m, x)}, {"learner_type", x.Role.String()},
			})
		}
	}
	q.put("current_config", view)
}

// clientAddress is that of x as far as this server knows it: from the member list, or from its own configuration.
func clientAddress(m *server.Membership, x *quorum.Member) string {
	switch {
	case !x.ClientAddr.IsZero():
		return x.ClientAddr.String()
	case x.ID == m.Self:
		return m.ClientAddr
	}
	return ""
}

func texts(addrs []quorum.Addr) (list []string) {
	for _, a := range addrs {
		list = append(list, a.String())
	}
	return list
}

func zabstate(q *request) {
	m, ok := q.a.srv.Membership()
	if !ok || !m.HasLeader {
		q.put("voting", false)
		q.put("zabstate", "")
		return
	}
	q.put("myid", m.Self)
	q.put("is_leader", m.State == quorum.Leading)
	if x := m.Config.Member(m.Self); x != nil {
		q.put("quorum_address", addressObject(x.QuorumAddrs))
		q.put("election_address", addressObject(x.ElectionAddrs))
		q.put("client_address", clientAddress(&m, x))
	}
	q.put("voting", m.Config.IsVoter(m.Self))
	q.put("last_zxid", hex(m.LastZxid))
	q.put("zab_epoch", quorum.EpochOf(m.LastZxid))
	q.put("zab_counter", int64(quorum.CounterOf(m.LastZxid)))
	q.put("zabstate", m.Stage.String())
}

func hex(zxid proto.Zxid) string { return "0x" + strconv.FormatUint(uint64(zxid), 16) }

// addressObject has the fields of a Java object that holds addresses. A server's own addresses are reachable.
func addressObject(addrs []quorum.Addr) object {
	all := texts(addrs)
	var wildcards, hosts []string
	var ports []int
	for _, a := range addrs {
		if w := (quorum.Addr{Host: "0.0.0.0", Port: a.Port}).String(); !slices.Contains(wildcards, w) {
			wildcards = append(wildcards, w)
		}
		if !slices.Contains(ports, a.Port) {
			ports = append(ports, a.Port)
		}
		if !slices.Contains(hosts, a.Host) {
			hosts = append(hosts, a.Host)
		}
	}
	return object{
		{"empty", false}, {"all_addresses", all}, {"all_reachable_addresses", all}, {"one", all[0]}, {"reachable_address", all[0]},
		{"wildcard_addresses", wildcards}, {"all_ports", ports}, {"all_host_strings", hosts},
		{"all_reachable_addresses_or_all", all}, {"reachable_or_one", all[0]},
	}
}

// observers lists those of a leader. What a Java server tells of its queues to them has no counterpart here.
func observers(q *request) {
	m, _ := q.a.srv.Membership()
	synced, list := 0, []object{}
	for i := range m.Learners {
		l := &m.Learners[i]
		if !l.Observer {
			continue
		}
		if l.InStep {
			synced++
		}
		list = append(list, object{
			{"remote_socket_address", "/" + l.Addr}, {"sid", l.ID}, {"established", l.EstablishedMs},
			{"packets_received", l.PacketsReceived}, {"last_zxid", l.Sent},
		})
	}
	q.put("synced_observers", synced)
	q.put("observers", list)
}
