package server

import (
	"bytes"
	"testing"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/snapshot/javadata"
)

// A bufferedLink keeps what is sent.
type bufferedLink struct {
	peerConn
	sent bytes.Buffer
}

func (l *bufferedLink) SendWait(b []byte) error {
	l.sent.Write(b)
	return nil
}

// What Java's learners are sent is the tree, with an image of it and before there is one.
func TestSendsTreeToJava(t *testing.T) {
	e := newTestEnsemble(t, 3)
	lead := e.leader()
	s := e.servers[lead]
	for _, image := range []bool{false, true} {
		if image {
			e.fill(lead, 30, "n")
			e.wantEqual()
			if err := <-s.replica.ckpt.request(s.replica); err != nil {
				t.Fatal(err)
			}
		}
		link := &bufferedLink{}
		w := &linkWriter{l: &peerLink{link: link}}
		zxid, err := w.end(s.sendTree(s.replica.ckpt.store, w, nil))
		if err != nil {
			t.Fatal(err)
		}
		p, n, err := quorum.DecodePacket(link.sent.Bytes())
		if err != nil || p.Type != quorum.PacketSnap || p.Zxid != zxid || p.Data != nil {
			t.Fatalf("%+v, %v", p, err)
		}
		link.sent.Next(n)
		tree, rest, err := javadata.LoadTree(&link.sent, "test", zxid, javadata.LoadOptions{Engine: engine.Options{Digest: true}})
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		if rest, err = readSignature(&link.sent, rest); err != nil || len(rest)+link.sent.Len() > 0 {
			t.Errorf("%d bytes are left, %v", len(rest)+link.sent.Len(), err)
		}
		s.lockGates()
		wantZxid, wantDigest, nodes := s.engine.LastZxid(), s.engine.Digest(), s.engine.NodeCount()
		s.unlockGates()
		if image && (zxid != wantZxid || tree.Digest() != wantDigest || tree.NodeCount() != nodes) || !image && zxid != 0 {
			t.Errorf("0x%x, digest %d, %d nodes, want 0x%x, %d, %d", zxid, tree.Digest(), tree.NodeCount(), wantZxid, wantDigest, nodes)
		}
	}
}
