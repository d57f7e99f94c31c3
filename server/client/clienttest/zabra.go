package clienttest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/netpoll"
	"zabra.dev/zabra/server"
	"zabra.dev/zabra/server/config"
)

// StartZabra starts a standalone server in this process, with extra lines in its zoo.cfg, and returns its client address.
func StartZabra(t testing.TB, extra ...string) string {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "zoo.cfg")
	text := fmt.Sprintf("tickTime=500\ndataDir=%s/data\nclientPort=1\nextendedTypesEnabled=true\n4lw.commands.whitelist=*\n%s\n", dir, strings.Join(extra, "\n"))
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
