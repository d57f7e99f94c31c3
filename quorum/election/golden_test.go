package election

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/quorum"
)

// event is one recorded notification, at its time since the first connection was opened.
type event struct {
	at       time.Duration
	from, to quorum.ServerID
	msg      []byte
}

// recorded reads the election connections whose files match the patterns, in order of time.
func recorded(t *testing.T, patterns ...string) []event {
	t.Helper()
	var events []event
	var origin float64
	for _, pattern := range patterns {
		names, err := filepath.Glob(filepath.Join("../testdata", pattern+".seg.json"))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v, %v", pattern, names, err)
		}
		for _, name := range names {
			var seg struct {
				Start    float64
				Segments [][4]any
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(b, &seg); err != nil {
				t.Fatal(err)
			}
			if origin == 0 || seg.Start < origin {
				origin = seg.Start
			}
			base := strings.TrimSuffix(name, ".seg.json")
			var opener, acceptor quorum.ServerID
			parts := strings.SplitN(filepath.Base(base), "sid", 3)
			if _, err := fmt.Sscanf(parts[1]+parts[2], "%d-to-%d", &opener, &acceptor); err != nil {
				t.Fatal(err)
			}
			for side, ids := range map[string][2]quorum.ServerID{"c": {opener, acceptor}, "s": {acceptor, opener}} {
				stream, err := os.ReadFile(base + map[string]string{"c": ".c2s.bin", "s": ".s2c.bin"}[side])
				if err != nil {
					t.Fatal(err)
				}
				off := 0
				if side == "c" {
					off = 20 + int(jute.Int32(stream[16:]))
				}
				for off < len(stream) {
					end := off + 4 + int(jute.Int32(stream[off:]))
					var ms float64
					for _, s := range seg.Segments {
						if s[1] == side && int(s[2].(float64)) < end {
							ms = s[0].(float64)
						}
					}
					at := time.Duration(seg.Start*1e9) + time.Duration(ms*1e6)
					events = append(events, event{at, ids[0], ids[1], stream[off+4 : end]})
					off = end
				}
			}
		}
	}
	for i := range events {
		events[i].at -= time.Duration(origin * 1e9)
	}
	slices.SortStableFunc(events, func(a, b event) int { return int(a.at - b.at) })
	return events
}

// TestRecordedElections gives each server's recorded inputs to a machine in its place. It must say
// to each peer what the Java server said, in the same order, and end with the same leader. It may
// say more: a vote that was replaced in Java's queue of one before it was sent, or the extra
// votes of the package documentation.
func TestRecordedElections(t *testing.T) {
	committedLater := "version=100000000"
	f := func(self quorum.ServerID, h History, later bool, leader quorum.ServerID, patterns ...string) {
		t.Helper()
		events := recorded(t, patterns...)
		said := map[quorum.ServerID][][]byte{} // recorded
		says := map[quorum.ServerID][][]byte{} // by the machine
		var config *quorum.Config
		for _, e := range events {
			if e.from != self {
				continue
			}
			said[e.to] = append(said[e.to], e.msg)
			if config == nil {
				config = mustConfig(t, string(configOf(t, e.msg)))
			}
		}
		if config == nil {
			t.Fatalf("%v: server %d says nothing", patterns, self)
		}
		p := play(t, self, Options{ReconfigEnabled: later})
		var decided []quorum.Vote
		take := func() {
			for _, o := range p.out {
				switch o.Kind {
				case Send:
					b := o.Notification.Append(nil)
					if l := says[o.To]; len(l) == 0 || !bytes.Equal(l[len(l)-1], b) {
						says[o.To] = append(l, b)
					}
				case Decided:
					decided = append(decided, o.Vote)
					p.e.SetPeerEpoch(1)
					if later {
						c := p.e.committed
						p.e.SetConfigs(mustConfig(t, strings.Replace(c.String(), "version=0", committedLater, 1)), nil)
					}
				}
			}
			p.out = p.out[:0]
		}
		p.start(h.LastZxid, h.CurrentEpoch, config, nil)
		take()
		for _, e := range events {
			if e.to != self {
				continue
			}
			p.wait(max(e.at-p.now, 0))
			take()
			n, text, err := quorum.DecodeNotification(e.msg)
			if err != nil {
				t.Fatal(err)
			}
			n.Config = mustConfig(t, string(text))
			p.receive(e.from, n)
			take()
		}
		p.wait(time.Second)
		take()
		for peer, want := range said {
			got := says[peer]
			for i, msg := range want {
				at := slices.IndexFunc(got, func(b []byte) bool { return bytes.Equal(b, msg) })
				if at < 0 {
					n, _, _ := quorum.DecodeNotification(msg)
					t.Errorf("%v: server %d does not say its message %d to %d: %s %q", patterns, self, i, peer, voteText(n.Vote), msg)
					break
				}
				got = got[at:]
			}
			if last := want[len(want)-1]; len(got) > 0 && !bytes.Equal(got[len(got)-1], last) {
				n, _, _ := quorum.DecodeNotification(got[len(got)-1])
				if n.State != quorum.Looking && n.Leader == leader {
					continue // it decided a moment earlier than Java, and says so
				}
				t.Errorf("%v: server %d ends with %s to %d", patterns, self, voteText(n.Vote), peer)
			}
		}
		if len(decided) != 1 || decided[0].Leader != leader {
			t.Errorf("%v: server %d decided %v, want leader %d", patterns, self, decided, leader)
		}
	}
	fresh := History{}
	f(1, fresh, false, 2, "election/first-election-2-of-3/*")
	f(2, fresh, false, 2, "election/first-election-2-of-3/*")
	for self := quorum.ServerID(1); self <= 3; self++ {
		f(self, fresh, false, 2, "election/late-joiner-sid3/*")
		f(self, fresh, true, 3, "reconfig/election/0[0-5]*", "reconfig/election/*sid4*")
	}
	f(4, fresh, false, 3, "election/observer-sid4/*")
	f(4, fresh, true, 3, "reconfig/election/*sid4*")
	f(1, fresh, false, 2, "election/hierarchical-groups/*")
	f(2, fresh, false, 2, "election/hierarchical-groups/*")
	f(1, fresh, false, 2, "election/multi-address-v2/[0-9]*")
	f(2, fresh, false, 2, "election/multi-address-v2/[0-9]*")
	mixed := "quorum/mixed-3.8.0-leader-3.9.5-followers/election-"
	f(1, fresh, false, 3, mixed+"*")
	f(2, fresh, false, 3, mixed+"0[0-2]*")
	f(3, fresh, false, 3, mixed+"*")
}

func configOf(t *testing.T, msg []byte) []byte {
	t.Helper()
	_, text, err := quorum.DecodeNotification(msg)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
