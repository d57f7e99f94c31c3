package main

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"zabra.dev/zabra/server/client"
)

// memberOf lays out a server of an ensemble of three that is not there, with data of an earlier life on its own.
func memberOf(t *testing.T) (dir, cfg string, ports [3]int) {
	t.Helper()
	dir = t.TempDir()
	cfg, ports[0] = writeConfig(t, dir)
	serveOnce(t, dir, cfg, fmt.Sprintf("127.0.0.1:%d", ports[0]))
	ports[1], ports[2] = freePort(t), freePort(t)
	text, err := os.ReadFile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	lines := string(text) + "initLimit=5\nsyncLimit=2\n"
	lines += fmt.Sprintf("server.1=127.0.0.1:%d:%d\nserver.2=127.0.0.1:1:2\nserver.3=127.0.0.1:3:4\n", ports[1], ports[2])
	write(t, cfg, lines)
	write(t, filepath.Join(dir, "data", "myid"), "1\n")
	return dir, cfg, ports
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// occupy listens on a port for as long as the test.
func occupy(t *testing.T, port int) {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
}

// What operators get wrong about an ensemble is told with the place and what to do, and costs no data.
func TestMisconfiguredMember(t *testing.T) {
	dir, cfg, ports := memberOf(t)
	right, err := os.ReadFile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	myid := filepath.Join(dir, "data", "myid")
	before := contents(t, filepath.Join(dir, "data", "zabra"))
	verified := func(t *testing.T) string {
		t.Helper()
		write(t, cfg, string(right))
		write(t, myid, "1\n")
		out, errOut, code := zabra(t, dir, "verify", cfg)
		if code != 0 {
			t.Fatalf("verify: exit %d\n%s", code, errOut)
		}
		_, told, _ := strings.Cut(out, "digest ")
		return told[:max(0, strings.IndexAny(told, ",\n"))]
	}
	digest := verified(t)
	f := func(name string, code int, spoil func(t *testing.T), wants ...string) {
		t.Run(name, func(t *testing.T) {
			write(t, cfg, string(right))
			write(t, myid, "1\n")
			spoil(t)
			_, errOut, got := zabra(t, dir, "server", cfg)
			for _, want := range append(wants, "fix: ") {
				if !strings.Contains(errOut, want) {
					t.Errorf("it does not say %q:\n%s", want, errOut)
				}
			}
			if got != code {
				t.Errorf("exit %d, want %d\n%s", got, code, errOut)
			}
			if now := verified(t); now != digest {
				t.Errorf("the data is %q, was %q", now, digest)
			}
			if strings.HasSuffix(name, "taken") {
				return // the data has been opened before the port
			}
			if after := contents(t, filepath.Join(dir, "data", "zabra")); !maps.Equal(before, after) {
				t.Errorf("the data changed from\n%v to\n%v", before, after)
			}
		})
	}
	id := func(text string) func(t *testing.T) { return func(t *testing.T) { write(t, myid, text) } }
	replace := func(old, by string) func(t *testing.T) {
		return func(t *testing.T) { write(t, cfg, strings.ReplaceAll(string(right), old, by)) }
	}
	f("no myid", 2, func(t *testing.T) {
		if err := os.Remove(myid); err != nil {
			t.Fatal(err)
		}
	}, "myid file is missing", myid)
	f("empty myid", 2, id(""), "is not a number", myid)
	f("garbage in myid", 2, id("server.1\n"), "serverid server.1 is not a number", myid)
	f("myid of nobody", 1, id("4\n"), "My id 4 not in the peer list", myid, "server.4=")
	f("server missing from the list", 1, replace("server.1=", "#server.1="), "My id 1 not in the peer list", "server.1=")
	f("one id in two spellings", 2, replace("server.2=", "server.01="), "server.1 is given twice", cfg)
	f("equal ports", 2, replace(fmt.Sprintf("server.1=127.0.0.1:%d:%d", ports[1], ports[2]), "server.1=127.0.0.1:5:5"), "Client and election port must be different", "server.1")
	f("line without ports", 2, replace("server.2=127.0.0.1:1:2", "server.2=127.0.0.1"), "server.2", cfg)
	f("no initLimit", 2, replace("initLimit=5", ""), "initLimit")
	f("client port taken", 1, func(t *testing.T) { occupy(t, ports[0]) }, "clientPort=127.0.0.1:", "address already in use")
	f("election port taken", 14, func(t *testing.T) {
		occupy(t, ports[2])
		t.Setenv("JVMFLAGS", "-Dzookeeper.electionPortBindRetry=1")
	}, "election port", fmt.Sprint(ports[2]), "server.N")
}

// The second of two servers with one data directory ends at once, and the first serves on.
func TestTwoServersOneDataDir(t *testing.T) {
	dir := t.TempDir()
	cfg, port := writeConfig(t, dir)
	first := command(t, dir, "server", cfg)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = first.Process.Signal(syscall.SIGTERM)
		_ = first.Wait()
	})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	serves := func() bool {
		answer, err := client.FourLetter(addr, "srvr")
		return err == nil && strings.Contains(answer, "Mode: standalone")
	}
	for deadline := time.Now().Add(commandTimeout); !serves(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the first server does not serve")
		}
	}
	text, err := os.ReadFile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other.cfg")
	write(t, other, strings.ReplaceAll(string(text), fmt.Sprintf("clientPort=%d", port), fmt.Sprintf("clientPort=%d", freePort(t))))
	_, errOut, code := zabra(t, dir, "server", other)
	if code == 0 || !strings.Contains(errOut, filepath.Join(dir, "data")) || !strings.Contains(errOut, "another server") {
		t.Errorf("exit %d\n%s", code, errOut)
	}
	if !serves() {
		t.Error("the first server does not serve any more")
	}
}
