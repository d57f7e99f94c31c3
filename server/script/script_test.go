package script

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStartFailures: a server that does not come up gives FAILED TO START, the reason on standard error,
// and no pid file.
func TestStartFailures(t *testing.T) {
	b := newBench(t, standardConfig)
	b.expect(b.server("STANDIN=die", "start"), 1, "Starting zookeeper ... FAILED TO START\n",
		"the server ended (exit code 2); the end of ROOT/srv/log/zookeeper--server-vm.out:\ntwo\nthree\nInvalid config, exiting abnormally\n")
	b.expect(b.server("STANDIN=late", "start"), 1, "Starting zookeeper ... FAILED TO START\n", "exit code 1", "Address already in use")
	if _, err := os.Stat(b.path("srv/data/zookeeper_server.pid")); !os.IsNotExist(err) {
		t.Errorf("pid file: %v", err)
	}
	b.expect(b.server("start", "other.cfg"), 1, "Starting zookeeper ... FAILED TO START\n",
		"Using config: ROOT/srv/conf/other.cfg", "open ROOT/srv/conf/other.cfg: no such file", "dataDir is not set in ROOT/srv/conf/other.cfg")
	b.write("srv/file", "")
	b.expect(b.server("ZOO_LOG_DIR=ROOT/srv/file", "start"), 1, "Starting zookeeper ... FAILED TO START\n", "set ZOO_LOG_DIR to a directory")
	b.expect(b.server("ZOOPIDFILE=ROOT/srv/file/pid", "start"), 1, "Starting zookeeper ... FAILED TO WRITE PID\n", "srv/file")
}

// TestSilentServer: one that reports nothing counts as started when it lives for a second.
func TestSilentServer(t *testing.T) {
	b := newBench(t, standardConfig)
	b.expect(b.server("STANDIN=silent", "start"), 0, "Starting zookeeper ... STARTED\n")
	b.expect(b.server("stop"), 0, "Stopping zookeeper ... STOPPED\n")
}

// TestPIDFile: what the pid file may hold, and where it may stand.
func TestPIDFile(t *testing.T) {
	b := newBench(t, standardConfig)
	const name = "srv/data/zookeeper_server.pid"

	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	stale := strconv.Itoa(ended.Process.Pid)
	b.write(name, stale)
	b.expect(b.server("stop"), 0, "Stopping zookeeper ... STOPPED\n", "process "+stale+" of ROOT/srv/data/zookeeper_server.pid has ended before")
	b.write(name, stale)
	b.expect(b.server("start"), 0, "Starting zookeeper ... STARTED\n")
	running := b.pid()
	if strings.TrimRight(running, "0123456789") != "" || running == stale {
		t.Errorf("pid file holds %q", running)
	}
	b.expect(b.server("start"), 1, "Starting zookeeper ... already running as process "+running+".\n")
	b.expect(b.server("stop"), 0, "Stopping zookeeper ... STOPPED\n")
	b.expect(b.server("stop"), 0, "Stopping zookeeper ... no zookeeper to stop (could not find file ROOT/"+name+")\n")

	// This test is a running process, and no server.
	me := strconv.Itoa(os.Getpid())
	b.write(name, me)
	r := b.server("stop")
	if r.exit != 0 || !strings.HasPrefix(r.out, "Stopping zookeeper ... no zookeeper to stop (ROOT/"+name+" names process "+me+", which is another program: ") {
		t.Errorf("%+v", r)
	}
	b.write(name, me)
	b.expect(b.server("start"), 0, "Starting zookeeper ... STARTED\n", "names process "+me+", which is another program")
	b.expect(b.server("stop"), 0, "Stopping zookeeper ... STOPPED\n")

	b.write(name, "rubbish")
	b.expect(b.server("stop"), 1, "Stopping zookeeper ... NOT STOPPED\n", "does not hold a process id")
	b.expect(b.server("start"), 0, "Starting zookeeper ... STARTED\n", "does not hold a process id; it is replaced")
	b.expect(b.server("stop"), 0, "Stopping zookeeper ... STOPPED\n")

	pidFile := "ZOOPIDFILE=ROOT/run/zk/zk.pid"
	b.expect(b.server(pidFile, "start"), 0, "Starting zookeeper ... STARTED\n")
	b.expect(b.server(pidFile, "stop"), 0, "Stopping zookeeper ... STOPPED\n")
	b.expect(b.server(pidFile, "stop"), 0, "Stopping zookeeper ... no zookeeper to stop (could not find file ROOT/run/zk/zk.pid)\n")
}

