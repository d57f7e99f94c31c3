package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReconfigFiles walks through what a server writes from its first ensemble start to a second
// configuration. Source of the expected texts: a recorded ensemble of Java servers, but for comments and
// order, which a Java server loses.
func TestReconfigFiles(t *testing.T) {
	const original = "# operator comment\ntickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/srv/zk/rc/1/data\nclientPort=21251\n" +
		"clientPortAddress=127.0.0.1\n4lw.commands.whitelist=*\nreconfigEnabled=true\nstandaloneEnabled=false\nskipACL=yes\n" +
		"server.1=127.0.0.1:21261:21271:participant;127.0.0.1:21251\n" +
		"server.2=127.0.0.1:21262:21272:participant;127.0.0.1:21252\n" +
		"server.3=127.0.0.1:21263:21273:participant;127.0.0.1:21253\n"
	dir := layout(t, map[string]string{"zoo.cfg": original})
	path := filepath.Join(dir, "zoo.cfg")
	p, err := ParseProperties([]byte(original))
	if err != nil {
		t.Fatal(err)
	}
	q, err := ParseQuorum(p, false)
	if err != nil {
		t.Fatal(err)
	}
	q.Version = 0x100000000
	if err := BackupStatic(path); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path+".bak"); got != original {
		t.Errorf("backup %q", got)
	}
	if err := WriteNext(path, q.Lines(), q.Version); err != nil {
		t.Fatal(err)
	}
	const members = "server.1=127.0.0.1:21261:21271:participant;127.0.0.1:21251\n" +
		"server.2=127.0.0.1:21262:21272:participant;127.0.0.1:21252\n" +
		"server.3=127.0.0.1:21263:21273:participant;127.0.0.1:21253"
	if got := read(t, path+".dynamic.next"); got != members+"\nversion=100000000" {
		t.Errorf("next file %q", got)
	}
	for i := range 2 { // removing twice is no error
		if err := RemoveNext(path); err != nil {
			t.Fatal(i, err)
		}
	}
	for _, version := range []uint64{0x100000000, 0x100000004} {
		if version == 0x100000004 {
			q.Members = q.Members[:2]
		}
		name, err := WriteDynamic(path, q.Lines(), version)
		if err != nil {
			t.Fatal(err)
		}
		if want := DynamicPathOf(path, version); name != want {
			t.Errorf("name %s, want %s", name, want)
		}
		if got := read(t, name); got != strings.Join(strings.Split(members, "\n")[:len(q.Members)], "\n") {
			t.Errorf("dynamic file %q", got)
		}
		if err := RewriteStatic(path, name, true); err != nil {
			t.Fatal(err)
		}
		real, err := filepath.EvalSymlinks(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := read(t, path), "# operator comment\ntickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/srv/zk/rc/1/data\n"+
			"4lw.commands.whitelist=*\nreconfigEnabled=true\nstandaloneEnabled=false\nskipACL=yes\ndynamicConfigFile="+real+"\n"; got != want {
			t.Errorf("rewritten\n%s\nwant\n%s", got, want)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".tmp") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

func TestAppendRewritten(t *testing.T) {
	f := func(text string, erase bool, want string) {
		t.Helper()
		got, err := AppendRewritten(nil, []byte(text), "/d", erase)
		if err != nil || string(got) != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	const pointer = "dynamicConfigFile=/d\n"
	f("", false, pointer)
	f("clientPort=1\nclientPortAddress=h", false, "clientPort=1\nclientPortAddress=h\n"+pointer)
	f("clientPort=1\nclientPortAddress=h", true, pointer)
	f("a=1\\\n  2\nserver.1=h:1:2;\\\n  2181\nb=3", false, "a=1\\\n  2\nb=3\n"+pointer)
	f("peerType=observer\nversion=3\ngroup.1=1\nweight.1=2\ndynamicConfigFile=/old\n#end", false, "#end\n"+pointer)
	f("a=1\r\nserver.1=h:1:2\r\nb=2\r\n", false, "a=1\r\nb=2\r\n"+pointer)
	f("a=1\\", false, "a=1\\\n\n"+pointer)
	if got, err := AppendRewritten(nil, nil, ` C:\zk ä`, false); err != nil || string(got) != `dynamicConfigFile=\ C:\\zk \u00E4`+"\n" {
		t.Errorf("%q %v", got, err)
	}
}

// TestWriteFileAtomic: mode and symbolic link of an existing file stay; a failure leaves the old file and
// no temporary one.
func TestWriteFileAtomic(t *testing.T) {
	dir := layout(t, map[string]string{"real/zoo.cfg": "old"})
	real, link := filepath.Join(dir, "real/zoo.cfg"), filepath.Join(dir, "zoo.cfg")
	if err := os.Chmod(real, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real/zoo.cfg", link); err != nil {
		t.Fatal(err)
	}
	if err := WriteFileAtomic(link, []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
	if info, err = os.Stat(real); err != nil || info.Mode().Perm() != 0o600 || read(t, real) != "new" {
		t.Errorf("%v %v %q", info.Mode(), err, read(t, real))
	}
	if err := WriteFileAtomic(filepath.Join(dir, "absent/zoo.cfg"), nil, 0o644); err == nil {
		t.Error("written into a directory that does not exist")
	}
	if err := WriteFileAtomic(filepath.Join(dir, "real"), []byte("x"), 0o644); err == nil {
		t.Error("a directory was replaced by a file")
	}
	if _, err := os.Stat(filepath.Join(dir, "real.tmp")); err == nil {
		t.Error("the temporary file was left behind")
	}
}
