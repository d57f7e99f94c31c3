package admin

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/server"
)

// memberOf is the place of a recorded server in its ensemble; role is like follower-1.
func memberOf(t *testing.T, version, role string) *server.Membership {
	t.Helper()
	state, id, _ := strings.Cut(role, "-")
	self, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	m := &server.Membership{
		Self: self, Stage: zab.StageBroadcast, HasLeader: true, LastZxid: 0x10000013a,
		State: map[string]quorum.State{"leader": quorum.Leading, "follower": quorum.Following, "observer": quorum.Observing}[state],
	}
	base, clientBase := 21210, 21200
	m.Leader = 3
	voters := 3
	if version == "3.10.0" {
		base, clientBase, m.Leader = 21260, 21250, 2
	}
	var list []quorum.Member
	for i := 1; i <= voters+1; i++ {
		x := quorum.Member{ID: int64(i), QuorumAddrs: []quorum.Addr{{Host: "127.0.0.1", Port: base + i}}, ElectionAddrs: []quorum.Addr{{Host: "127.0.0.1", Port: base + 10 + i}}}
		if i > voters {
			x.Role = quorum.Observer
		}
		list = append(list, x)
	}
	if m.Config, err = quorum.NewConfig(0, list, nil, nil); err != nil {
		t.Fatal(err)
	}
	m.ClientAddr = fmt.Sprintf("127.0.0.1:%d", clientBase+int(self))
	if m.State != quorum.Leading {
		m.LeaderLink = fmt.Sprintf("127.0.0.1:%d", base+int(m.Leader))
	}
	return m
}

// TestObservers: the list of a leader has those fields of a Java server's that mean something here, in its order.
func TestObservers(t *testing.T) {
	raw, err := os.ReadFile("testdata/3.10.0/observers-with-one.txt")
	if err != nil {
		t.Fatal(err)
	}
	f := newFake(t)
	f.member = memberOf(t, "3.10.0", "leader-2")
	f.member.Learners = []server.LearnerStatus{
		{LearnerStatus: zab.LearnerStatus{ID: 1, Voter: true, InStep: true}, Addr: "127.0.0.1:39230"},
		{LearnerStatus: zab.LearnerStatus{ID: 4, Observer: true, InStep: true, Sent: 4294967610}, Addr: "127.0.0.1:39234", EstablishedMs: 1795301080406, PacketsReceived: 74},
	}
	w := get(newAdminServer(testOptions(), f, discardLog()), "/commands/observers")
	type body struct {
		Synced    int               `json:"synced_observers"`
		Observers []json.RawMessage `json:"observers"`
	}
	got, want := decode[body](t, w.Body.Bytes()), decode[body](t, raw)
	if got.Synced != want.Synced || len(got.Observers) != 1 {
		t.Fatalf("%s", w.Body)
	}
	known := members(t, want.Observers[0])
	for i, m := range members(t, got.Observers[0]) {
		at := slices.IndexFunc(known, func(k member) bool { return k.key == m.key })
		if at < i || string(known[at].value) != string(m.value) {
			t.Errorf("field %d: %s = %s", i, m.key, m.value)
		}
	}
}

// TestLooking: who looks for a leader has no place yet.
func TestLooking(t *testing.T) {
	f := newFake(t)
	f.member = memberOf(t, "3.8.0", "follower-1")
	f.member.HasLeader, f.member.State, f.member.Stage = false, quorum.Looking, zab.StageElection
	a := newAdminServer(testOptions(), f, discardLog())
	if got := get(a, "/commands/zabstate").Body.String(); got != "{\n  \"voting\" : false,\n  \"zabstate\" : \"\",\n  \"command\" : \"zabstate\",\n  \"error\" : null\n}" {
		t.Errorf("%s", got)
	}
	if got := get(a, "/commands/leader").Body.String(); !strings.Contains(got, `"error" : "server is not initialized"`) {
		t.Errorf("%s", got)
	}
}