// TestZombie: a process that has ended but was not waited for is not running.
func TestZombie(t *testing.T) {
	cmd := exec.Command("true")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}()
	// The pipe ends with the process, which is then a zombie until the deferred Wait; between the two
	// there is a moment.
	if _, err := stdout.Read(make([]byte, 1)); err == nil {
		t.Fatal("output")
	}
	for range 1000 {
		if !alive(cmd.Process.Pid) {
			return
		}
		time.Sleep(pollTime)
	}
	t.Error("a zombie counts as running")
}

func TestStubbornServer(t *testing.T) {
	b := newBench(t, standardConfig)
	b.expect(b.server("STANDIN=stubborn", "start"), 0, "Starting zookeeper ... STARTED\n")
	var out, complaints bytes.Buffer
	code := Run(Invocation{Args: []string{ServerName, "--config", b.path("srv/conf"), "stop"}, Env: b.env, Stdout: &out, Stderr: &complaints, stopTime: 50 * time.Millisecond})
	if code != 1 || out.String() != "Stopping zookeeper ... NOT STOPPED\n" || !strings.Contains(complaints.String(), "is still running") {
		t.Errorf("%d %q %q", code, out.String(), complaints.String())
	}
	if b.pid() == "" {
		t.Error("the pid file was emptied")
	}
}

// TestStatus: where the client port may stand, and what is printed on the way to it.
func TestStatus(t *testing.T) {
	b := newBench(t, "")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		answer(listener)
	}()
	t.Cleanup(func() {
		listener.Close()
		<-served
	})
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	deadPort := strconv.Itoa(closed.Addr().(*net.TCPAddr).Port)
	closed.Close()
	f := func(config, myid, dynamic string, exit int, out string) {
		t.Helper()
		fill := strings.NewReplacer("DEAD", deadPort, "PORT", port)
		b.write("srv/conf/zoo.cfg", fill.Replace("dataDir=ROOT/srv/data\n"+config))
		if err := os.RemoveAll(b.path("srv/data/myid")); err != nil {
			t.Fatal(err)
		}
		if myid != "" {
			b.write("srv/data/myid", myid)
		}
		b.write("srv/conf/dyn", fill.Replace(dynamic))
		b.expect(b.server("status"), exit, fill.Replace(out))
	}
	const (
		noID      = "myid could not be determined, will not able to locate clientPort in the server configs.\n"
		notStatic = "Client port not found in static config file. Looking in dynamic config file.\n"
		nowhere   = "Client port not found in the server configs\n"
		looking   = "Client port not found. Looking for secureClientPort in the static config.\n"
		none      = looking + "Unable to find either secure or unsecure client port in any configs. Terminating.\n"
		mode      = "Mode: standalone\n"
		down      = "Error contacting service. It is probably not running.\n"
		local     = "Client port found: PORT. Client address: 127.0.0.1. Client SSL: false.\n"
		wildcard  = "Client port found: PORT. Client address: 0.0.0.0. Client SSL: false.\n"
	)
	f("clientPort = PORT\nclientPortAddress = 127.0.0.1\n", "", "", 0, local+mode)
	f("clientPort=PORT\n", "", "", 0, "Client port found: PORT. Client address: localhost. Client SSL: false.\n"+mode)
	f("clientPort=DEAD\n", "", "", 1, "Client port found: DEAD. Client address: localhost. Client SSL: false.\n"+down)
	f("", "", "", 1, noID+none)
	f("", "x", "", 1, noID+none)
	f("server.1=h:1:2;127.0.0.1:PORT\n", "1\n", "", 0, local+mode)
	f("server.1=h:1:2;PORT\nserver.11=h:1:2;DEAD", "1", "", 0, wildcard+mode)
	f("server.1=h:1:2\n", "1", "", 1, notStatic+nowhere+none)
	f("dynamicConfigFile=ROOT/srv/conf/dyn\n", "2", "server.2=h:1:2:participant;127.0.0.1:PORT\n", 0, notStatic+local+mode)
	f("dynamicConfigFile=ROOT/srv/conf/dyn\n", "3", "server.2=h:1:2;PORT\n", 1, notStatic+nowhere+none)
	f("dynamicConfigFile=ROOT/srv/conf/gone\n", "3", "", 1, notStatic+nowhere+none)

	r := b.server("status")
	if !strings.Contains(r.err, "gone: no such file or directory") {
		t.Errorf("stderr %q", r.err)
	}
	f("secureClientPort=DEAD\nsecureClientPortAddress=127.0.0.1\n", "", "", 1, noID+looking+
		"Client port found: DEAD. Client address: 127.0.0.1. Client SSL: true.\n"+
		" \nNote: We used secureClientPort (DEAD) to establish connection, but we failed. The 'status'\n"+
		"  command establishes a client connection to the server to execute diagnostic commands. Please make sure you\n"+
		"  provided all the Client SSL connection related parameters in the CLIENT_JVMFLAGS environment variable! E.g.:\n"+
		"  CLIENT_JVMFLAGS=\"-Dzookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty\n"+
		"  -Dzookeeper.ssl.trustStore.location=/tmp/clienttrust.jks -Dzookeeper.ssl.trustStore.password=password\n"+
		"  -Dzookeeper.ssl.keyStore.location=/tmp/client.jks -Dzookeeper.ssl.keyStore.password=password\n"+
		"  -Dzookeeper.client.secure=true\" ./zkServer.sh status\n \n"+down)
}

