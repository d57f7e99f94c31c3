package server

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
)

// pairsOf are the lines of mntr.
func pairsOf(s *Server) map[string]string {
	pairs := map[string]string{}
	for _, p := range s.MonitorPairs() {
		pairs[p.Key] = p.Value
	}
	return pairs
}

func recordedWord(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/4lw-3.8.0/" + name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// bySID are sets by server id, which this server has no figures for.
var bySID = regexp.MustCompile(`^(avg|min|max|cnt|sum|p\d+)_\d+_`)

// TestMembership: leader and followers tell who they are and how many are in step, in mntr with all keys of a Java
// server.
func TestMembership(t *testing.T) {
	e := newTestEnsemble(t, 3)
	leader := e.leader()
	follower := (leader + 1) % 3
	c := e.dial(follower)
	for i := range 20 {
		mustCreate(t, c, fmt.Sprintf("/n%d", i), strings.Repeat("x", i))
	}
	e.wantEqual()
	m, ok := e.servers[leader].Membership()
	if !ok || m.Self != int64(leader+1) || m.State != quorum.Leading || m.Stage != zab.StageBroadcast || !m.HasLeader || m.Leader != m.Self || len(m.Learners) != 2 {
		t.Fatalf("%+v", m)
	}
	for _, l := range m.Learners {
		if !l.InStep || !l.Voter || l.Observer || l.Addr != "memory" || l.EstablishedMs == 0 || l.PacketsReceived == 0 || l.Sent != m.LastZxid {
			t.Errorf("%+v", l)
		}
	}
	m, ok = e.servers[follower].Membership()
	if !ok || m.Self != int64(follower+1) || m.State != quorum.Following || m.Stage != zab.StageBroadcast || m.Leader != int64(leader+1) || m.LeaderLink != "memory" || len(m.Learners) != 0 {
		t.Fatalf("%+v", m)
	}

	want := func(i int, values map[string]string) {
		t.Helper()
		got := pairsOf(e.servers[i])
		for k, v := range values {
			if got[k] != v {
				t.Errorf("server %d: %s is %q, want %q", i, k, got[k], v)
			}
		}
	}
	// The session, its nodes.
	want(leader, map[string]string{"peer_state": "leading - broadcast", "quorum_size": "3", "learners": "2", "synced_followers": "2", "synced_observers": "0",
		"synced_non_voting_followers": "0", "pending_syncs": "0", "proposal_count": "21", "commit_count": "21", "learner_proposal_received_count": "0"})
	want(follower, map[string]string{"peer_state": "following - broadcast", "quorum_size": "3", "proposal_count": "0", "commit_count": "0",
		"learner_proposal_received_count": "21", "learner_commit_received_count": "21", "cnt_propagation_latency": "21", "cnt_leader_unavailable_time": "0"})
	got := pairsOf(e.servers[leader])
	num := func(key string) int {
		n, err := strconv.Atoi(got[key])
		if err != nil {
			t.Fatal(key, err)
		}
		return n
	}
	if last, low, high := num("last_proposal_size"), num("min_proposal_size"), num("max_proposal_size"); low < 40 || last != high || high < low+19 {
		t.Errorf("proposal sizes %d, %d to %d", last, low, high)
	}
	if n := num("cnt_quorum_ack_latency"); n != 21 {
		t.Errorf("quorum_ack_latency of %d", n)
	}
	for _, key := range []string{"looking_count", "diff_count", "cnt_leader_unavailable_time", "cnt_unavailable_time", "leader_uptime"} {
		if num(key) < 1 { // more after a false start
			t.Errorf("%s is %s", key, got[key])
		}
	}
	info := e.servers[leader].Info()
	if !info.IsLeader || info.ProposalLast != int64(num("last_proposal_size")) {
		t.Errorf("%+v", info)
	}
	for i, name := range map[int]string{leader: "leader-3.mntr", follower: "follower-1.mntr"} {
		got := pairsOf(e.servers[i])
		for _, line := range strings.Split(strings.TrimSpace(recordedWord(t, name)), "\n") {
			key, _, _ := strings.Cut(strings.TrimPrefix(line, "zk_"), "\t")
			if _, ok := got[key]; !ok && !bySID.MatchString(key) && !strings.Contains(key, "_per_namespace") {
				t.Errorf("%s: no %s", name, key)
			}
		}
	}

	// The one that is left looks.
	e.stop(leader)
	e.stop(follower)
	rest := e.servers[3-leader-follower]
	waitFor(t, func() bool {
		m, ok := rest.Membership()
		return ok && m.State == quorum.Looking && !m.HasLeader && m.Stage == zab.StageElection
	})
	stopServer(t, rest)
	if m, ok := rest.Membership(); ok {
		t.Errorf("a stopped server tells %+v", m)
	}
}

// TestConfOfEnsemble: the word conf has the lines of a Java server.
func TestConfOfEnsemble(t *testing.T) {
	e := newTestEnsemble(t, 3)
	e.leader()
	form := func(text string) string {
		text = regexp.MustCompile(`(?m)^(\w+)=.*$`).ReplaceAllString(text, "$1=")
		return regexp.MustCompile(`(?m)^(server\.\d)=.*$`).ReplaceAllString(text, "$1=")
	}
	got := string(e.servers[0].answer("conf", 0))
	if want := recordedWord(t, "follower-1.conf"); form(got) != form(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, line := range []string{"serverId=1\n", "initLimit=50\n", "syncLimit=20\n", "electionAlg=3\n", "electionPort=3888\n", "quorumPort=2888\n", "peerType=0\n", "server.2=127.0.0.1:2889:3889:participant\n"} {
		if !strings.Contains(got, line) {
			t.Errorf("no %q in\n%s", line, got)
		}
	}
}

// TestNoMembership: a server alone has no place in an ensemble.
func TestNoMembership(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir()))
	if m, ok := s.Membership(); ok {
		t.Errorf("%+v", m)
	}
	s.ResetLearnerStats()
	if _, ok := pairsOf(s)["peer_state"]; ok {
		t.Error("peer_state of a server alone")
	}
	if got := string(s.answer("conf", 0)); !strings.HasSuffix(got, "serverId=0\n") {
		t.Error(got)
	}
}

// TestMembershipWhileLeaderGoes asks a running ensemble again and again while its leader goes: no answer hangs, none mixes roles.
func TestMembershipWhileLeaderGoes(t *testing.T) {
	e := newTestEnsemble(t, 3)
	leader := e.leader()
	other := e.servers[(leader+1)%3]
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.stop(leader)
	}()
	deadline := time.Now().Add(30 * time.Second)
	for newLeader := false; !newLeader; {
		m, ok := other.Membership()
		if !ok || time.Now().After(deadline) {
			t.Fatal("no answer, or no new leader")
		}
		if m.HasLeader != (m.State != quorum.Looking) || (m.State == quorum.Leading) != (m.HasLeader && m.Leader == m.Self) {
			t.Fatalf("%+v", m)
		}
		newLeader = m.Stage == zab.StageBroadcast && m.Leader != int64(leader+1)
	}
	<-done
}
