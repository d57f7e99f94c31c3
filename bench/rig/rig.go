// Package rig starts server processes on this machine for measurements: Debian's Java server, Zabra, or a
// responder, alone or as an ensemble, all with the same settings and each in a folder of its own, on free loopback ports.
//
// It is for bench/. Whoever starts an Ensemble must call Close; the processes also end with the process that
// started them where the system allows that.
package rig

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// ErrNoJava reports that there is no Java server on this machine.
var ErrNoJava = errors.New("rig: no Java ZooKeeper found")

// A Kind tells how to run one make of server.
type Kind struct {
	Name string
	// Command is the command line; CFG stands for the path of zoo.cfg, ADDR for the client address.
	Command []string
	// Config is written into zoo.cfg beside the common settings.
	Config map[string]string
}

// Zabra is the server of the binary.
func Zabra(binary string) Kind {
	return Kind{Name: "zabra", Command: []string{binary, "server", "CFG"}}
}

// Responder is the responder of the binary.
func Responder(binary string, dataBytes int) Kind {
	return Kind{Name: "ceiling", Command: []string{binary, "bench", "responder", "-addr", "ADDR", "-data", strconv.Itoa(dataBytes)}}
}

// javaMain is the class of Java's server.
const javaMain = "org.apache.zookeeper.server.quorum.QuorumPeerMain"

// debianJars are what Debian's zookeeper.jar needs and its manifest does not name.
var debianJars = []string{"zookeeper", "netty-codec", "netty-resolver", "netty-transport-native-unix-common", "slf4j-simple"}

// Java is the Java server with the class path, Debian's when that is empty. flags are those of the virtual machine, such as
// -Xmx1000m, which is what upstream's zkServer.sh asks for; Debian's asks for nothing. Without Java or its server it
// is ErrNoJava.
func Java(classPath string, flags []string) (Kind, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return Kind{}, fmt.Errorf("%w: %w", ErrNoJava, err)
	}
	if classPath == "" {
		var jars []string
		for _, j := range debianJars {
			jars = append(jars, "/usr/share/java/"+j+".jar")
		}
		if _, err := os.Stat(jars[0]); err != nil {
			return Kind{}, fmt.Errorf("%w: install Debian's package zookeeper, or give a class path: %w", ErrNoJava, err)
		}
		classPath = strings.Join(jars, ":")
	}
	command := append([]string{java}, flags...)
	return Kind{Name: "java", Command: append(command, "-cp", classPath, javaMain, "CFG")}, nil
}

// baseConfig is common to all.
var baseConfig = map[string]string{
	"tickTime":               "2000",
	"initLimit":              "10",
	"syncLimit":              "5",
	"clientPortAddress":      "127.0.0.1",
	"maxClientCnxns":         "0",
	"admin.enableServer":     "false",
	"4lw.commands.whitelist": "*",
}

// An Ensemble is a group of servers that was started together; of one, when that is standalone.
type Ensemble struct {
	Kind    Kind
	Servers []*Server
}

// New prepares an ensemble of n servers of the kind below dir, which must exist, and starts nothing. settings come
// on top of the common ones, a value "" removes a key.
func New(kind Kind, n int, dir string, settings map[string]string) (*Ensemble, error) {
	ports, err := freePorts(3 * n)
	if err != nil {
		return nil, err
	}
	e := &Ensemble{Kind: kind}
	for i := range n {
		s := &Server{kind: kind, dir: filepath.Join(dir, fmt.Sprintf("%s-%d", kind.Name, i+1)), port: ports[3*i]}
		data := filepath.Join(s.dir, "data")
		if err := os.MkdirAll(data, 0o755); err != nil {
			return nil, fmt.Errorf("rig: %w", err)
		}
		own := map[string]string{"dataDir": data, "clientPort": strconv.Itoa(s.port)}
		if n > 1 {
			for j := range n {
				own[fmt.Sprintf("server.%d", j+1)] = fmt.Sprintf("127.0.0.1:%d:%d", ports[3*j+1], ports[3*j+2])
			}
			if err := os.WriteFile(filepath.Join(data, "myid"), []byte(strconv.Itoa(i+1)+"\n"), 0o644); err != nil {
				return nil, fmt.Errorf("rig: %w", err)
			}
		}
		s.settings = []map[string]string{baseConfig, kind.Config, own, settings}
		e.Servers = append(e.Servers, s)
	}
	return e, nil
}

// Set changes a setting of all servers, from their next start on.
func (e *Ensemble) Set(key, value string) {
	for _, s := range e.Servers {
		s.settings = append(s.settings, map[string]string{key: value})
	}
}

// Addrs returns the client addresses.
func (e *Ensemble) Addrs() []string {
	var all []string
	for _, s := range e.Servers {
		all = append(all, s.Addr())
	}
	return all
}

// Start starts all servers and waits until each serves, at most for timeout.
func (e *Ensemble) Start(timeout time.Duration) error {
	for _, s := range e.Servers {
		if err := s.Start(); err != nil {
			return err
		}
	}
	until := time.Now().Add(timeout)
	for _, s := range e.Servers {
		if err := s.WaitServing(time.Until(until)); err != nil {
			return err
		}
	}
	return nil
}

// Close ends all servers. Their folders stay.
func (e *Ensemble) Close() {
	for _, s := range e.Servers {
		s.Kill()
	}
}

// freePorts returns ports of the loopback address that nobody listened on a moment ago.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("rig: %w", err)
		}
		defer l.Close() // at the end, so that no port comes twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// configText is zoo.cfg of the settings, of which later ones replace earlier ones.
func configText(settings []map[string]string) string {
	all := map[string]string{}
	for _, m := range settings {
		for k, v := range m {
			all[k] = v
		}
	}
	var lines []string
	for k, v := range all {
		if v != "" {
			lines = append(lines, k+"="+v+"\n")
		}
	}
	sort.Strings(lines)
	return strings.Join(lines, "")
}
