package transport

import (
	"bytes"
	"errors"
	"io"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
)

// TestRecordedStreams plays both sides of the recorded connections to links, in random pieces: the
// learner gets packets, trees and packets again.
func TestRecordedStreams(t *testing.T) {
	noLeaks(t)
	var names []string
	for _, pattern := range []string{"quorum/*.bin", "quorum/mixed-*/[fj]*.bin", "reconfig/quorum/*.bin"} {
		found, err := filepath.Glob(filepath.Join("../testdata", pattern))
		must(t, err)
		names = append(names, found...)
	}
	if len(names) < 40 {
		t.Fatalf("%d streams", len(names))
	}
	rng := rand.New(rand.NewSource(1))
	trees := 0
	for _, name := range names {
		stream, err := os.ReadFile(name)
		must(t, err)
		learner := strings.HasSuffix(name, ".s2c.bin")
		link, c, peer := linkTo(t, LinkOptions{Learner: learner})
		done := make(chan struct{})
		var tree []byte
		treeMax := 1 + rng.Int63n(1<<20)
		c.onBatch = func(b *Batch) {
			if learner && b.Packets[len(b.Packets)-1].Type == quorum.PacketSnap {
				trees++
				go func() {
					defer close(done)
					err := link.ReceiveTree(func(r io.Reader) (err error) {
						tree, err = io.ReadAll(io.LimitReader(r, treeMax))
						return err
					})
					if err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}()
			}
		}
		pieces := 1 + rng.Intn(len(stream))
		for off := 0; off < len(stream); {
			n := min(1+rng.Intn(2*pieces), len(stream)-off)
			_, err := peer.Write(stream[off : off+n])
			must(t, err)
			off += n
		}
		must(t, peer.Close())
		if err := c.reason(t); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
		got := c.raw
		if i := bytes.Index(stream, treeSignature); learner && i >= 0 {
			<-done
			at := bytes.Index(stream, quorumHead(quorum.PacketSnap)) + quorum.PacketMinBytes
			end := i + len(treeSignature)
			if !bytes.HasPrefix(stream[at:end], tree) || len(tree) == 0 {
				t.Errorf("%s: another tree", name)
			}
			got = append(bytes.Clone(got[:at]), append(bytes.Clone(stream[at:end]), got[at:]...)...)
		}
		if !bytes.Equal(got, stream) {
			t.Errorf("%s: other bytes", name)
		}
		link.Close()
	}
	if trees < 5 {
		t.Errorf("%d trees", trees)
	}
}

func quorumHead(t quorum.PacketType) []byte { return jute.AppendInt32(nil, int32(t)) }

// smallTree is a raw tree with one session, one ACL list and two nodes.
func smallTree() []byte {
	b := jute.AppendInt32(nil, 1)
	b = jute.AppendInt32(jute.AppendInt64(b, 77), 3000)
	b = jute.AppendInt64(jute.AppendInt32(b, 1), 1)
	b = proto.AppendACLs(b, []proto.ACL{{Perms: 31}})
	for _, path := range []string{"", "/a"} {
		b = jute.AppendBuffer(jute.AppendString(b, path), []byte("data"))
		b = append(b, make([]byte, 8+60)...)
	}
	return jute.AppendString(b, "/")
}

// TestSnapBothWays sends a tree from one link to another, with packets around it.
func TestSnapBothWays(t *testing.T) {
	noLeaks(t)
	a, b := connPair(t)
	leader, learner := NewLink(a, LinkOptions{}), NewLink(b, LinkOptions{Learner: true})
	cl := newCollector()
	leader.Start(newCollector())
	learner.Start(cl)
	defer leader.Close()
	defer learner.Close()
	tree := smallTree()
	must(t, leader.QueuePacket(quorum.PacketLeaderInfo, 1, []byte("x")))
	must(t, leader.SendWait(append(quorum.AppendPacket(nil, quorum.PacketSnap, 9, nil), tree[:10]...)))
	must(t, leader.SendWait(append(bytes.Clone(tree[10:]), treeSignature...)))
	must(t, leader.Send(quorum.AppendPacket(nil, quorum.PacketNewLeader, 2, nil)))
	var got []byte
	must(t, learner.ReceiveTree(func(r io.Reader) (err error) {
		got, err = io.ReadAll(r)
		return err
	}))
	if !bytes.Equal(got, append(tree, treeSignature...)) {
		t.Errorf("tree %q", got)
	}
	eventually(t, "what follows", cl.got(20+1+20+20))
	if cl.last != quorum.PacketNewLeader {
		t.Errorf("last %v", cl.last)
	}
}

