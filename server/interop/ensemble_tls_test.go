//go:build interop

package interop

import (
	"testing"
)

// tlsEnsemble turns TLS between servers on: key stores in a format that both kinds read.
var tlsEnsemble = map[string]string{
	"sslQuorum": "true", "ssl.quorum.keyStore.location": "CERTS/server.pem", "ssl.quorum.trustStore.location": "CERTS/trust.pem",
}

// TestTLSEnsemble: servers of both kinds speak TLS with each other, follow and lead each other, and an ensemble goes from
// plain to TLS while both kinds take both.
func TestTLSEnsemble(t *testing.T) {
	forEachJava(t, "TLS between servers", func(t *testing.T, java kind) {
		e := newEnsemble(t, java, java, zabra)
		for _, m := range e.members {
			for k, v := range tlsEnsemble {
				m.cfg[k] = v
			}
			// Plain to begin with, but for the one that is not.
			m.cfg["sslQuorum"], m.cfg["portUnification"] = "false", "true"
			m.become(t, m.kind)
		}
		z := e.members[2]
		e.run(e.members...)
		l := startLoad(t, e.addrs())
		k := startKeeper(t, e.addrs(), l)
		l.await(50)
		change := func(key, value string) {
			for _, m := range e.members {
				k.arm()
				m.end(t)
				e.leader()
				k.fire()
				m.cfg[key] = value
				m.configure(t, m.cfg)
				e.run(m)
				l.await(50)
				k.check()
			}
		}
		change("sslQuorum", "true")
		change("portUnification", "false")
		// Each kind leads the other over TLS.
		for range 6 {
			lead := e.leader()
			t.Logf("server %d (%s) leads", lead.id, lead.kind)
			if lead == z {
				break
			}
			lead.kill()
			e.leader()
			l.await(50)
			e.run(lead)
			k.check()
		}
		if lead := e.leader(); lead != z {
			t.Errorf("Zabra does not come to lead over TLS\n%s", e.logs())
		}
		f := e.members[0]
		f.kill()
		l.await(50)
		e.run(f)
		k.check()
		e.finish(l, k)
	})
}
