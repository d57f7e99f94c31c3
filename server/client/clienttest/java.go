// Package clienttest starts servers for tests of clients: one of this module in the test's process, and a real
// Java ZooKeeper, for tests with the build tag interop.
//
// Only tests import it, and none of package server itself. Every server listens on loopback and ends with the test.
package clienttest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zabra.dev/zabra/server/client"
)

// JavaClasspath is where Debian's package keeps the jars; the manifest of zookeeper.jar names
// the others. The environment variable ZABRA_JAVA_CLASSPATH overrides it.
const JavaClasspath = "/usr/share/java/zookeeper.jar"

// A Java is a running standalone Java server.
type Java struct {
	Addr string // client address, host:port
	Dir  string // holds zoo.cfg, data and the log

	cmd *exec.Cmd
}

// StartJava starts a standalone server with extra lines in its zoo.cfg and waits until it
// serves. The test is skipped where there is no Java server.
func StartJava(t testing.TB, extra ...string) *Java {
	t.Helper()
	cp := os.Getenv("ZABRA_JAVA_CLASSPATH")
	if cp == "" {
		cp = JavaClasspath
	}
	java, err := exec.LookPath("java")
	if err != nil {
		t.Skip("no java")
	}
	if _, err := os.Stat(strings.Split(cp, ":")[0]); err != nil {
		t.Skip("no ZooKeeper jar")
	}
	dir := t.TempDir()
	addr := FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr) // FreeAddr made it
	cfg := fmt.Sprintf("tickTime=500\ndataDir=%s/data\nclientPort=%s\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n4lw.commands.whitelist=*\nextendedTypesEnabled=true\nmaxClientCnxns=0\n%s\n",
		dir, port, strings.Join(extra, "\n"))
	cfgFile := filepath.Join(dir, "zoo.cfg")
	if err := os.WriteFile(cfgFile, []byte(cfg), 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	j := &Java{Addr: addr, Dir: dir}
	j.cmd = exec.Command(java, "-Xmx256m", "-cp", cp, "org.apache.zookeeper.server.quorum.QuorumPeerMain", cfgFile)
	j.cmd.Stdout, j.cmd.Stderr = log, log
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = j.cmd.Process.Kill() // an error means that it has ended already
		_ = j.cmd.Wait()
	})
	WaitServing(t, addr, func() string {
		b, _ := os.ReadFile(log.Name())
		return string(b)
	})
	return j
}

// FreeAddr returns a loopback address whose port was free a moment ago.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// WaitServing waits until the server at addr answers srvr with a mode, at most a minute.
// log is asked for the server's output when it does not.
func WaitServing(t testing.TB, addr string, log func() string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if s, err := client.FourLetter(addr, "srvr"); err == nil && strings.Contains(s, "Mode: ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("server at %s does not serve:\n%s", addr, log())
		}
		<-tick.C
	}
}
