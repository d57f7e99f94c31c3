//go:build interop

package interop

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inLAN in the environment tells a test process that it is alone in a network namespace, as alone starts it.
const inLAN = "ZABRA_INTEROP_IN_LAN"

// alone runs the calling test once more in a process of its own that has a network namespace to itself, and
// reports true in there. The namespace ends with the process, and with it all that was made in it. Where
// namespaces cannot be made it reports why. The flags come on top of those of this process.
func alone(t *testing.T, flags ...string) (inside bool, reason string) {
	t.Helper()
	if os.Getenv(inLAN) != "" {
		return true, ""
	}
	if !inPath("ip") {
		return false, "there is no command ip (Debian: iproute2)"
	}
	var args []string
	flag.Visit(func(f *flag.Flag) {
		if !strings.HasPrefix(f.Name, "test.") {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	args = append(args, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=0")
	cmd := exec.Command(os.Args[0], append(args, flags...)...)
	cmd.Env = append(os.Environ(), inLAN+"=1")
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	cmd.SysProcAttr = attr
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = cmd.Stdout
	if err := startProcess(cmd, nil); err != nil {
		return false, err.Error()
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	ran := false
	for lines.Scan() {
		t.Log(lines.Text())
		ran = ran || strings.HasPrefix(lines.Text(), "--- PASS: "+t.Name())
	}
	if err := cmd.Wait(); err != nil || !ran {
		t.Errorf("it did not pass in its own network namespace: %v", err)
	}
	return false, ""
}

// clients stands for the test itself where hosts are named by their index.
const clients = -1

// A lan is a bridge with the hosts of an ensemble on it, each in a network namespace of its own, and the test,
// whose clients talk to them. All neighbours are known to each other by fixed entries, so that what one sends to
// another can be made to vanish, in one direction and without anybody being told, by a wrong entry.
type lan struct {
	t     *testing.T
	outer *os.File   // the namespace of the test
	hosts []*os.File // those of the hosts
}

func hostIP(i int) string  { return fmt.Sprintf("10.99.0.%d", i+2) }
func hostMAC(i int) string { return fmt.Sprintf("02:00:00:00:00:%02x", i+2) }

const nobodysMAC = "02:00:00:00:00:ff"

// ownNamespace opens the namespace that the calling thread is in.
func ownNamespace() (*os.File, error) { return os.Open("/proc/thread-self/ns/net") }

// newNamespace makes an empty network namespace, which lives as long as it is open.
func newNamespace() (*os.File, error) {
	type made struct {
		f   *os.File
		err error
	}
	c := make(chan made)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread, which no other may use, ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		var f *os.File
		if err == nil {
			f, err = ownNamespace()
		}
		c <- made{f, err}
	}()
	m := <-c
	return m.f, m.err
}

// newLAN lays the network in the test's own namespace. See alone.
func newLAN(t *testing.T, hosts int) *lan {
	t.Helper()
	outer, err := ownNamespace()
	must(t, err)
	l := &lan{t: t, outer: outer}
	l.ip(clients, "link set lo up")
	l.ip(clients, "link add br0 address "+hostMAC(clients)+" type bridge")
	l.ip(clients, "addr add "+hostIP(clients)+"/24 dev br0")
	l.ip(clients, "link set br0 up")
	for i := range hosts {
		f, err := newNamespace()
		must(t, err)
		l.hosts = append(l.hosts, f)
		l.ip(clients, fmt.Sprintf("link add v%d type veth peer name eth0 address %s netns /proc/%d/fd/%d", i, hostMAC(i), os.Getpid(), f.Fd()))
		l.ip(clients, fmt.Sprintf("link set v%d master br0 up", i))
		l.ip(i, "link set lo up")
		l.ip(i, "addr add "+hostIP(i)+"/24 dev eth0")
		l.ip(i, "link set eth0 up")
	}
	l.heal()
	return l
}

// ip runs the command ip in the namespace of a host.
func (l *lan) ip(host int, words string) {
	l.t.Helper()
	cmd := exec.Command("ip", strings.Fields(words)...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := startProcess(cmd, l.place(host))
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		l.t.Fatalf("ip %s: %v\n%s", words, err, out.String())
	}
}

// place is where to start a process of a host.
func (l *lan) place(host int) *place {
	if host == clients {
		return nil
	}
	return &place{outer: l.outer, inner: l.hosts[host]}
}

func (l *lan) neighbour(of, is int, mac string) {
	dev := "eth0"
	if of == clients {
		dev = "br0"
	}
	l.ip(of, fmt.Sprintf("neigh replace %s lladdr %s dev %s nud permanent", hostIP(is), mac, dev))
}

// cut makes all vanish that from sends to to, from now on.
func (l *lan) cut(from, to int) { l.neighbour(from, to, nobodysMAC) }

// heal lets everybody reach everybody.
func (l *lan) heal() {
	for of := clients; of < len(l.hosts); of++ {
		for is := clients; is < len(l.hosts); is++ {
			if of != is {
				l.neighbour(of, is, hostMAC(is))
			}
		}
	}
}

// A place is a network namespace to start a process in.
type place struct{ outer, inner *os.File }

// start starts the process there. The calling thread must not be another's.
func (p *place) start(cmd *exec.Cmd) error {
	if p == nil {
		return cmd.Start()
	}
	if err := unix.Setns(int(p.inner.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering a network namespace: %w", err)
	}
	err := cmd.Start()
	if back := unix.Setns(int(p.outer.Fd()), unix.CLONE_NEWNET); back != nil {
		panic(fmt.Sprintf("interop: leaving a network namespace: %v", back))
	}
	return err
}
