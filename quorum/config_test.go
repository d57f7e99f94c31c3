package quorum

import (
	"errors"
	"math/rand"
	"slices"
	"strings"
	"testing"
)

func mustConfig(t testing.TB, text string) *Config {
	t.Helper()
	c, err := ParseConfig([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfigText(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		c, err := ParseConfig([]byte(in))
		if err != nil {
			t.Errorf("%q: %v", in, err)
			return
		}
		if c.String() != want {
			t.Errorf("%q: printed %q, want %q", in, c, want)
		}
		if again := mustConfig(t, want); !again.Equal(c) || !again.SameMembers(c) || again.String() != want {
			t.Errorf("%q read back as %q", want, again)
		}
	}
	f("server.1=h:1:2", "server.1=h:1:2:participant\nversion=0")
	f("server.10=j:1:2\nserver.2=b:1:2;2181\n\n# c\r\n!c\nserver.3=c:1:2:Observer\nversion=1f",
		"server.2=b:1:2:participant;0.0.0.0:2181\nserver.3=c:1:2:observer\nserver.10=j:1:2:participant\nversion=1f")
	f("version=100000003\nserver.1=h:1:2:participant;c:3", "server.1=h:1:2:participant;c:3\nversion=100000003")
	f("server.1=[::1]:1:2:participant;[fe80::1]:3\nversion=0", "server.1=[::1]:1:2:participant;[fe80::1]:3\nversion=0")
	f("server.1=z:1:2|a:3:4:observer\nserver.2=b:1:2", "server.1=a:3:4|z:1:2:observer\nserver.2=b:1:2:participant\nversion=0")
	f("server.1=h:1:2;3;4\nserver.2=i:1:2;;5", "server.1=h:1:2:participant;0.0.0.0:3;0.0.0.0:4\nserver.2=i:1:2:participant;;0.0.0.0:5\nversion=0")
	f("server.1=h:1:2;\nserver.1 : i:1:2", "server.1=i:1:2:participant\nversion=0")
	f("server.1=h:1:2\nserver.2=i:1:2\nserver.3=j:1:2:observer\ngroup.2=2:3\ngroup.1=1\nweight.3=0\nweight.2=5",
		"server.1=h:1:2:participant\nserver.2=i:1:2:participant\nserver.3=j:1:2:observer\ngroup.1=1\ngroup.2=2:3\nweight.1=1\nweight.2=5\nweight.3=0\nversion=0")
}

func TestConfigRefusals(t *testing.T) {
	f := func(text string) {
		t.Helper()
		if c, err := ParseConfig([]byte(text)); !errors.Is(err, ErrConfig) {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
	f("")
	f("version=3")
	f("server.1=h:1:2:observer")
	f("server.1=h:1:2\ntickTime=3")
	f("server.x=h:1:2")
	f("server.1=h:1:2\nversion=-1")
	f("server.1=h:1:2\nversion.1=0")
	f("server.1=h:1:2\nversion=fffffffffffffffff")
	f("server.1=h:1:1")
	f("server.1=h:1")
	f("server.1=h:1:2:3:4")
	f("server.1=h:1:2:voter")
	f("server.1=h:1:70000")
	f("server.1=h:-1:7")
	f("server.1=:1:2")
	f("server.1=h h:1:2")
	f("server.1=[::1:1:2")
	f("server.1=[h]:1:2")
	f("server.1=[127.0.0.1]:1:2")
	f("server.1=::1:1:2")
	f("server.1=h:1:2:participant|g:1:2:observer")
	f("server.1=h:1:2;1;2;3")
	f("server.1=h:1:2;c:")
	f("server.1=h:1:2;c:x:1")
	f("server.1=h\\:1:2")
	f("server.1=h:1:2\ngroup.1=2")
	f("server.1=h:1:2\ngroup.1=1:1")
	f("server.1=h:1:2\ngroup.1=1\ngroup.2=1")
	f("server.1=h:1:2\nserver.2=h:1:2\ngroup.1=1")
	f("server.1=h:1:2\nserver.2=h:1:2:observer\ngroup.1=1:2")
	f("server.1=h:1:2\ngroup.1=")
	f("server.1=h:1:2\ngroup.1=1\nweight.1=-1")
	f("server.1=h:1:2\ngroup.1=1\nweight.1=x")
	f("server.1=h:1:2\nweight.1=1")
	f("server.1=" + strings.Repeat("h", configMaxBytes) + ":1:2")
}

func TestConfigEqual(t *testing.T) {
	f := func(a, b string, want bool) {
		t.Helper()
		x, y := mustConfig(t, a), mustConfig(t, b)
		if x.Equal(y) != want || y.Equal(x) != want {
			t.Errorf("%q and %q: equal is %v", a, b, !want)
		}
	}
	f("server.1=h:1:2\nversion=1", "server.1=h:1:2\nversion=2", true)
	f("server.1=h:1:2\nversion=1", "server.9=h:1:2\nversion=1", true)
	f("server.1=h:1:2\nversion=1", "server.9=h:1:2\nversion=2", false)
	f("server.1=h:1:2\nversion=1", "server.1=h:3:2\nversion=2", false)
	f("server.1=h:1:2\nversion=1", "server.1=h:1:3\nversion=2", false)
	f("server.1=h:1:2\nversion=1", "server.1=h:1:2;3\nversion=2", false)
	f("server.1=h:1:2\nserver.2=h:1:2\nversion=1", "server.1=h:1:2\nserver.2=h:1:2:observer\nversion=2", false)
	f("server.1=h:1:2\nserver.2=h:1:2\nversion=1", "server.1=h:1:2\nversion=2", false)
	f("server.1=h:1:2\ngroup.1=1\nversion=1", "server.1=h:1:2\nversion=1", false)
	f("server.1=h:1:2\ngroup.1=1\nversion=1", "server.1=h:1:2\ngroup.1=1\nweight.1=1\nversion=2", true)
	f("server.1=h:1:2\ngroup.1=1\nversion=1", "server.1=h:1:2\ngroup.1=1\nweight.1=2\nversion=2", false)
	f("server.1=h:1:2\ngroup.1=1\nversion=1", "server.1=h:1:2\ngroup.2=1\nversion=2", false)
	var none *Config
	if !none.Equal(nil) || none.Equal(mustConfig(t, "server.1=h:1:2")) || mustConfig(t, "server.1=h:1:2").Equal(nil) {
		t.Error("nil")
	}
}

func TestQuorums(t *testing.T) {
	f := func(text string, quorums, others string) {
		t.Helper()
		c := mustConfig(t, text)
		check := func(list string, want bool) {
			for _, set := range strings.Fields(list) {
				in := func(id ServerID) bool { return id < 10 && strings.ContainsRune(set, rune('0'+id)) }
				if c.ContainsQuorum(in) != want {
					t.Errorf("%q: %s is a quorum: %v", text, set, !want)
				}
			}
		}
		check(quorums, true)
		check(others, false)
	}
	servers := func(n int) string {
		var b strings.Builder
		for i := 1; i <= n; i++ {
			b.WriteString("server." + string(rune('0'+i)) + "=h:1:2\n")
		}
		return b.String()
	}
	f(servers(1), "1 12", "- 2")
	f(servers(2), "12", "1 2 - 3 13")
	f(servers(3), "12 13 23 123", "1 2 3 14 145 -")
	f(servers(4), "123 1234", "12 34 1 15678")
	f(servers(3)+"server.4=h:1:2:observer", "12 23", "14 24 4")
	f(servers(3)+"group.1=1:2:3\nweight.3=0", "12 123", "1 13 23 3 -")
	f(servers(9)+"group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9", "1245 124578 5689 2356", "123 12 1247 1248 -")
	f(servers(6)+"group.1=1:2:3\ngroup.2=4:5:6", "1245 123456", "123 12 1234")
	f(servers(6)+"group.1=1:2:3\ngroup.2=4:5:6\nweight.4=0\nweight.5=0\nweight.6=0", "12 13", "1 456 14 1456")
	f(servers(3)+"group.1=1:2:3\nweight.1=3", "1 12", "2 23")
	f(servers(3)+"group.1=1:2:3\nweight.1=0\nweight.2=0\nweight.3=0", "", "123")
	// The weight of an observer counts in its group's sum alone.
	f(servers(2)+"server.3=h:1:2:observer\ngroup.1=1:2:3\nweight.3=2", "", "12 123 13")
}

func TestConfigLookups(t *testing.T) {
	c := mustConfig(t, "server.5=h:1:2\nserver.7=h:1:2:observer\nserver.-3=h:1:2")
	if !c.IsVoter(5) || c.IsVoter(7) || !c.IsVoter(-3) || c.IsVoter(6) || c.IsVoter(NoServer) || c.VoterCount() != 2 {
		t.Error("voters")
	}
	if c.RoleOf(5) != Participant || c.RoleOf(7) != Observer || c.RoleOf(9) != Participant {
		t.Error("roles")
	}
	if c.WeightOf(9) != 1 || c.Member(6) != nil || c.Member(7).ID != 7 {
		t.Error("members")
	}
	h := mustConfig(t, "server.1=h:1:2\ngroup.1=1\nweight.1=4")
	if h.WeightOf(1) != 4 || h.WeightOf(2) != 0 {
		t.Error("weights")
	}
	if v := c.WithVersion(9); v.Version != 9 || c.Version != 0 || !v.SameMembers(c) {
		t.Error("WithVersion")
	}
	if a, err := ParseAddr("[::1]:80"); err != nil || a != (Addr{"::1", 80}) || a.String() != "[::1]:80" {
		t.Errorf("%v, %v", a, err)
	}
	if _, err := ParseAddr("h"); !errors.Is(err, ErrConfig) {
		t.Errorf("%v", err)
	}
	if _, err := NewConfig(0, []Member{{ID: 1}}, nil, nil); !errors.Is(err, ErrConfig) {
		t.Errorf("member without addresses: %v", err)
	}
	if _, err := NewConfig(0, append(c.Members[:1:1], c.Members[0]), nil, nil); !errors.Is(err, ErrConfig) {
		t.Errorf("member twice: %v", err)
	}
}

func TestDesignatedLeader(t *testing.T) {
	old := mustConfig(t, "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nversion=100")
	f := func(next string, acked map[ServerID]Zxid, want ServerID, wantOK bool) {
		t.Helper()
		got, ok := DesignatedLeader(old, mustConfig(t, next), 3, func(id ServerID) Zxid { return acked[id] })
		if got != want || ok != wantOK {
			t.Errorf("%q: %d, %v", next, got, ok)
		}
	}
	stay := "server.1=a:1:2\nserver.3=c:1:9\nversion=200"
	moved := "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:7:2\nversion=200"
	left := "server.1=a:1:2\nserver.2=b:1:2\nserver.4=d:1:2\nversion=200"
	demoted := "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\nversion=200"
	f(stay, nil, 3, true)
	f(moved, map[ServerID]Zxid{1: 0x200, 2: 0x1ff, 3: 0x300}, 1, true)
	f(left, map[ServerID]Zxid{1: 0x201, 2: 0x200, 4: 0x202}, 4, true)
	f(left, map[ServerID]Zxid{1: 0x201, 2: 0x201, 4: 0x200}, 2, true)
	f(demoted, map[ServerID]Zxid{1: 0x200, 3: 0x300}, 1, true)
	f(demoted, map[ServerID]Zxid{1: 0x1ff}, 0, false)
}

// TestRandomConfigs prints random configs and reads them back, and compares their quorums with
// a plain count.
func TestRandomConfigs(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	for range 2000 {
		var members []Member
		var groups []Group
		var weights []Weight
		voters, hierarchical := 0, rng.Intn(2) == 0
		nGroups := 1 + rng.Intn(3)
		if hierarchical {
			groups = make([]Group, nGroups)
			for i := range groups {
				groups[i].ID = int64(i)
			}
		}
		for i := range 1 + rng.Intn(8) {
			m := Member{ID: ServerID(i*3 + rng.Intn(3)), Role: Role(rng.Intn(4) / 3)}
			for range 1 + rng.Intn(2) {
				host := []string{"a", "b.c", "10.0.0.1", "::1"}[rng.Intn(4)]
				m.QuorumAddrs = append(m.QuorumAddrs, Addr{host, 1 + rng.Intn(9)})
				m.ElectionAddrs = append(m.ElectionAddrs, Addr{host, 10 + rng.Intn(9)})
			}
			if rng.Intn(2) == 0 {
				m.ClientAddr = Addr{"0.0.0.0", 2181}
			}
			members = append(members, m)
			if m.Role == Participant {
				voters++
				if hierarchical {
					g := &groups[rng.Intn(nGroups)]
					g.Members = append(g.Members, m.ID)
					if rng.Intn(2) == 0 {
						weights = append(weights, Weight{m.ID, int64(rng.Intn(4))})
					}
				}
			}
		}
		if hierarchical {
			kept := groups[:0]
			for _, g := range groups {
				if len(g.Members) > 0 {
					kept = append(kept, g)
				}
			}
			groups = kept
		}
		rng.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		c, err := NewConfig(rng.Int63(), members, groups, weights)
		if err != nil {
			if voters == 0 {
				continue
			}
			t.Fatal(err)
		}
		again := mustConfig(t, c.String())
		if again.String() != c.String() || again.Version != c.Version || !again.SameMembers(c) {
			t.Fatalf("%s read back as %s", c, again)
		}
		bits := rng.Intn(1 << 24)
		in := func(id ServerID) bool { return bits>>id&1 == 1 }
		if got, want := again.ContainsQuorum(in), countQuorum(c, in); got != want {
			t.Fatalf("%s: %b is a quorum: %v", c, bits, got)
		}
	}
}

// countQuorum is section 1.2 to the letter, with maps.
func countQuorum(c *Config, in func(ServerID) bool) bool {
	votes, voters := 0, 0
	total, have := map[int64]int64{}, map[int64]int64{}
	for _, m := range c.Members {
		if m.Role != Participant {
			continue
		}
		voters++
		if in(m.ID) {
			votes++
		}
		for _, g := range c.Groups {
			if slices.Contains(g.Members, m.ID) {
				total[g.ID] += c.WeightOf(m.ID)
				if in(m.ID) {
					have[g.ID] += c.WeightOf(m.ID)
				}
			}
		}
	}
	if !c.Hierarchical {
		return votes > voters/2
	}
	counted, won := 0, 0
	for id, w := range total {
		if w == 0 {
			continue
		}
		counted++
		if have[id] > w/2 {
			won++
		}
	}
	return won > counted/2
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("server.1=127.0.0.1:21112:21113:participant\nserver.2=127.0.0.1:21122:21123:participant;127.0.0.1:2\nversion=0"))
	f.Add([]byte("server.1=a:1:2|b:1:2:participant\nserver.2=[::1]:1:2:observer;;3\ngroup.1=1:2\nweight.2=1\nversion=1f"))
	f.Add([]byte("server.1 : h:1:2\r\n#x\ngroup.1 1\nversion=0"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseConfig(text)
		if err != nil {
			if !errors.Is(err, ErrConfig) {
				t.Fatal(err)
			}
			return
		}
		again, err := ParseConfig(c.AppendText(nil))
		if err != nil {
			t.Fatalf("%s: %v", c, err)
		}
		if !again.SameMembers(c) || again.String() != c.String() {
			t.Fatalf("%s read back as %s", c, again)
		}
		c.ContainsQuorum(func(id ServerID) bool { return id&1 == 0 })
	})
}

// TestMayBeCommitted: what is proposed at 2:5 counts for servers whose history goes there, or begins a later epoch.
func TestMayBeCommitted(t *testing.T) {
	c := mustConfig(t, "server.1=h:2:3").WithVersion(2<<32 | 5)
	for _, tc := range []struct {
		epoch Epoch
		zxid  Zxid
		want  bool
	}{
		{1, 1<<32 | 9, false}, {1, 2<<32 | 5, false},
		{2, -1, false}, {2, 1<<32 | 9, false}, {2, 2<<32 | 4, false}, {2, 2<<32 | 5, true}, {2, 2<<32 | 6, true},
		{3, 2<<32 | 4, true}, // the leader of epoch 3 may have committed it, with its history
	} {
		if got := c.MayBeCommitted(tc.epoch, tc.zxid); got != tc.want {
			t.Errorf("epoch %d, zxid 0x%x: %v", tc.epoch, tc.zxid, got)
		}
	}
	if !c.WithVersion(2<<32).MayBeCommitted(1, 0) {
		t.Error("the first list of an ensemble is in no proposal")
	}
}
