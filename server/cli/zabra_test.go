package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"zabra.dev/zabra/netpoll"
	"zabra.dev/zabra/server"
	"zabra.dev/zabra/server/config"
)

// startZabra starts a standalone server in this process and returns its address.
func startZabra(t *testing.T, extra string) string {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "zoo.cfg")
	text := fmt.Sprintf("tickTime=2000\ndataDir=%s/data\nclientPort=1\nextendedTypesEnabled=true\n4lw.commands.whitelist=*\n%s", dir, extra)
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.Storage.PrepareDirs(); err != nil {
		t.Fatal(err)
	}
	opts := server.FromConfig(cfg)
	opts.Listen = []netpoll.Listener{{Address: "127.0.0.1:0"}}
	s, err := server.Start(opts, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s.Addr(0).String()
}

func TestGolden(t *testing.T) {
	testGolden(t, startZabra(t, ""))
}

func TestCases(t *testing.T) {
	testCases(t, startZabra(t, "enforceQuota=true\n"))
}

// Hard quotas that are enforced (recorded transcript quota-enforced).
func TestQuotaEnforced(t *testing.T) {
	addr := startZabra(t, "enforceQuota=true\n")
	f := func(wantErr string, wantExit int, args ...string) {
		t.Helper()
		_, errOut, exit := run(addr, args...)
		check(t, fmt.Sprint(args), errOut, wantErr)
		if exit != wantExit {
			t.Errorf("%v: exit code %d", args, exit)
		}
	}
	f("Created /q\n", 0, "create", "/q", "x")
	f("", 0, "setquota", "-N", "2", "/q")
	f("Created /q/a\n", 0, "create", "/q/a", "x")
	f("Quota has exceeded : /q/b\n", 1, "create", "/q/b", "x")
	f("", 0, "setquota", "-B", "4", "/q")
	f("Quota has exceeded : /q/a\n", 1, "set", "/q/a", "xxxxxxxxxx")
	f("/q/a has a parent /q which has a quota\n", 1, "setquota", "-n", "1", "/q/a")
	f("Created /eph\n", 0, "create", "-e", "/eph", "x")
	f("Node does not exist: /nope\n", 1, "delete", "/nope")
}
