package local

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

var (
	// ErrRunning reports the start of a server that runs.
	ErrRunning = errors.New("local: the server is running")
	// ErrNotServing reports a server that ended, or did not serve in time.
	ErrNotServing = errors.New("local: server does not serve")
)

// pollTime is the pause between two questions to a server that is waited for.
const pollTime = 5 * time.Millisecond

// A Server is one server of an Ensemble.
type Server struct {
	ID       int
	Observer bool

	dir      string
	port     int
	command  []string
	members  map[string]string // server.N lines; none: standalone
	mu       sync.Mutex        // guards what follows
	settings []map[string]string
	proc     *process // the last one; nil before the first
}

// A process is one life of a server.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // of its end; valid after done
}

func (p *process) ended() bool {
	if p == nil {
		return true
	}
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Addr returns the client address, host:port.
func (s *Server) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// Dir returns the server's directory, DataDir its dataDir, Config the path of its zoo.cfg, Log that of its output.
func (s *Server) Dir() string     { return s.dir }
func (s *Server) DataDir() string { return filepath.Join(s.dir, "data") }
func (s *Server) Config() string  { return filepath.Join(s.dir, "zoo.cfg") }
func (s *Server) Log() string     { return filepath.Join(s.dir, "server.log") }

func (s *Server) process() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

// PID returns the id of the process that was started last, 0 before the first. It may have ended.
func (s *Server) PID() int {
	if p := s.process(); p != nil {
		return p.cmd.Process.Pid
	}
	return 0
}

// Start starts the process and does not wait for it to serve. ErrRunning: it runs already.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.proc.ended() {
		return fmt.Errorf("%w: server %d, process %d", ErrRunning, s.ID, s.proc.cmd.Process.Pid)
	}
	args := make([]string, len(s.command))
	for i, a := range s.command {
		switch a {
		case CFG:
			a = s.Config()
		case ADDR:
			a = s.Addr()
		}
		args[i] = a
	}
	log, err := os.OpenFile(s.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("local: %w", err)
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	if err := spawn(cmd); err != nil {
		return fmt.Errorf("local: start server %d: %w", s.ID, err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	s.proc = p
	go func() { // ends with the process
		p.err = cmd.Wait()
		close(p.done)
	}()
	return nil
}

// WaitServing waits until the server says that it serves. The error is ErrNotServing, with the end of the log.
func (s *Server) WaitServing(timeout time.Duration) error {
	until := time.Now().Add(timeout)
	for {
		st := s.Status()
		switch {
		case st.Mode != "":
			return nil
		case !st.Running:
			return fmt.Errorf("%w: server %d ended: %v; the end of %s:\n%s", ErrNotServing, s.ID, st.Err, s.Log(), s.LogTail(logTailLines))
		case time.Now().After(until):
			return fmt.Errorf("%w: server %d after %v; the end of %s:\n%s", ErrNotServing, s.ID, timeout, s.Log(), s.LogTail(logTailLines))
		}
		time.Sleep(pollTime)
	}
}

// Clear removes the data of a server that does not run, as if its disk had been replaced.
func (s *Server) Clear() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.proc.ended() {
		return fmt.Errorf("%w: server %d", ErrRunning, s.ID)
	}
	if err := os.RemoveAll(s.DataDir()); err != nil {
		return fmt.Errorf("local: %w", err)
	}
	return s.layOut()
}

// Kill ends the process at once, as a crash would, and waits for its end. It does nothing when the process has ended
// or was never started.
func (s *Server) Kill() {
	if p := s.process(); p != nil {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.done
	}
}

// Stop asks the process to end and waits; after timeout it kills and returns an error. It does nothing when the
// process has ended or was never started.
func (s *Server) Stop(timeout time.Duration) error {
	p := s.process()
	if p == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
		return nil
	case <-time.After(timeout):
		s.Kill()
		return fmt.Errorf("local: server %d did not end within %v of SIGTERM and was killed", s.ID, timeout)
	}
}

// Signal sends the process a signal, for example to pause it. It fails with os.ErrProcessDone when it has ended.
func (s *Server) Signal(sig os.Signal) error {
	p := s.process()
	if p == nil {
		return os.ErrProcessDone
	}
	return p.cmd.Process.Signal(sig)
}

// Ended returns a channel that is closed when the process that was started last has ended; nil before the first.
func (s *Server) Ended() <-chan struct{} {
	if p := s.process(); p != nil {
		return p.done
	}
	return nil
}

// logTailLines are the lines of a log that errors quote, logTailBytes how much of it is looked at.
const (
	logTailLines = 8
	logTailBytes = 16 << 10
)

// LogTail returns the last lines of the server's output, at most as many as given.
func (s *Server) LogTail(lines int) string {
	f, err := os.Open(s.Log())
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	b := make([]byte, min(fi.Size(), logTailBytes))
	n, err := f.ReadAt(b, fi.Size()-int64(len(b)))
	if n == 0 && err != nil {
		return err.Error()
	}
	if b = bytes.TrimSpace(b[:n]); len(b) == 0 {
		return "(nothing)"
	}
	all := bytes.Split(b, []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}
