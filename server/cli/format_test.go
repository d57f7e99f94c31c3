package cli

import (
	"errors"
	"slices"
	"testing"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

func TestHexDump(t *testing.T) {
	if got := hexDump([]byte{}); got != "" {
		t.Errorf("no data: %q", got)
	}
	got := hexDump([]byte("0123456789abcde\x00\x7fend"))
	want := `         +-------------------------------------------------+
         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |
+--------+-------------------------------------------------+----------------+
|00000000| 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 00 |0123456789abcde.|
|00000010| 7f 65 6e 64                                     |.end            |
+--------+-------------------------------------------------+----------------+`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestParseACL(t *testing.T) {
	var warnings []string
	acl := parseACL("world:anyone:cdrwa,digest:bob:x=:rq,ip:1.2.3.4/8:,bogus,a:b", func(s string) { warnings = append(warnings, s) })
	want := []proto.ACL{
		{Perms: 31, Scheme: "world", ID: "anyone"},
		{Perms: 1, Scheme: "digest", ID: "bob:x="},
		{Perms: 0, Scheme: "ip", ID: "1.2.3.4/8"},
	}
	if !slices.Equal(acl, want) {
		t.Errorf("%v", acl)
	}
	if !slices.Equal(warnings, []string{"Unknown perm type: q", "bogus does not have the form scheme:id:perm", "a:b does not have the form scheme:id:perm"}) {
		t.Errorf("%q", warnings)
	}
	if got := aclText(want[:2]); got != "'world,'anyone\n: cdrwa\n'digest,'bob:x=\n: r\n" {
		t.Errorf("%q", got)
	}
}

func TestQuotaText(t *testing.T) {
	f := func(in, out string) {
		t.Helper()
		q, err := parseQuota(in)
		if err != nil || q.String() != out {
			t.Errorf("%q: got %q, %v", in, q, err)
		}
	}
	f("", "count=-1,bytes=-1")
	f("count=5,bytes=8", "count=5,bytes=8")
	f("count=5,bytes=1000=;byteHardLimit=10;countHardLimit=100", "count=5,bytes=1000=;byteHardLimit=10;countHardLimit=100")
	f("bytes=1,,;count=", "count=-1,bytes=1")
	if _, err := parseQuota("count=x"); err == nil {
		t.Error("no error")
	}
}

func TestCheckPath(t *testing.T) {
	f := func(path, want string) {
		t.Helper()
		err := checkPath(path, false)
		if err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("%q: got %v, want %q", path, err, want)
		}
	}
	f("/", "")
	f("/a/b", "")
	f("", "Path length must be > 0")
	f("a", "Path must start with / character")
	f("/a/", "Path must not end with / character")
	f("/a//b", `Invalid path string "/a//b" caused by empty node name specified @3`)
	f("/a/./b", `Invalid path string "/a/./b" caused by relative paths not allowed @3`)
	f("/a/..", `Invalid path string "/a/.." caused by relative paths not allowed @4`)
	f("/a\x01", "Invalid path string \"/a\x01\" caused by invalid character @2")
	f("/\U0001f600\x01", "Invalid path string \"/\U0001f600\x01\" caused by invalid character @1")
	if err := checkPath("/a/", true); err != nil {
		t.Error(err)
	}
}

// Texts of errors (operations, section 2.4).
func TestDescribe(t *testing.T) {
	f := func(code proto.ErrCode, path, want string) {
		t.Helper()
		err := describe(&client.Error{Op: proto.OpCreate, Path: path, Err: code})
		var ce *commandError
		if !errors.As(err, &ce) || ce.text != want || ce.exitCode != 1 || !errors.Is(err, code) {
			t.Errorf("%v: got %v", code, err)
		}
	}
	f(proto.ErrNoNode, "/a", "Node does not exist: /a")
	f(proto.ErrBadVersion, "", "version No is not valid : ")
	f(proto.ErrReconfigDisabled, "", "KeeperErrorCode = Reconfig is disabled")
	f(proto.ErrNoWatcher, "/a", "KeeperErrorCode = No such watcher for /a")
	f(client.ErrConnectionLoss, "/a", "KeeperErrorCode = ConnectionLoss for /a")
	f(-3, "/a", "KeeperErrorCode = Unknown error DATAINCONSISTENCY for /a")
}

func TestClientAddresses(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := clientAddresses(text); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("", " ")
	f("server.1=a:1:2:participant\nserver.2=b:1:2:participant\nversion=0", "0 ,")
	f("server.1=a:1:2:participant;0.0.0.0:2181\nserver.2=b:1:2:observer;h:5\nserver.3=c:1:2;2183\nnonsense\nversion=10000000b",
		"10000000b 0.0.0.0:2181,h:5,0.0.0.0:2183")
}
