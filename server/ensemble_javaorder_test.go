package server

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// A scripted learner, which speaks as a Java server does, in the place of a server that is stopped.
type scriptedLearner struct {
	t       *testing.T
	conn    peerConn
	packets chan quorum.Packet
}

func (e *testEnsemble) scriptLearner(i int) *scriptedLearner {
	e.t.Helper()
	lead := e.leader()
	e.stop(i)
	e.leader()
	e.wantEqual()
	s := e.servers[lead]
	s.lockGates()
	last := s.engine.LastZxid()
	s.unlockGates()
	id := quorum.ServerID(i + 1)
	conn, err := e.net.of(id).DialQuorum(context.Background(), *e.config.Member(quorum.ServerID(lead + 1)), time.Minute)
	if err != nil {
		e.t.Fatal(err)
	}
	l := &scriptedLearner{t: e.t, conn: conn, packets: make(chan quorum.Packet, 10000)}
	e.t.Cleanup(func() { conn.Close(nil) })
	conn.Start(func(list []quorum.Packet) {
		for _, p := range list {
			p.Data = slices.Clone(p.Data)
			l.packets <- p
		}
	}, func(error) { close(l.packets) })
	info := quorum.LearnerInfo{ServerID: id, ProtocolVersion: quorum.ProtocolVersion}
	l.send(quorum.PacketFollowerInfo, 0, info.Append(nil))
	epoch := quorum.EpochOf(l.await(quorum.PacketLeaderInfo).Zxid)
	l.send(quorum.PacketAckEpoch, last, quorum.AppendAckEpoch(nil, 0))
	l.await(quorum.PacketNewLeader)
	l.send(quorum.PacketAck, quorum.EpochStart(epoch), nil)
	l.await(quorum.PacketUpToDate)
	l.send(quorum.PacketAck, quorum.EpochStart(epoch), nil)
	return l
}

func (l *scriptedLearner) send(typ quorum.PacketType, z quorum.Zxid, data []byte) {
	l.conn.Queue(quorum.AppendPacket(nil, typ, z, data))
	l.conn.Flush()
}

func (l *scriptedLearner) next() quorum.Packet {
	l.t.Helper()
	select {
	case p, ok := <-l.packets:
		if !ok {
			l.t.Fatal("the leader closed the connection")
		}
		return p
	case <-time.After(time.Minute):
		l.t.Fatal("the leader sends nothing more")
	}
	return quorum.Packet{}
}

func (l *scriptedLearner) await(typ quorum.PacketType) quorum.Packet {
	l.t.Helper()
	for {
		if p := l.next(); p.Type == typ {
			return p
		}
	}
}

// A Java server takes the commit of a write of its clients, or the answer to a sync, only if it is that of its oldest
// request, and waits for that for good. So they must come in the order of the requests, whatever sessions they are of.
func TestAnswersToJavaLearner(t *testing.T) {
	e := newTestEnsemble(t, 3)
	l := e.scriptLearner((e.leader() + 1) % 3)
	const session = proto.SessionID(0x7700000000000001)
	request := func(id proto.SessionID, cxid int32, op proto.OpCode, body []byte) []byte {
		r := quorum.Request{SessionID: id, Cxid: cxid, Op: op, Body: body}
		return quorum.AppendPacket(nil, quorum.PacketRequest, quorum.NoZxid, r.Append(nil))
	}
	requests := request(session, 0, proto.OpCreateSession, jute.AppendInt32(nil, 30000))
	want := []string{"0"}
	acl := proto.RawACLs(proto.AppendACLs(nil, openACL))
	for i := range 300 {
		if i%7 < 4 {
			cxid := int32(i + 1)
			create := proto.CreateRequest{Path: fmt.Appendf(nil, "/n%d", i), ACL: acl}
			requests = append(requests, request(session, cxid, proto.OpCreate, create.Append(nil, proto.OpCreate))...)
			want = append(want, fmt.Sprint(cxid))
		} else {
			requests = append(requests, request(session+1, int32(i), proto.OpSync, jute.AppendBuffer(nil, []byte("/")))...)
			want = append(want, "sync")
		}
	}
	l.conn.Queue(requests)
	l.conn.Flush()
	var got []string
	ours := map[quorum.Zxid]string{} // cxids of proposals
	for len(got) < len(want) {
		switch p := l.next(); p.Type {
		case quorum.PacketProposal:
			var h proto.TxnHeader
			d := jute.NewDecoder(p.Data, 0)
			if h.Decode(&d); h.SessionID == session {
				ours[p.Zxid] = fmt.Sprint(h.Cxid)
			}
			l.send(quorum.PacketAck, p.Zxid, nil)
		case quorum.PacketPing:
			l.send(quorum.PacketPing, p.Zxid, []byte{})
		case quorum.PacketSync:
			got = append(got, "sync")
		case quorum.PacketCommit:
			if cxid, ok := ours[p.Zxid]; ok {
				got = append(got, cxid)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("answers in the order\n%v, want\n%v", got, want)
	}
}
