//go:build interop

package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// quorumJAAS has the sections of servers between each other.
const quorumJAAS = `QuorumServer {
  org.apache.zookeeper.server.auth.DigestLoginModule required user_peer="peer's secret";
};
QuorumLearner {
  org.apache.zookeeper.server.auth.DigestLoginModule required username="peer" password="peer's secret";
};
`

// TestSASLEnsemble: an ensemble of both kinds comes to demand that servers prove who they are, one setting at a time as
// ZooKeeper's administrators do it; then each kind leads the other, and a server with another password is kept out.
func TestSASLEnsemble(t *testing.T) {
	forEachJava(t, "SASL between servers", func(t *testing.T, java kind) {
		e := newEnsemble(t, java, zabra, zabra)
		for _, m := range e.members {
			name := filepath.Join(m.dir, "jaas.conf")
			must(t, os.WriteFile(name, []byte(quorumJAAS), 0o600))
			m.props = append(m.props, "-Djava.security.auth.login.config="+name, "-Dzookeeper.fips-mode=false")
			m.cfg["quorum.auth.enableSasl"] = "true"
			m.become(t, m.kind)
		}
		e.run(e.members...)
		l := startLoad(t, e.addrs())
		k := startKeeper(t, e.addrs(), l)
		l.await(50)
		change := func(key string) {
			for _, m := range e.members {
				k.arm()
				m.end(t)
				e.leader()
				k.fire()
				m.cfg[key] = "true"
				m.configure(t, m.cfg)
				e.run(m)
				l.await(50)
				k.check()
			}
		}
		change("quorum.auth.learnerRequireSasl")
		change("quorum.auth.serverRequireSasl")
		led := map[kind]bool{}
		for range 8 {
			lead := e.leader()
			t.Logf("server %d (%s) leads", lead.id, lead.kind)
			if led[lead.kind] = true; len(led) == 2 {
				break
			}
			lead.kill()
			e.leader()
			l.await(50)
			e.run(lead)
			k.check()
		}
		// A server that does not know the password takes no part.
		f := e.members[2]
		if f == e.leader() {
			f = e.members[1]
		}
		f.kill()
		must(t, os.WriteFile(filepath.Join(f.dir, "jaas.conf"), []byte("QuorumServer { org.apache.zookeeper.server.auth.DigestLoginModule required user_peer=\"x\"; };\n"+
			"QuorumLearner { org.apache.zookeeper.server.auth.DigestLoginModule required username=\"peer\" password=\"x\"; };\n"), 0o600))
		e.launch(f)
		for deadline := time.Now().Add(loadTimeout); !strings.Contains(f.logTail(), "authentication failed"); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the server with another password is not kept out\n%s", e.logs())
			}
		}
		l.await(50)
		f.kill()
		must(t, os.WriteFile(filepath.Join(f.dir, "jaas.conf"), []byte(quorumJAAS), 0o600))
		e.run(f)
		k.check()
		e.finish(l, k)
	})
}
