//go:build interop

package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sshd is where Debian has it; it wants to be called by its whole path.
const sshd = "/usr/sbin/sshd"

// sshHosts runs a real sshd on three addresses of this machine, with keys of its own, until the test ends, and returns the options
// that let ssh in.
func sshHosts(t *testing.T) (hosts, options []string) {
	t.Helper()
	dir := t.TempDir()
	if os.Getuid() == 0 {
		// What the service of the package makes at each start of the machine.
		if err := os.Mkdir("/run/sshd", 0o755); err == nil {
			t.Cleanup(func() { _ = os.Remove("/run/sshd") })
		} else if !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
	}
	key, err := os.ReadFile(filepath.Join(dir, "user.pub"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "authorized_keys"), key, 0o600))
	hostKey, err := os.ReadFile(filepath.Join(dir, "host.pub"))
	must(t, err)
	port := strconv.Itoa(stablePort(t))
	conf, known := "", ""
	for i := range 3 {
		hosts = append(hosts, fmt.Sprintf("127.0.0.%d", i+1))
		conf += "ListenAddress " + hosts[i] + ":" + port + "\n"
		known += "[" + hosts[i] + "]:" + port + " " + string(hostKey)
	}
	conf += "HostKey " + filepath.Join(dir, "host") + "\nAuthorizedKeysFile " + filepath.Join(dir, "authorized_keys") + `
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
`
	must(t, os.WriteFile(filepath.Join(dir, "sshd_config"), []byte(conf), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(known), 0o600))
	cmd := exec.Command(sshd, "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	must(t, startProcess(cmd, nil))
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-done
		if t.Failed() {
			t.Logf("sshd said:\n%s", said.String())
		}
	})
	u, err := user.Current()
	must(t, err)
	for _, o := range []string{"Port=" + port, "User=" + u.Username, "IdentityFile=" + filepath.Join(dir, "user"), "IdentitiesOnly=yes",
		"UserKnownHostsFile=" + filepath.Join(dir, "known_hosts"), "StrictHostKeyChecking=yes", "GlobalKnownHostsFile=none"} {
		options = append(options, "-o", o)
	}
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(20 * time.Millisecond) {
		out, err := exec.Command("ssh", append(slices.Clone(options), "-o", "BatchMode=yes", hosts[2], "true")...).CombinedOutput()
		if err == nil {
			return hosts, options
		}
		if time.Now().After(deadline) {
			t.Fatalf("sshd lets nobody in: %v: %s", err, out)
		}
	}
}

// zabra hosts through a real sshd: start, status and stop on three hosts, a restart one after the other, and what is said of a
// host that is not there, of a key that is not the host's, and of a server that does not start.
func TestHostsBySSH(t *testing.T) {
	if subject() != zabra {
		t.Skip("about Zabra")
	}
	if !have(toolSSH) {
		leaveOut("zabra hosts by ssh", toolSSH)
		t.Skipf("NOT TESTED: no %s", toolSSH)
	}
	binary := zabraBinary(t)
	t.Parallel()
	hosts, options := sshHosts(t)
	e := newEnsemble(t, zabra, zabra, zabra)
	list := "# the ensemble\n"
	for i, m := range e.members {
		list += fmt.Sprintf("%s %s\n", hosts[i], filepath.Join(m.dir, "zoo.cfg"))
	}
	dir := t.TempDir()
	file, script := filepath.Join(dir, "hosts"), filepath.Join(dir, "zkServer.sh")
	must(t, os.WriteFile(file, []byte(list), 0o644))
	must(t, os.Symlink(binary, script))
	t.Cleanup(func() { // of a test that failed: stop removes the files
		for _, m := range e.members {
			text, _ := os.ReadFile(filepath.Join(m.dir, "data", "zookeeper_server.pid"))
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && pid > 0 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	run := func(file, command string, more ...string) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*startTimeout)
		defer cancel()
		args := append([]string{"hosts", "-f", file, "-script", script, "-wait", "30s"}, options...)
		cmd := exec.CommandContext(ctx, binary, append(append(args, more...), command)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	ok := func(command string) string {
		t.Helper()
		out, err := run(file, command)
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return out
	}
	modes := func(text string) (leaders, followers int) {
		return strings.Count(text, " leader\n"), strings.Count(text, " follower\n")
	}
	serves := func() {
		t.Helper()
		for deadline := time.Now().Add(startTimeout); ; time.Sleep(100 * time.Millisecond) {
			out, err := run(file, "status")
			if l, f := modes(out); err == nil && l == 1 && f == 2 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("status: %v\n%s", err, out)
			}
		}
	}
	pids := func() (all []string) {
		for _, m := range e.members {
			text, err := os.ReadFile(filepath.Join(m.dir, "data", "zookeeper_server.pid"))
			must(t, err)
			all = append(all, strings.TrimSpace(string(text)))
		}
		return all
	}
	refused := func(out string, err error, want string) {
		t.Helper()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, want) {
			t.Errorf("%v, want exit code 1 and %q in\n%s", err, want, out)
		}
	}

	out, err := run(file, "status")
	refused(out, err, "does not serve")
	began := time.Now()
	if out := ok("start"); strings.Count(out, "STARTED") != 3 {
		t.Errorf("start:\n%s", out)
	}
	t.Logf("start took %v", time.Since(began).Round(time.Millisecond))
	serves()
	before := pids()
	out, err = run(file, "start")
	refused(out, err, "already running")
	out = ok("restart")
	for i, pid := range pids() {
		if pid == before[i] {
			t.Errorf("server %d was not restarted:\n%s", i+1, out)
		}
	}
	serves()

	// What goes wrong on the way is said for its host.
	other := filepath.Join(dir, "other")
	must(t, os.WriteFile(other, []byte("127.0.0.4 "+filepath.Join(e.members[0].dir, "zoo.cfg")+"\n"), 0o644))
	out, err = run(other, "status")
	refused(out, err, "Connection refused")
	must(t, os.WriteFile(other, []byte("127.0.0.1 /nowhere/zoo.cfg\n"), 0o644))
	out, err = run(other, "start")
	refused(out, err, "/nowhere/zoo.cfg")
	out, err = run(file, "stop", "-o", "GlobalKnownHostsFile=none", "-o", "HostKeyAlias=another")
	refused(out, err, "Host key verification failed")
	serves()

	if out := ok("stop"); strings.Count(out, "STOPPED") != 3 {
		t.Errorf("stop:\n%s", out)
	}
	for _, m := range e.members {
		if m.ask("ruok", time.Second) != nil {
			t.Errorf("server %d is not stopped", m.id)
		}
	}
}
