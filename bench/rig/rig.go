// Package rig knows the kinds of servers that are measured side by side, Debian's Java server, Zabra and a
// responder, and lays them out as ensembles of package local: with the same settings, on free loopback ports.
package rig

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"zabra.dev/zabra/server/local"
)

// ErrNoJava reports that there is no Java server on this machine.
var ErrNoJava = errors.New("rig: no Java ZooKeeper found")

// A Kind tells how to run one make of server.
type Kind struct {
	Name string
	// Command is the command line, with local.CFG and local.ADDR.
	Command []string
	// Config is written into zoo.cfg beside the common settings.
	Config map[string]string
}

// Zabra is the server of the binary.
func Zabra(binary string) Kind {
	return Kind{Name: "zabra", Command: []string{binary, "server", local.CFG}}
}

// Responder is the responder of the binary.
func Responder(binary string, dataBytes int) Kind {
	return Kind{Name: "ceiling", Command: []string{binary, "bench", "responder", "-addr", local.ADDR, "-data", strconv.Itoa(dataBytes)}}
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
	return Kind{Name: "java", Command: append(command, "-cp", classPath, javaMain, local.CFG)}, nil
}

// An Ensemble is a group of servers of one kind.
type Ensemble = local.Ensemble

// New prepares an ensemble of n servers of the kind below dir and starts nothing; one server is standalone. settings come
// on top of the common ones, a value "" removes a key. Who calls it must call Close.
func New(kind Kind, n int, dir string, settings map[string]string) (*Ensemble, error) {
	all := maps.Clone(kind.Config)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, settings)
	e, err := local.New(local.Options{Servers: n, Dir: filepath.Join(dir, kind.Name), Settings: all, Command: kind.Command})
	if err != nil {
		return nil, fmt.Errorf("rig: %s: %w", kind.Name, err)
	}
	return e, nil
}
