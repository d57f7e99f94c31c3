package admin

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/config"
	"zabra.dev/zabra/server/fourlw"
)

const restoreInterval = 5 * time.Minute

// testClock is a clock that tests set.
type testClock struct {
	mu sync.Mutex // guards at
	at time.Duration
}

func (c *testClock) add(d time.Duration) {
	c.mu.Lock()
	c.at += d
	c.mu.Unlock()
}

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Unix(1_700_000_000, 0).Add(c.at)
}

func TestRateLimiter(t *testing.T) {
	l := rateLimiter{interval: time.Second}
	at := time.Unix(100, 0)
	for i, step := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {0, false}, {time.Second, false}, {1, true}, {500 * time.Millisecond, false}, {time.Second, true}} {
		at = at.Add(step.after)
		if got := l.allow(at); got != step.want {
			t.Errorf("call %d: %v", i, got)
		}
	}
}

// TestAuthorization: who has not all permissions on the root is told so; addresses come from where the
// settings say.
func TestAuthorization(t *testing.T) {
	f, opts := newFake(t), testOptions()
	f.rootACL = closedACL
	call := func(auth string, header http.Header) (int, string) {
		a := newAdminServer(opts, f, discardLog())
		r := httptest.NewRequest(http.MethodGet, "/commands/snapshot?streaming=false", nil)
		r.RemoteAddr = "10.0.0.9:4711"
		for k, v := range header {
			r.Header[k] = v
		}
		if auth != "" {
			r.Header.Set("Authorization", auth)
		}
		w := httptest.NewRecorder()
		a.handle(w, r)
		return w.Code, w.Body.String()
	}
	if code, body := call("digest a:b", nil); code != http.StatusForbidden || !strings.Contains(body, `"error" : "Not authorized"`) {
		t.Errorf("%d %s", code, body)
	}
	for _, auth := range []string{"digest", "world x", "super x", "ensemble"} {
		if code, body := call(auth, nil); code != http.StatusUnauthorized || !strings.Contains(body, `"error" : "Not authenticated"`) {
			t.Errorf("%s: %d %s", auth, code, body)
		}
	}
	allow := func(address string) {
		f.rootACL = proto.RawACLs(proto.AppendACLs(nil, []proto.ACL{{Perms: proto.PermAll, Scheme: "ip", ID: address}}))
	}
	allow("10.0.0.9")
	if code, body := call("ip", nil); code != http.StatusOK {
		t.Errorf("ip: %d %s", code, body)
	}
	forwarded := http.Header{"X-Forwarded-For": {"10.0.0.7, 10.0.0.8"}}
	allow("10.0.0.8")
	if code, _ := call("ip", forwarded); code != http.StatusForbidden {
		t.Errorf("a forwarded address counts although it must not: %d", code)
	}
	opts.UseForwardedFor = true
	if code, body := call("ip", forwarded); code != http.StatusOK {
		t.Errorf("forwarded: %d %s", code, body)
	}
	allow("10.0.0.7")
	if code, _ := call("ip", forwarded); code != http.StatusForbidden {
		t.Errorf("an address that the client itself may have written counts: %d", code)
	}
}

