package fourlw

import (
	"net/netip"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
)

// The answers below were recorded from Java servers.

func check(t *testing.T, name, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestStat(t *testing.T) {
	s := &Server{
		Version: "3.8.0-abc, built on 2024-12-29 17:54 UTC", AvgLatencyMs: 1.8922, MaxLatencyMs: 13, Received: 679, Sent: 678,
		Connections: 2, Zxid: 0x10000013a, Mode: "leader", NodeCount: 17, IsLeader: true, ProposalLast: 119, ProposalMin: 48, ProposalMax: 197,
	}
	conns := []Conn{
		{Addr: netip.MustParseAddrPort("127.0.0.1:37558"), InterestOps: 1, Received: 651, Sent: 651, Session: 5},
		{Addr: netip.MustParseAddrPort("[::1]:42596"), Received: 1},
	}
	lines := `Latency min/avg/max: 0/1.8922/13
Received: 679
Sent: 678
Connections: 2
Outstanding: 0
Zxid: 0x10000013a
Mode: leader
Node count: 17
Proposal sizes last/min/max: 119/48/197
`
	check(t, "srvr", string(AppendSrvr(nil, s)), "Zookeeper version: 3.8.0-abc, built on 2024-12-29 17:54 UTC\n"+lines)
	check(t, "stat", string(AppendStat(nil, s, conns)), `Zookeeper version: 3.8.0-abc, built on 2024-12-29 17:54 UTC
Clients:
 /127.0.0.1:37558[1](queued=0,recved=651,sent=651)
 /[::1]:42596[0](queued=0,recved=1,sent=0)

`+lines)
}

func TestCons(t *testing.T) {
	conns := []Conn{
		{Addr: netip.MustParseAddrPort("127.0.0.1:48718"), InterestOps: 1, Received: 10, Sent: 10, Session: 0x200001277960001,
			LastOp: OpAbbreviation(proto.OpPing), EstablishedMs: 1795300280176, TimeoutMs: 20000, LastCxid: 3, HasCxid: true,
			LastZxid: 0x10000013a, LastResponseMs: 1252269, LastLatency: 1, AvgLatency: 2, MaxLatency: 8},
		{Addr: netip.MustParseAddrPort("127.0.0.1:36406"), Received: 1},
	}
	check(t, "cons", string(AppendCons(nil, conns)), ` /127.0.0.1:48718[1](queued=0,recved=10,sent=10,sid=0x200001277960001,lop=PING,est=1795300280176,to=20000,lcxid=0x3,lzxid=0x10000013a,lresp=1252269,llat=1,minlat=0,avglat=2,maxlat=8)
 /127.0.0.1:36406[0](queued=0,recved=1,sent=0)

`)
}

func TestDump(t *testing.T) {
	at := time.Date(2026, 11, 21, 22, 27, 15, 0, time.UTC)
	sessions := []Bucket{{at.Add(6 * time.Second), []string{"0x300000d279f0000"}}, {at, nil}}
	eph := []Group{{"0x300000d279f0000", []string{"/app/workers/w-0000000001"}}}
	conns := []Bucket{{at.Add(2 * time.Second), []string{"ip: /127.0.0.1:36418 sessionId: 0x0"}}}
	rest := `ephemeral nodes dump:
Sessions with Ephemerals (1):
0x300000d279f0000:
	/app/workers/w-0000000001
Connections dump:
Connections Sets (1)/(1):
1 expire at Sat Nov 21 22:27:17 UTC 2026:
	ip: /127.0.0.1:36418 sessionId: 0x0
`
	const sets = `Sets (2)/(1):
0 expire at Sat Nov 21 22:27:15 UTC 2026:
1 expire at Sat Nov 21 22:27:21 UTC 2026:
	0x300000d279f0000
`
	const head = "SessionTracker dump:\n"
	dump := func(d Dump) string {
		d.Ephemerals, d.Conns = eph, conns
		return string(AppendDump(nil, &d))
	}
	global := []SessionTimeout{{-3, 20000}, {0x300000d279f0000, 10000}}
	const table = "Global Sessions(2):\n0xfffffffffffffffd\t20000ms\n0x300000d279f0000\t10000ms\n"
	check(t, "dump", dump(Dump{Sessions: sessions}), head+"Session "+sets+rest)
	check(t, "dump of a learner", dump(Dump{Learner: true, Global: global}), head+table+rest)
	check(t, "dump with local sessions", dump(Dump{HasLocal: true, Sessions: sessions}), head+"Local Session Sets (0)/(0):\nGlobal Session "+sets+rest)
	check(t, "dump of a learner with local sessions", dump(Dump{HasLocal: true, Local: sessions, Learner: true, Global: global}), head+"Local Session "+sets+table+rest)
}

func TestSmallAnswers(t *testing.T) {
	check(t, "wchs", string(AppendWchs(nil, 2, 2, 3)), "2 connections watching 2 paths\nTotal watches:3\n")
	check(t, "wchp", string(AppendGroups(nil, []Group{{"/app/config", []string{"0x3", "0x4"}}})), "/app/config\n\t0x3\n\t0x4\n\n")
	check(t, "hash", string(AppendHash(nil, []Digest{{0x100000080, 30140969304}})), "100000080: 30140969304\n")
	check(t, "mntr", string(AppendMntr(nil, []Pair{{"znode_count", "5"}})), "zk_znode_count\t5\n")
	check(t, "conf", string(AppendConf(nil, []Pair{{"clientPort", "2181"}})), "clientPort=2181\n")
	check(t, "envi", string(AppendEnvi(nil, []Pair{{"host.name", "h"}})), "Environment:\nhost.name=h\n")
	check(t, "dirs", string(AppendDirs(nil, 67109477, 5)), "datadir_size: 67109477\nlogdir_size: 5\n")
	for v, want := range map[float64]string{0: "0.0", 3.894: "3.894", 1.89221: "1.8922", 2: "2.0"} {
		check(t, "average", FormatAvg(v), want)
	}
}