// TestRefusedStatus: a server that refuses srvr, or is not serving, counts as not running.
func TestRefusedStatus(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := listener.Accept()
		if err == nil {
			_, _ = conn.Write([]byte("srvr is not executed because it is not in the whitelist.\n"))
			conn.Close()
		}
	}()
	b := newBench(t, "dataDir=ROOT/srv/data\nclientPort="+strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)+"\nclientPortAddress=127.0.0.1\n")
	r := b.server("status")
	listener.Close()
	<-served
	if r.exit != 1 || !strings.HasSuffix(r.out, "\nError contacting service. It is probably not running.\n") {
		t.Errorf("%+v", r)
	}
}

// TestConfigChoice: which file is used.
func TestConfigChoice(t *testing.T) {
	b := newBench(t, standardConfig)
	f := func(want string, words ...string) {
		t.Helper()
		r := b.run(words...)
		if got := "Using config: " + want + "\n"; !strings.Contains(r.err, got) {
			t.Errorf("%q: %q, want %q", words, r.err, got)
		}
	}
	const usual = ServerName
	f("ROOT/srv/conf/zoo.cfg", usual, "--config", "ROOT/srv/conf", "version")
	f("ROOT/srv/conf/zoo.cfg", "ZOOCFGDIR=ROOT/srv/conf", usual, "version")
	f("ROOT/srv/conf//zoo.cfg", usual, "--config", "ROOT/srv/conf/", "version")
	f("ROOT/srv/conf/b.cfg", usual, "--config", "ROOT/srv/conf", "version", "b.cfg")
	f("ROOT/else/b.cfg", usual, "--config", "ROOT/srv/conf", "version", "ROOT/else/b.cfg")
	f("./b.cfg", usual, "--config", "ROOT/srv/conf", "version", "./b.cfg")
	f("ROOT/srv/conf/c.cfg", "ZOOCFG=c.cfg", usual, "--config", "ROOT/srv/conf", "version")
	f("/abs/c.cfg", "ZOOCFG=/abs/c.cfg", usual, "version")
	f("ROOT/opt/bin/../conf/zoo.cfg", usual, "version")
	if err := os.Remove(b.path("opt/conf")); err != nil {
		t.Fatal(err)
	}
	f("ROOT/opt/bin/../etc/zookeeper/zoo.cfg", usual, "version")
}