func TestSwitches(t *testing.T) {
	f := newFake(t)
	f.snapshotBytes = []byte("x")
	status := func(change func(*Options), method, path string) int {
		opts := testOptions()
		change(&opts)
		r := httptest.NewRequest(method, path, strings.NewReader("x"))
		r.Header.Set("Authorization", "digest a:b")
		w := httptest.NewRecorder()
		newAdminServer(opts, f, discardLog()).handle(w, r)
		return w.Code
	}
	for _, c := range []struct {
		name   string
		change func(*Options)
		method string
		path   string
		want   int
	}{
		{"snapshot", func(*Options) {}, "GET", "/commands/snap", 200},
		{"snapshot off", func(o *Options) { o.SnapshotEnabled = false }, "GET", "/commands/snapshot", 503},
		{"snapshot without zxid", func(o *Options) { o.LastZxidKept = false }, "GET", "/commands/snapshot", 500},
		{"restore", func(*Options) {}, "POST", "/commands/rest", 200},
		{"restore off", func(o *Options) { o.RestoreEnabled = false }, "POST", "/commands/restore", 503},
		{"restore without zxid", func(o *Options) { o.LastZxidKept = false }, "POST", "/commands/restore", 500},
		{"other URL", func(o *Options) { o.CommandURL = "/zk/admin" }, "GET", "/zk/admin/ruok", 200},
		{"other URL, old one", func(o *Options) { o.CommandURL = "/zk" }, "GET", "/commands/ruok", 404},
		{"like the URL", func(*Options) {}, "GET", "/commandsx", 404},
		{"root URL", func(o *Options) { o.CommandURL = "" }, "GET", "/ruok", 200},
	} {
		if got := status(c.change, c.method, c.path); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	f.snapshotErr = errors.New("disk full")
	if got := status(func(*Options) {}, "GET", "/commands/snapshot"); got != 500 {
		t.Errorf("failing snapshot: %d", got)
	}
}

// TestAliases: every alias answers under the primary name.
func TestAliases(t *testing.T) {
	f := newFake(t)
	f.conf = []fourlw.Pair{{Key: "clientPort", Value: "1"}, {Key: "tickTime", Value: "2"}, {Key: "maxClientCnxns", Value: "3"},
		{Key: "minSessionTimeout", Value: "4"}, {Key: "maxSessionTimeout", Value: "5"}, {Key: "serverId", Value: "0"}, {Key: "clientPortListenBacklog", Value: "-1"}}
	a := newAdminServer(testOptions(), f, discardLog())
	n := 0
	for name, c := range a.commands {
		if c.post || c.authorized {
			continue
		}
		n++
		want := `"command" : "` + c.name + `"`
		if got := get(a, "/commands/"+name).Body.String(); strings.Count(got, want) != 1 {
			t.Errorf("%s: %s", name, got)
		}
	}
	if n < 40 {
		t.Errorf("%d names", n)
	}
	if strings.Join(f.resets, "") == "" {
		t.Error("nothing was reset")
	}
}

func TestConnectionWithoutSession(t *testing.T) {
	f := newFake(t)
	f.conns = []fourlw.Conn{{Addr: netip.MustParseAddrPort("[::1]:5"), LastOp: "NA", Secure: true}}
	got := get(newAdminServer(testOptions(), f, discardLog()), "/commands/cons").Body.String()
	for _, want := range []string{`"connections" : [ ],`, `"secure_connections" : [ {`, `"remote_socket_address" : "[::1]:5"`, `"last_cxid" : -1`, `"last_zxid" : -1`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestStrings(t *testing.T) {
	got := string(appendJSON(nil, object{{"a\"b\\c", "é\n\t\r\b\f\x01/<\xff\u2028"}, {"n", nil}, {"b", true}, {"o", object{}}}))
	want := "{\n  \"a\\\"b\\\\c\" : \"é\\n\\t\\r\\b\\f\\u0001/<\ufffd\u2028\",\n  \"n\" : null,\n  \"b\" : true,\n  \"o\" : { }\n}"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestStart goes over a real socket: the port is bound, taken ports are refused with Java's text, HEAD
// has the length of GET, Stop frees the port.
func TestStart(t *testing.T) {
	f := newFake(t)
	a, err := Start(testOptions(), f, discardLog())
	if err != nil {
		t.Fatal(err)
	}
	addr := a.Addr().(*net.TCPAddr)
	taken := testOptions()
	taken.Port = addr.Port
	if _, err := Start(taken, f, discardLog()); err == nil ||
		!strings.Contains(err.Error(), "Problem starting AdminServer on address 127.0.0.1, port "+strconv.Itoa(addr.Port)+" and command URL /commands") {
		t.Errorf("taken port: %v", err)
	}
	resp, err := http.Head("http://" + addr.String() + "/commands/ruok")
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if resp.StatusCode != http.StatusOK || resp.ContentLength != 42 {
		t.Errorf("HEAD: %d, %d bytes", resp.StatusCode, resp.ContentLength)
	}
	if err := a.Stop(); err != nil {
		t.Error(err)
	}
	again, err := Start(taken, f, discardLog())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Stop(); err != nil {
		t.Error(err)
	}
}

func TestFromConfig(t *testing.T) {
	p, err := config.ParseProperties([]byte("dataDir=./d\nclientPort=1\nsnapCount=77\nadmin.serverPort=18080\nadmin.commandURL=/c/\nadmin.rateLimiterIntervalInMS=5000\n" +
		"ssl.keyStore.password=geheim\nzookeeper.DigestAuthenticationProvider.superDigest=x\nDigestAuthenticationProvider.superDigest=super:geheim\njute.maxbuffer=4096\n"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Parse(p, config.Source{})
	if err != nil {
		t.Fatal(err)
	}
	o, err := FromConfig(cfg, []byte("text"), discardLog())
	if err != nil {
		t.Fatal(err)
	}
	if o.Host != "0.0.0.0" || o.Port != 18080 || o.CommandURL != "/c" || o.RateLimitInterval != 5*time.Second || o.InitialConfig != "text" || !o.LastZxidKept {
		t.Errorf("%+v", o)
	}
	got := map[string]string{}
	for _, p := range o.Properties {
		got[p.Key] = p.Value
		if strings.Contains(p.Value, "geheim") {
			t.Errorf("%s tells a secret", p.Key)
		}
	}
	if got["zookeeper.snapCount"] != "77" || got["jute.maxbuffer"] != "4096" || got["zookeeper.ssl.keyStore.password"] == "" || got["java.version"] == "" {
		t.Errorf("%v", got)
	}
	if _, ok := got["zookeeper.clientPort"]; ok {
		t.Error("clientPort is no system property")
	}
}
