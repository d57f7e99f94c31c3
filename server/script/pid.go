package script

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// process is what a pid file refers to.
type process struct {
	pid     int
	running bool
	foreign string // command of a running process that is no ZooKeeper server; empty otherwise
}

var errNoPID = errors.New("does not hold a process id")

// readPID reads a pid file and looks the process up. The error is that of the read, or errNoPID.
func readPID(path string) (process, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return process{}, err
	}
	pid, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 32)
	if err != nil || pid < 1 {
		return process{}, errNoPID
	}
	proc := process{pid: int(pid)}
	if proc.running = alive(proc.pid); proc.running {
		if command, ok := commandOf(proc.pid); ok && !isServer(command) {
			proc.foreign = command[0]
		}
	}
	return proc, nil
}

// alive reports whether a process exists and is no zombie. One that belongs to another user exists.
func alive(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true // no /proc here
	}
	// The state follows the command in brackets, which may itself hold brackets.
	rest := stat[bytes.LastIndexByte(stat, ')')+1:]
	return !bytes.HasPrefix(bytes.TrimLeft(rest, " "), []byte("Z"))
}

// commandOf returns the command line of a process; ok is false where that cannot be known.
func commandOf(pid int) (args []string, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(text) == 0 {
		return nil, false
	}
	return strings.Split(strings.TrimRight(string(text), "\x00"), "\x00"), true
}

// isServer reports whether a command line is that of a ZooKeeper server, this or the Java one.
func isServer(args []string) bool {
	for _, a := range args {
		if strings.HasSuffix(a, "QuorumPeerMain") || strings.HasSuffix(a, "ZooKeeperServerMain") {
			return true
		}
	}
	if len(args) < 2 {
		return false
	}
	return filepath.Base(args[0]) == "zabra" && args[1] == "server" || Handles(args[0]) || Handles(args[1])
}