// TestImageBehindSnap: blocks behind a SNAP that says so, in pieces, then packets again; a block that is none
// ends the link.
func TestImageBehindSnap(t *testing.T) {
	noLeaks(t)
	snap := quorum.AppendPacket(nil, quorum.PacketSnap, 9, []byte(quorum.ImageMarker))
	var blocks []byte
	for _, n := range []int{1, 100_000, 3} {
		blocks = append(jute.AppendInt32(blocks, int32(n)), make([]byte, n)...)
	}
	blocks = append(jute.AppendInt32(blocks, 0), treeSignature...)
	link, c, peer := linkTo(t, LinkOptions{Learner: true})
	go func() {
		rest := append(append(bytes.Clone(snap), blocks...), quorum.AppendPacket(nil, quorum.PacketNewLeader, 2, nil)...)
		for len(rest) > 0 {
			n, err := peer.Write(rest[:min(7001, len(rest))])
			if err != nil {
				t.Error(err)
				return
			}
			rest = rest[n:]
		}
	}()
	var got []byte
	must(t, link.ReceiveTree(func(r io.Reader) (err error) {
		got, err = io.ReadAll(r)
		return err
	}))
	if !bytes.Equal(got, blocks) {
		t.Errorf("%d bytes, want %d", len(got), len(blocks))
	}
	eventually(t, "what follows", c.got(len(snap)+quorum.PacketMinBytes))
	link.Close()

	link, c, peer = linkTo(t, LinkOptions{Learner: true})
	_, err := peer.Write(append(bytes.Clone(snap), 0xff, 0, 0, 0))
	must(t, err)
	if err := link.ReceiveTree(func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }); !errors.Is(err, quorum.ErrSnapshot) {
		t.Errorf("ReceiveTree: %v", err)
	}
	if err := c.reason(t); !errors.Is(err, quorum.ErrSnapshot) {
		t.Errorf("Closed: %v", err)
	}
}

// TestSnapFailures: a tree that is not whole ends the link, with an error for who receives it.
func TestSnapFailures(t *testing.T) {
	noLeaks(t)
	snap := quorum.AppendPacket(nil, quorum.PacketSnap, 9, nil)
	whole := append(bytes.Clone(snap), append(smallTree(), treeSignature...)...)
	f := func(b []byte, read func(io.Reader) error, want error) {
		t.Helper()
		l, c, peer := linkTo(t, LinkOptions{Learner: true})
		_, err := peer.Write(b)
		must(t, err)
		must(t, peer.(*net.TCPConn).CloseWrite())
		if err := l.ReceiveTree(read); !errors.Is(err, want) {
			t.Errorf("ReceiveTree: %v, want %v", err, want)
		}
		if err := c.reason(t); !errors.Is(err, want) {
			t.Errorf("Closed: %v, want %v", err, want)
		}
	}
	all := func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }
	nothing := func(io.Reader) error { return nil }
	mine := errors.New("mine")
	for _, read := range []func(io.Reader) error{all, nothing} {
		for n := len(snap); n < len(whole); n += 7 {
			f(whole[:n], read, io.EOF)
		}
		f(append(bytes.Clone(whole[:len(whole)-1]), 'x'), read, quorum.ErrSnapshot)
		f(append(bytes.Clone(snap), 0xff, 0xff, 0xff, 0xff), read, quorum.ErrSnapshot)
	}
	f(whole, func(io.Reader) error { return mine }, mine)

	// Nobody receives it: the link can be closed all the same.
	l, c, peer := linkTo(t, LinkOptions{Learner: true})
	_, err := peer.Write(whole)
	must(t, err)
	eventually(t, "SNAP", c.got(len(snap)))
	l.Close()
	if err := l.ReceiveTree(all); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	// A leader takes SNAP for a packet like any other.
	_, c, peer = linkTo(t, LinkOptions{})
	_, err = peer.Write(append(bytes.Clone(snap), snap...))
	must(t, err)
	eventually(t, "both", c.got(2*len(snap)))
}