// TestHeader: what is said about JMX.
func TestHeader(t *testing.T) {
	b := newBench(t, standardConfig)
	f := func(want string, env ...string) {
		t.Helper()
		r := b.server(append(env, "version")...)
		if want += "Using config: ROOT/srv/conf/zoo.cfg\n"; r.err != want {
			t.Errorf("%q: %q, want %q", env, r.err, want)
		}
	}
	const on = "ZooKeeper JMX enabled by default\n"
	f(on)
	f(on, "JMXDISABLE=false")
	f("JMX disabled by user request\n", "JMXDISABLE=true")
	f(on+"ZooKeeper remote JMX Port set to 9\nZooKeeper remote JMX authenticate set to false\nZooKeeper remote JMX ssl set to false\n"+
		"ZooKeeper remote JMX log4j set to true\n", "JMXPORT=9")
	f(on+"ZooKeeper remote JMX Port set to 9\nZooKeeper remote JMX authenticate set to true\nZooKeeper remote JMX ssl set to true\n"+
		"ZooKeeper remote JMX log4j set to false\nZooKeeper remote JMX Hostname set to h\n", "JMXPORT=9", "JMXAUTH=true", "JMXSSL=true", "JMXLOG4J=false", "JMXHOSTNAME=h")
}

// TestSourcedFiles: variables of zookeeper-env.sh and java.env reach the server, exported or not, computed
// by the shell.
func TestSourcedFiles(t *testing.T) {
	b := newBench(t, standardConfig)
	b.write("srv/conf/zookeeper-env.sh", "echo noise\nBASE=a\nexport ZOO_DATADIR_AUTOCREATE_DISABLE=1\n")
	b.write("srv/conf/java.env", "EXTRA=\"$BASE and $(printf b)\"\n")
	if err := os.MkdirAll(b.path("srv/data/version-2"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.expect(b.server("start"), 0, "Starting zookeeper ... STARTED\n", "noise")
	b.expect(b.server("stop"), 0, "Stopping zookeeper ... STOPPED\n")
	text, err := os.ReadFile(b.path("srv/log/zookeeper--server-vm.out"))
	if err != nil || string(text) != "autocreate: true extra: a and b\n" {
		t.Errorf("%q %v", text, err)
	}

	b.write("srv/conf/zookeeper-env.sh", "exit 3\n")
	if r := b.server("version"); !strings.Contains(r.err, "zookeeper-env.sh: exit status 3") || r.exit != 0 {
		t.Errorf("%+v", r)
	}
}

// TestSourceWithoutShell: without a shell, plain assignments are understood.
func TestSourceWithoutShell(t *testing.T) {
	b := newBench(t, standardConfig)
	b.write("srv/conf/java.env", "# comment\nexport JVMFLAGS=\"-Da=1 -Db=2\"\n  USER=zk\nif x; then\n1BAD=2\n")
	t.Setenv("PATH", b.path("nowhere"))
	var complaints bytes.Buffer
	p := &program{Invocation: Invocation{Stderr: &complaints}, env: newEnvironment(nil)}
	p.source(b.path("srv/conf/java.env"))
	if got, want := p.env.pairs(), []string{"JVMFLAGS=-Da=1 -Db=2", "USER=zk"}; !slices.Equal(got, want) || complaints.Len() != 0 {
		t.Errorf("%q, want %q; %s", got, want, complaints.String())
	}
}

// TestAutocreateDisabled: only directories that someone has initialised will do, for both directories.
func TestAutocreateDisabled(t *testing.T) {
	b := newBench(t, standardConfig+"dataLogDir=ROOT/srv/txn\n")
	const off = "ZOO_DATADIR_AUTOCREATE_DISABLE=1"
	for _, command := range []string{"start", "start-foreground"} {
		b.expect(b.server(off, command), 1, "ZooKeeper data directory is missing at ROOT/srv/data fix the path or run initialize\n")
	}
	if err := os.MkdirAll(b.path("srv/data/zabra"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.expect(b.server(off, "start"), 1, "ZooKeeper txnlog directory is missing at ROOT/srv/txn fix the path or run initialize\n")
	b.expect(b.run(InitializeName, "--configfile", "ROOT/srv/conf/zoo.cfg", "--myid", "4", "--force"), 0,
		"Force enabled, data/txnlog directories will be re-initialized\nUsing myid of 4\n")
	b.expect(b.server(off, "start"), 0, "Starting zookeeper ... STARTED\n")
	b.expect(b.run(InitializeName, "--configfile=ROOT/srv/conf/zoo.cfg", "--force"), 1, "ZooKeeper is running as process "+b.pid()+", stop it first\n")
	b.expect(b.server(off, "stop"), 0, "Stopping zookeeper ... STOPPED\n")
}

func TestInitialize(t *testing.T) {
	b := newBench(t, standardConfig+"dataLogDir=ROOT/srv/txn\n")
	for _, name := range []string{"srv/data/version-2", "srv/data/zabra/image", "srv/txn/zabra/wal"} {
		if err := os.MkdirAll(b.path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.write("srv/data/keep", "")
	b.expect(b.run("ZOOCFGDIR=ROOT/srv/conf", InitializeName, "--myid=x"), 1, "myid x is not a number\n")
	b.expect(b.run("ZOOCFGDIR=ROOT/srv/conf", InitializeName, "--myid=5", "--force"), 0,
		"Force enabled, data/txnlog directories will be re-initialized\nUsing myid of 5\n")
	for name, want := range map[string]bool{"data/version-2": false, "data/zabra/image": false, "data/zabra": true, "txn/zabra/wal": false,
		"txn/zabra": true, "data/keep": true, "data/initialize": true} {
		if got := exists(b.path("srv/" + name)); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if text, err := os.ReadFile(b.path("srv/data/myid")); err != nil || string(text) != "5\n" {
		t.Errorf("myid %q %v", text, err)
	}
	if err := os.RemoveAll(b.path("srv/data/zabra")); err != nil {
		t.Fatal(err)
	}
	b.expect(b.run("ZOOCFGDIR=ROOT/srv/conf", InitializeName), 1,
		"ZooKeeper txnlog directory already exists at ROOT/srv/txn (or use --force to force re-initialization)\n")
	b.expect(b.run(InitializeName, "--configfile=ROOT/none"), 1, "Unable to find config file at ROOT/none\n")
	b.write("srv/conf/zoo.cfg", "clientPort=1\n")
	b.expect(b.run(InitializeName, "--configfile=ROOT/srv/conf/zoo.cfg"), 1, "Unable to determine dataDir from ROOT/srv/conf/zoo.cfg\n")
	if r := b.run(InitializeName, "--myid="); !strings.HasPrefix(r.out, "Unknown option: --myid=\nusage: ROOT/opt/bin/zkServer-initialize.sh <parameters>\n") || r.exit != 1 {
		t.Errorf("%+v", r)
	}
}

// TestNoConfig: without any zoo.cfg a server runs on the defaults.
func TestNoConfig(t *testing.T) {
	b := newBench(t, standardConfig)
	b.env = slices.DeleteFunc(b.env, func(s string) bool { return strings.HasPrefix(s, "ZOO_LOG_DIR=") })
	t.Chdir(b.dir)
	b.expect(b.run(ServerName, "start"), 0, "Starting zookeeper ... STARTED\n", "Using config: ROOT/opt/bin/../conf/zoo.cfg\n")
	text, err := os.ReadFile(b.path("zabra-data/zookeeper_server.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if args, ok := commandOf(pid); ok && !slices.Equal(args, []string{ProcessName, "server"}) {
		t.Errorf("command %q", args)
	}
	if !exists(b.path("opt/logs/zookeeper--server-vm.out")) {
		t.Error("no output file")
	}
	b.expect(b.run(ServerName, "stop"), 0, "Stopping zookeeper ... STOPPED\n")
}

// TestForeground: the process becomes the server, or with ZOO_NOEXEC its parent, with its exit code.
func TestForeground(t *testing.T) {
	b := newBench(t, standardConfig)
	var got []string
	in := Invocation{
		Args: []string{ServerName, "--config", b.path("srv/conf"), "start-foreground"}, Env: append(b.env, "A=b"),
		Stdout: os.Stdout, Stderr: new(bytes.Buffer), Executable: "/bin/zabra",
		Exec: func(path string, argv, env []string) error {
			got = append(append([]string{path}, argv...), env[len(env)-2:]...)
			return nil
		},
	}
	if code := Run(in); code != 0 {
		t.Errorf("exit %d", code)
	}
	if want := []string{"/bin/zabra", ProcessName, "server", b.path("srv/conf/zoo.cfg"), "A=b", "ZOOCFGDIR=" + b.path("srv/conf")}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	in.Exec = func(string, []string, []string) error { return syscall.ENOENT }
	if code := Run(in); code != 1 {
		t.Errorf("exit %d", code)
	}
	for _, noexec := range []string{"ZOO_NOEXEC=1", "ZOO_NOEXEC="} {
		words := serverWords([]string{"STANDIN=die", noexec, "start-foreground"})
		b.expect(b.runProcess(words...), 2, "", "Invalid config, exiting abnormally")
	}
}
