package quorum

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"zabra.dev/zabra/engine/jute"
)

// recordedNotifications calls f with every message of the recorded election connections.
func recordedNotifications(t testing.TB, f func(name string, msg []byte)) {
	t.Helper()
	n := 0
	for _, pattern := range []string{"testdata/election/*/[0-9]*.bin", "testdata/reconfig/election/*.bin", "testdata/quorum/mixed-*/election*.bin"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(b) > 8 && jute.Int32(b) < 0 { // the opener's initial message: version, id, address
				b = b[20+jute.Int32(b[16:]):]
			}
			for len(b) > 0 {
				size := int(jute.Int32(b))
				f(name, b[4:4+size])
				b = b[4+size:]
				n++
			}
		}
	}
	if n < 60 {
		t.Fatalf("%d recorded notifications", n)
	}
}

func TestRecordedNotifications(t *testing.T) {
	states := map[State]int{}
	recordedNotifications(t, func(name string, msg []byte) {
		n, text, err := DecodeNotification(msg)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n.Config, err = ParseConfig(text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		states[n.State]++
		if got := n.Append(nil); !bytes.Equal(got, msg) {
			t.Errorf("%s: encoded to\n%q, want\n%q", name, got, msg)
		}
	})
	if states[Looking] == 0 || states[Following] == 0 || states[Leading] == 0 {
		t.Errorf("recorded states: %v", states)
	}
}

func TestNotificationLengths(t *testing.T) {
	vote := Vote{Leader: 3, Zxid: 0x500000007, ElectionEpoch: 9, PeerEpoch: 4, State: Leading, Version: 2}
	whole := (&Notification{Vote: vote, Config: mustConfig(t, "server.1=h:1:2\nversion=5")}).Append(nil)
	f := func(msg []byte, peerEpoch Epoch, version int32, text string) {
		t.Helper()
		n, config, err := DecodeNotification(msg)
		want := vote
		want.PeerEpoch, want.Version = peerEpoch, version
		if err != nil || n.Vote != want || n.Config != nil || string(config) != text || (text == "") != (config == nil) {
			t.Errorf("%d bytes: %+v, %q, %v", len(msg), n, config, err)
		}
	}
	withVersion := func(b []byte, v int32) []byte {
		b = bytes.Clone(b)
		jute.PutInt32(b[36:], v)
		return b
	}
	f(whole, 4, 2, "server.1=h:1:2:participant\nversion=5")
	f(append(bytes.Clone(whole), 1, 2), 4, 2, "server.1=h:1:2:participant\nversion=5")
	f(withVersion(whole, 7), 4, 7, "server.1=h:1:2:participant\nversion=5")
	f(whole[:28], 5, 0, "")
	f(whole[:40], 4, 0, "")
	f(withVersion(whole, 1)[:40], 4, 0, "")
	f(withVersion(whole, 1)[:44], 4, 1, "")
	f(withVersion(whole, -3), 4, -3, "")

	bad := func(msg []byte) {
		t.Helper()
		if n, _, err := DecodeNotification(msg); !errors.Is(err, ErrNotification) {
			t.Errorf("%d bytes: %+v, %v", len(msg), n, err)
		}
	}
	for i := range whole {
		if i != 28 && i != 40 {
			bad(whole[:i])
		}
	}
	state := bytes.Clone(whole)
	jute.PutInt32(state, 4)
	bad(state)
	length := bytes.Clone(whole)
	jute.PutInt32(length[40:], -1)
	bad(length)
	jute.PutInt32(length[40:], int32(len(whole)+1))
	bad(length)
	// The text lies inside the message but its length is not checked against the rest first.
	jute.PutInt32(length[40:], int32(len(whole)))
	bad(length)
}

func FuzzDecodeNotification(f *testing.F) {
	recordedNotifications(f, func(_ string, msg []byte) { f.Add(msg) })
	f.Add(make([]byte, 28))
	f.Add(make([]byte, 40))
	f.Fuzz(func(t *testing.T, msg []byte) {
		n, text, err := DecodeNotification(msg)
		if err != nil {
			if !errors.Is(err, ErrNotification) {
				t.Fatal(err)
			}
			return
		}
		if n.Config, err = ParseConfig(text); err != nil {
			n.Config = nil
		}
		again, text, err := DecodeNotification(n.Append(nil))
		if err != nil || text == nil {
			t.Fatalf("%+v: %v", n, err)
		}
		n.Version, again.Config = NotificationVersion, n.Config
		if again != n {
			t.Fatalf("%+v again %+v", n, again)
		}
	})
}
