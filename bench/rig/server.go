package rig

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrNotServing reports a server that ended, or did not serve in time.
var ErrNotServing = errors.New("rig: server does not serve")

// A Server is one server process, running or not.
type Server struct {
	kind     Kind
	dir      string
	port     int
	settings []map[string]string

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // of its end; valid after done
}

// Addr returns the client address, host:port.
func (s *Server) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// PID returns the id of the process that was started last, 0 before the first.
func (s *Server) PID() int {
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

// DataDir returns the server's folder.
func (s *Server) DataDir() string { return s.dir }

// spawn starts every child on one locked thread: the kernel ends the children with the thread that started them, so it
// must last as long as this process.
var spawn = sync.OnceValue(func() chan<- func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
})

// Start starts the process and does not wait for it to serve.
func (s *Server) Start() error {
	cfg := filepath.Join(s.dir, "zoo.cfg")
	if err := os.WriteFile(cfg, []byte(configText(s.settings)), 0o644); err != nil {
		return fmt.Errorf("rig: %w", err)
	}
	args := make([]string, len(s.kind.Command))
	for i, a := range s.kind.Command {
		switch a {
		case "CFG":
			a = cfg
		case "ADDR":
			a = s.Addr()
		}
		args[i] = a
	}
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("rig: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	endWithParent(cmd)
	errc := make(chan error)
	spawn() <- func() { errc <- cmd.Start() }
	if err := <-errc; err != nil {
		return fmt.Errorf("rig: start %s: %w", s.kind.Name, err)
	}
	s.cmd, s.done = cmd, make(chan struct{})
	done := s.done
	go func() { // ends with the process
		s.err = cmd.Wait()
		close(done)
	}()
	return nil
}

func (s *Server) logPath() string { return filepath.Join(s.dir, "log") }

// WaitServing waits until the server says that it serves.
func (s *Server) WaitServing(timeout time.Duration) error {
	until := time.Now().Add(timeout)
	for {
		if serving(s.Addr()) {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("%w: %s ended: %v; the end of its log:\n%s", ErrNotServing, s.kind.Name, s.err, s.logTail())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(until) {
			return fmt.Errorf("%w: %s after %v; the end of its log:\n%s", ErrNotServing, s.kind.Name, timeout, s.logTail())
		}
	}
}

// serving asks the server at addr.
func serving(addr string) bool {
	const patience = 500 * time.Millisecond
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience)) // a dead connection fails below
	if _, err := io.WriteString(c, "srvr"); err != nil {
		return false
	}
	b, _ := io.ReadAll(c) // what came before an error counts
	return strings.Contains(string(b), "Mode: ")
}

// Kill ends the process at once, as a crash would, and waits for its end. It does nothing when the process has ended
// or was never started.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Terminate asks the process to end and waits; after timeout it kills.
func (s *Server) Terminate(timeout time.Duration) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-s.done:
	case <-time.After(timeout):
		s.Kill()
	}
}

func (s *Server) end(sig os.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig) // it may have ended
	<-s.done
}

func (s *Server) logTail() string {
	b, _ := os.ReadFile(s.logPath())
	if len(b) > 2000 {
		b = b[len(b)-2000:]
	}
	return string(b)
}
