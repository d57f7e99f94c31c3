//go:build interop

package interop

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
)

var (
	subjectFlag = flag.String("interop.subject", string(zabra), "server under test: zabra, or java38 or java39 to check the tours themselves")
	binaryFlag  = flag.String("interop.zabra", "", "a Zabra binary to test; without it one is built")
	raceFlag    = flag.Bool("interop.race", false, "build Zabra with the race detector")
	showFlag    = flag.Bool("interop.show", false, "print the transcripts")
)

const debianJars = "/usr/share/java"

// scratch is the folder of this run for what the tests compile.
var scratch string

// A tool is something that tours need and that may be missing.
type tool string

const (
	toolJava38  tool = "Java server and client 3.8 (Debian: zookeeper)"
	toolJava39  tool = "Java server and client 3.9 (Maven: org.apache.zookeeper:zookeeper)"
	toolJavac   tool = "JDK (javac)"
	toolZkCli   tool = "zkCli.sh (Debian: zookeeper)"
	toolCurator tool = "Curator (Debian: libcurator-recipes-java)"
	toolKazoo   tool = "kazoo (Debian: python3-kazoo)"
	toolSSH     tool = "sshd and ssh (Debian: openssh-server, openssh-client)"
	toolC       tool = "C client (Debian: libzookeeper-mt-dev, gcc)"
)

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func inPath(name string) bool { _, err := exec.LookPath(name); return err == nil }

func jar(name string) string { return filepath.Join(debianJars, name+".jar") }

// have reports whether the tool is on this machine; the answer is kept.
func have(t tool) bool {
	haveMu.Lock()
	defer haveMu.Unlock()
	if v, ok := haveTool[t]; ok {
		return v
	}
	v := false
	switch t {
	case toolJava38:
		v = inPath("java") && exists(jar("zookeeper")) && exists(jar("zookeeper-jute"))
	case toolJava39:
		v = inPath("java") && java39Dir() != ""
	case toolJavac:
		v = inPath("javac")
	case toolZkCli:
		v = exists("/usr/share/zookeeper/bin/zkCli.sh")
	case toolCurator:
		v = exists(jar("curator-recipes")) && exists(jar("curator-framework")) && exists(jar("curator-client"))
	case toolKazoo:
		v = exec.Command("/usr/bin/python3", "-c", "import kazoo").Run() == nil
	case toolSSH:
		v = exists(sshd) && inPath("ssh") && inPath("ssh-keygen")
	case toolC:
		v = inPath("cc") && exists("/usr/include/zookeeper/zookeeper.h")
	}
	haveTool[t] = v
	return v
}

var (
	haveMu   sync.Mutex // guards haveTool
	haveTool = map[tool]bool{}
)

// java39Dir returns the folder of the newest complete 3.9 that setup.sh has fetched, or "".
func java39Dir() string {
	cache := os.Getenv("ZABRA_INTEROP_CACHE")
	if cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return ""
		}
		cache = filepath.Join(base, "zabra-interop")
	}
	marks, _ := filepath.Glob(filepath.Join(cache, "zookeeper-3.9.*", ".complete"))
	if len(marks) == 0 {
		return ""
	}
	sort.Strings(marks)
	return filepath.Join(filepath.Dir(marks[len(marks)-1]), "lib")
}

// classpath lends the class path of a Java server (and of the client of its version).
func classpath(k kind) string {
	if k == java39 {
		return filepath.Join(java39Dir(), "*")
	}
	// The manifest of Debian's zookeeper.jar names the rest.
	return strings.Join([]string{jar("zookeeper"), jar("netty-codec"), jar("netty-resolver"),
		jar("netty-transport-native-unix-common"), jar("slf4j-simple")}, ":")
}

// subject is the server that stands in Zabra's place.
func subject() kind { return kind(*subjectFlag) }

// references are the Java servers at hand.
func references() []kind {
	var ks []kind
	if have(toolJava39) {
		ks = append(ks, java39)
	}
	if have(toolJava38) {
		ks = append(ks, java38)
	}
	if s := subject(); s != zabra {
		return []kind{s}
	}
	return ks
}

// notTested collects what this run left out, for the summary.
var notTested struct {
	mu    sync.Mutex // guards lines
	lines map[string]bool
}

func leaveOut(what string, why tool) {
	notTested.mu.Lock()
	defer notTested.mu.Unlock()
	if notTested.lines == nil {
		notTested.lines = map[string]bool{}
	}
	notTested.lines[fmt.Sprintf("%s: no %s", what, why)] = true
}

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "zabra-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
	scratch = dir
	code := m.Run()
	os.RemoveAll(dir)
	for _, r := range []struct {
		t tool
		v string
	}{{toolJava38, "comparison with Java 3.8"}, {toolJava39, "comparison with Java 3.9"}} {
		if !have(r.t) {
			leaveOut(r.v, r.t)
		}
	}
	fmt.Println("interop: compared with", references())
	if len(notTested.lines) == 0 {
		fmt.Println("interop: nothing was left out for want of a tool")
	}
	for l := range notTested.lines {
		fmt.Println("interop: NOT TESTED", l)
	}
	os.Exit(code)
}
