package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/client/clienttest"
)

// A fakeServer answers every request of every connection by a function, for what a
// standalone server does not show.
type fakeServer struct {
	addr     string
	readOnly bool
	wg       sync.WaitGroup
}

func startFake(t *testing.T, f *fakeServer, l net.Listener, answer func(op proto.OpCode, body []byte) (proto.ErrCode, []byte)) {
	t.Helper()
	f.addr = l.Addr().String()
	f.wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			f.wg.Go(func() {
				defer nc.Close()
				f.serve(client.NewRaw(nc), answer)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		f.wg.Wait()
	})
}

// serve ends when the client goes away.
func (f *fakeServer) serve(s *client.Raw, answer func(op proto.OpCode, body []byte) (proto.ErrCode, []byte)) {
	if _, err := s.ReadFrame(); err != nil {
		return
	}
	resp := proto.ConnectResponse{TimeoutMs: 10000, SessionID: 1, HasReadOnly: true, ReadOnly: f.readOnly}
	for frame, err := resp.Append(nil), error(nil); err == nil; {
		if s.SendFrame(frame) != nil {
			return
		}
		var request []byte
		if request, err = s.ReadFrame(); err != nil {
			return
		}
		code, body := answer(proto.OpCode(jute.Int32(request[4:])), request[8:])
		frame = append(proto.AppendReplyHeader(nil, jute.Int32(request), 1, code), body...)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func check(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s\n got %q\nwant %q", what, got, want)
	}
}

const connected = "Connecting to HOST\n\nWATCHER::\n\nWatchedEvent state:SyncConnected type:None path:null zxid: N\n"

const ensemble = "server.1=10.0.0.1:2888:3888:participant;10.0.0.1:2181\nserver.2=10.0.0.2:2888:3888:participant\nversion=100000000"

// Membership: what the commands send and print.
func TestConfigAndReconfig(t *testing.T) {
	var sent proto.ReconfigRequest // written by the fake before the reply, read after it
	data := jute.AppendString(nil, ensemble)
	data = (&proto.Stat{Version: -1, DataLength: 9}).Append(data)
	f := &fakeServer{}
	startFake(t, f, listen(t), func(op proto.OpCode, body []byte) (proto.ErrCode, []byte) {
		switch op {
		case proto.OpGetData:
			return proto.OK, data
		case proto.OpReconfig:
			d := jute.NewDecoder(body, 0)
			sent.Decode(&d)
			if string(sent.Leaving) == "9" {
				return proto.ErrNewConfigNoQuorum, nil
			}
			return proto.OK, data
		}
		return proto.ErrUnimplemented, nil
	})
	one := func(want, wantErr string, wantExit int, args ...string) {
		t.Helper()
		out, errOut, exit := run(f.addr, args...)
		check(t, strings.Join(args, " "), normalise(out), connected+want)
		check(t, strings.Join(args, " "), errOut, wantErr)
		if exit != wantExit {
			t.Errorf("%v: exit code %d", args, exit)
		}
	}
	one(ensemble+"\n", "", 0, "config")
	one("100000000 10.0.0.1:2181,\n", "", 0, "config", "-c")
	stat := normalise(statText(proto.Stat{Version: -1, DataLength: 9}))
	one(ensemble+"\n"+stat, "", 0, "config", "-s")
	one("Committed new configuration:\n"+ensemble+"\n"+stat, "", 0, "reconfig", "-s", "-v", "1f", "-add", "server.3=C:1:2;3", "-remove", "2")
	if string(sent.Joining) != "server.3=c:1:2;3" || string(sent.Leaving) != "2" || sent.NewMembers != nil || sent.CurConfigID != 0x1f {
		t.Errorf("%+v", sent)
	}
	name := filepath.Join(t.TempDir(), "members")
	if err := os.WriteFile(name, []byte("server.2=b:1:2:observer;5\nserver.1=a:1:2;h:5\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	one("Committed new configuration:\n"+ensemble+"\n", "", 0, "reconfig", "-file", name)
	if sent.Joining != nil || sent.CurConfigID != -1 || string(sent.NewMembers) != "server.1=a:1:2:participant;h:5\nserver.2=b:1:2:observer;0.0.0.0:5" {
		t.Errorf("%q", sent.NewMembers)
	}
	one("", "No quorum of new config is connected and up-to-date with the leader of last committed config"+
		" - try invoking reconfiguration after new servers are connected and synced\n", 1, "reconfig", "-remove", "9")
}

// A read-only server (recorded transcript readonly-client).
func TestReadOnly(t *testing.T) {
	f := &fakeServer{readOnly: true}
	startFake(t, f, listen(t), func(op proto.OpCode, body []byte) (proto.ErrCode, []byte) { return proto.ErrNotReadOnly, nil })
	out, errOut, exit := run(f.addr, "-r", "create", "/ro", "x")
	check(t, "out", normalise(out), strings.Replace(connected, "SyncConnected", "ConnectedReadOnly", 1))
	check(t, "err", errOut, "Not a read-only call: /ro\n")
	if exit != 1 {
		t.Errorf("exit code %d", exit)
	}
	var got bytes.Buffer
	if exit := Main([]string{"-r", "-server", f.addr}, strings.NewReader("set /x y"), &got, &got); exit != 1 {
		t.Errorf("exit code %d", exit)
	}
	if want := "[zk: HOST(CONNECTEDREADONLY) 0] Not a read-only call: /x\n[zk: HOST(CONNECTEDREADONLY) 1] "; !strings.HasSuffix(normalise(got.String()), want) {
		t.Errorf("%s", got.String())
	}
}

// Nobody listens (recorded transcript connection-failures).
func TestNoServer(t *testing.T) {
	addr := clienttest.FreeAddr(t)
	out, errOut, exit := run(addr, "ls", "/")
	check(t, "out", normalise(out), "Connecting to HOST\n")
	check(t, "err", errOut, "KeeperErrorCode = ConnectionLoss for /\n")
	if exit != 1 {
		t.Errorf("exit code %d", exit)
	}
	out, errOut, exit = run(addr, "-waitforconnection", "-timeout", "100", "ls", "/")
	check(t, "out", normalise(out), "Connecting to HOST\n\nWATCHER::\n\nWatchedEvent state:Closed type:None path:null zxid: N\n")
	check(t, "err", errOut, "KeeperErrorCode = ConnectionLoss\n")
	if exit != 1 {
		t.Errorf("exit code %d", exit)
	}
	var got, gotErr bytes.Buffer
	if exit := Main([]string{"-server", addr}, strings.NewReader("ls /\nhistory\nquit\n"), &got, &gotErr); exit != 0 {
		t.Errorf("exit code %d", exit) // that of history
	}
	if !strings.Contains(got.String(), "(CONNECTING) 0] ") || gotErr.String() != "KeeperErrorCode = ConnectionLoss for /\n" {
		t.Errorf("%s\n%s", got.String(), gotErr.String())
	}
}

// What needs no server does not ask for one, and the exit code of a script is that of its
// last command, quit aside.
func TestLocalCommands(t *testing.T) {
	addr := clienttest.FreeAddr(t)
	f := func(wantOut, wantErr string, wantExit int, args ...string) {
		t.Helper()
		out, errOut, exit := run(addr, args...)
		check(t, strings.Join(args, " "), normalise(out), "Connecting to HOST\n"+wantOut)
		check(t, strings.Join(args, " "), errOut, wantErr)
		if exit != wantExit {
			t.Errorf("%v: exit code %d", args, exit)
		}
	}
	f("ZooKeeper CLI version: VERSION\n", "", 0, "version")
	f("0 - null\n", "", 0, "history")
	f("printwatches is on\n", "", 0, "printwatches")
	f("", "Command index out of range\n", 1, "redo", "0")
	f("", "redo needs the number of a command, not \"x\"\n", 1, "redo", "x")
	f("", "Path must start with / character\n", 1, "ls", "x")
	f("", "ttl must be positive and cannot be larger than: 1099511627775\n", 1, "create", "-t", "0", "/x")
	f("", "bogus does not have the form scheme:id:perm\nKeeperErrorCode = InvalidACL\nAcl is not valid : null\n", 1, "create", "/x", "d", "bogus")
	f("", "the num quota must be greater than zero\n", 0, "setquota", "-n", "0", "/x")
	f("", "the data is not base64: illegal base64 data at input byte 0\n", 1, "set", "-b", "/x", "?")
	f("", usage()+"Command not found: Command not found bogus\n", 127, "bogus")
	if exit := Main([]string{"-timeout", "abc", "ls", "/"}, strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}); exit != 1 {
		t.Errorf("bad -timeout: exit code %d", exit)
	}
	if exit := Main([]string{"-server", addr}, strings.NewReader("bogus\nquit\nhistory\n"), &bytes.Buffer{}, &bytes.Buffer{}); exit != 127 {
		t.Errorf("bogus and quit: exit code %d", exit)
	}
	var got bytes.Buffer
	if exit := Main([]string{"--help"}, strings.NewReader(""), &got, &bytes.Buffer{}); exit != 0 || !strings.Contains(got.String(), "\tgetAcl [-s] path\n") {
		t.Errorf("--help: exit code %d\n%s", exit, got.String())
	}
}

// Redo: the command runs again and stands in the history in place of the redo.
func TestRedo(t *testing.T) {
	f := &fakeServer{}
	startFake(t, f, listen(t), func(op proto.OpCode, body []byte) (proto.ErrCode, []byte) {
		return proto.OK, jute.AppendInt32(nil, 42)
	})
	var got bytes.Buffer
	script := "getAllChildrenNumber /\nredo 0\nredo 1\nredo 4\nredo 3\nredo 9\nhistory\n"
	if exit := Main([]string{"-server", f.addr}, strings.NewReader(script), &got, &got); exit != 0 {
		t.Errorf("exit code %d", exit)
	}
	_, session, _ := strings.Cut(normalise(got.String()), "zxid: N\n")
	check(t, "session", regexpPrompt.ReplaceAllString(session, "> "), `> 42
> 42
> 42
> Command index out of range
> No redoing redos
> Command index out of range
> 0 - getAllChildrenNumber /
1 - getAllChildrenNumber /
2 - getAllChildrenNumber /
3 - redo 4
4 - redo 3
5 - redo 9
6 - history
> `)
}

// Completion asks the server for the names below the last slash.
func TestCompletion(t *testing.T) {
	f := &fakeServer{}
	startFake(t, f, listen(t), func(op proto.OpCode, body []byte) (proto.ErrCode, []byte) {
		d := jute.NewDecoder(body, 0)
		names := map[string][]string{"/": {"app", "apple", "zoo"}, "/zoo": {"keeper", "ü"}}[string(d.Buffer())]
		if op == proto.OpExists {
			return proto.OK, (&proto.Stat{NumChildren: int32(len(names))}).Append(nil)
		}
		if names == nil {
			return proto.ErrNoNode, nil
		}
		reply := jute.AppendInt32(nil, int32(len(names)))
		for _, n := range names {
			reply = jute.AppendString(reply, n)
		}
		return proto.OK, reply
	})
	s := newShell(context.Background(), options{server: f.addr, timeout: 10 * time.Second}, &bytes.Buffer{}, &bytes.Buffer{})
	defer s.end()
	if _, err := s.client("/"); err != nil {
		t.Fatal(err)
	}
	c := &completer{s}
	one := func(line string, length int, want ...string) {
		t.Helper()
		rest, n := c.Do([]rune(line+"tail"), len([]rune(line)))
		var got []string
		for _, r := range rest {
			got = append(got, string(r))
		}
		if n != length || strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%q: %q, %d", line, got, n)
		}
	}
	one("getA", 4, "cl ", "llChildrenNumber ")
	one("qu", 2, "it ")
	one("ls /", 1, "app", "apple", "zoo")
	one("ls /ap", 3, "p", "ple")
	one("ls /appl", 5, "e ")
	one(`ls "/appl`, 5, `e" `)
	one("ls /z", 2, "oo/")
	one("ls /zoo/k", 6, "eeper ")
	one("ls /zoo/ü", 6, " ")
	one("ls /none/x", 7)
}

// TLS as a Java client is configured for it: by a file or by -D words; in the clear never.
func TestSecure(t *testing.T) {
	dir := t.TempDir()
	store, cert := selfSigned(t, dir)
	l := tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{cert}})
	f := &fakeServer{}
	startFake(t, f, l, func(op proto.OpCode, body []byte) (proto.ErrCode, []byte) { return proto.OK, jute.AppendInt32(nil, 7) })

	props := filepath.Join(dir, "client.cfg")
	text := "zookeeper.client.secure=true\nzookeeper.ssl.trustStore.location=" + store + "\nzookeeper.client.foo=false\n"
	if err := os.WriteFile(props, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errOut, exit := run(f.addr, "-client-configuration", props, "getAllChildrenNumber", "/")
	check(t, "out", normalise(out), connected+"7\n")
	check(t, "err", errOut, "Warning: "+props+": not used here: zookeeper.client.foo\n")
	if exit != 0 {
		t.Errorf("exit code %d", exit)
	}

	t.Setenv("CLIENT_JVMFLAGS", "-Xmx1g -Dzookeeper.client.secure=true -Dzookeeper.ssl.trustStore.location="+store+" -Dzookeeper.ssl.hostnameVerification=false")
	if out, _, exit := run(f.addr, "getAllChildrenNumber", "/"); exit != 0 {
		t.Errorf("exit code %d\n%s", exit, out)
	}
	// The authority still counts: without the trust store the certificate is a stranger's.
	t.Setenv("CLIENT_JVMFLAGS", "-Dzookeeper.client.secure=true -Dzookeeper.ssl.hostnameVerification=false")
	if _, errOut, exit := run(f.addr, "getAllChildrenNumber", "/"); exit != 1 || !strings.Contains(errOut, "ConnectionLoss") {
		t.Errorf("exit code %d\n%s", exit, errOut)
	}
	t.Setenv("CLIENT_JVMFLAGS", "-Dzookeeper.client.secure=true -Dzookeeper.ssl.trustStore.location="+props)
	if _, errOut, exit := run(f.addr, "getAllChildrenNumber", "/"); exit != 2 || !strings.Contains(errOut, "neither PEM nor PKCS12 nor JKS") {
		t.Errorf("exit code %d\n%s", exit, errOut)
	}
}

// selfSigned makes a certificate for 127.0.0.1 and a PEM store with it.
func selfSigned(t *testing.T, dir string) (store string, cert tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	store = filepath.Join(dir, "store.pem")
	if err := os.WriteFile(store, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return store, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
