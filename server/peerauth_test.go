package server

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"zabra.dev/zabra/server/config"
	"zabra.dev/zabra/server/sasl"
)

const (
	quorumServerJAAS  = "QuorumServer { " + sasl.DigestModule + ` required user_peer="secret"; };`
	quorumLearnerJAAS = "QuorumLearner { " + sasl.DigestModule + ` required username="peer" password="secret"; };`
)

func peerAuthConfig(t *testing.T, jaas string, lines ...string) *config.Config {
	t.Helper()
	name := filepath.Join(t.TempDir(), "jaas.conf")
	if jaas != "" {
		if err := os.WriteFile(name, []byte(jaas), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return testConfig(t, t.TempDir(), append(lines, "java.security.auth.login.config="+name, "quorum.auth.enableSasl=true")...)
}

// TestPeerAuth: what is asked for comes out, and the two sides understand each other.
func TestPeerAuth(t *testing.T) {
	discard := slog.New(slog.DiscardHandler)
	auth, err := peerAuth(peerAuthConfig(t, quorumServerJAAS+quorumLearnerJAAS, "quorum.auth.learnerRequireSasl=true", "quorum.auth.serverRequireSasl=true"), discard)
	if err != nil || !auth.Required {
		t.Fatalf("%+v, %v", auth, err)
	}
	learner, server := auth.Learner(), auth.Server()
	token, done := []byte{}, false
	for range 2 {
		if token, _, err = server.Step(token); err != nil {
			t.Fatal(err)
		}
		if token, done, err = learner.Step(token); err != nil {
			t.Fatal(err)
		}
	}
	if !done {
		t.Error("no end")
	}
	if auth, err = peerAuth(peerAuthConfig(t, quorumServerJAAS+quorumLearnerJAAS), discard); err != nil || auth.Required || auth.Learner != nil || auth.Server == nil {
		t.Errorf("nothing required: %+v, %v", auth, err)
	}
	if auth, err = peerAuth(testConfig(t, t.TempDir()), discard); err != nil || auth.Learner != nil || auth.Server != nil {
		t.Errorf("not enabled: %+v, %v", auth, err)
	}
	for _, jaas := range []string{"", "x", quorumServerJAAS, quorumLearnerJAAS} {
		var e *config.Error
		if _, err := peerAuth(peerAuthConfig(t, jaas), discard); !errors.As(err, &e) || e.Key != "java.security.auth.login.config" || e.Fix == "" {
			t.Errorf("%q: %v", jaas, err)
		}
	}
}
