package script

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"zabra.dev/zabra/server/config"
)

// checkDirectories is the check of ZOO_DATADIR_AUTOCREATE_DISABLE: with it set, directories that nobody
// initialised end the start. It also hands the setting on to the server.
func (p *program) checkDirectories(props *config.Properties) bool {
	if p.env.get("ZOO_DATADIR_AUTOCREATE_DISABLE") == "" {
		return true
	}
	for _, d := range []struct{ what, dir string }{{"data", value(props, "dataDir")}, {"txnlog", value(props, "dataLogDir")}} {
		if (d.dir != "" || d.what == "data") && !initialized(d.dir) {
			p.say("ZooKeeper %s directory is missing at %s fix the path or run initialize", d.what, d.dir)
			return false
		}
	}
	p.env.set("SERVER_JVMFLAGS", "-Dzookeeper.datadir.autocreate=false "+p.env.get("SERVER_JVMFLAGS"))
	return true
}

// start runs a server in the background and waits until it is known whether it came up.
func (p *program) start() int {
	props := p.properties()
	if !p.checkDirectories(props) {
		return 1
	}
	p.sayPart("Starting zookeeper ... ")
	if value(props, "dataDir") == "" {
		p.say("FAILED TO START")
		p.hint("dataDir is not set in %s", p.cfg)
		return 1
	}
	pidPath := p.pidPath(props)
	switch proc, err := readPID(pidPath); {
	case err != nil && !os.IsNotExist(err):
		p.hint("%s: %v; it is replaced", pidPath, err)
	case proc.foreign != "":
		p.hint("%s names process %d, which is another program (%s); it is replaced", pidPath, proc.pid, proc.foreign)
	case proc.running:
		p.say("already running as process %d.", proc.pid)
		return 1
	}
	// The pid file is opened first: a server that nobody could stop is not started.
	pidFile, err := create(pidPath)
	if err != nil {
		p.say("FAILED TO WRITE PID")
		p.hint("%v", err)
		return 1
	}
	defer pidFile.Close()
	failed := func(format string, args ...any) int {
		p.say("FAILED TO START")
		p.hint(format, args...)
		// A file that names no running server would only mislead the next stop.
		if err := os.Remove(pidPath); err != nil {
			p.hint("%v", err)
		}
		return 1
	}
	output, err := create(p.outputPath())
	if err != nil {
		return failed("%v; set ZOO_LOG_DIR to a directory that can be written to", err)
	}
	defer output.Close()
	cmd, reports, err := p.launch(output)
	if err != nil {
		return failed("%v", err)
	}
	defer reports.Close()
	if _, err := pidFile.WriteString(strconv.Itoa(cmd.Process.Pid)); err != nil {
		p.say("FAILED TO WRITE PID")
		p.hint("%v; the server is ended again", err)
		if err := cmd.Process.Kill(); err == nil {
			_ = cmd.Wait() // reaped; its exit status says nothing new
		}
		return 1
	}
	if status := awaitStart(cmd, reports); status != "" {
		return failed("the server ended (%s); %s", status, p.lastOutput())
	}
	p.say("STARTED")
	return 0
}

// create makes an empty file that everybody may read, and its directory when that is missing.
func create(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
}

// launch starts the server in a session of its own. reports is the end of the pipe to read what its
// Notifier says; it reaches end of file when the server ends.
func (p *program) launch(output *os.File) (cmd *exec.Cmd, reports *os.File, err error) {
	path, err := p.executable()
	if err != nil {
		return nil, nil, err
	}
	reports, theirs, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	p.env.set(notifyVariable, "3")
	cmd = &exec.Cmd{
		Path: path, Args: p.serverArgs(), Env: p.env.pairs(),
		Stdout: output, Stderr: output, ExtraFiles: []*os.File{theirs},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		reports.Close()
		return nil, nil, err
	}
	return cmd, reports, nil
}

// awaitStart waits until the server is ready, has ended or has lived long enough. It returns how the
// process ended, or an empty string when it lives.
func awaitStart(cmd *exec.Cmd, reports *os.File) (ended string) {
	deadline := time.Now().Add(aliveTime)
	var report [1]byte
	for {
		if err := reports.SetReadDeadline(deadline); err != nil {
			return exitStatus(cmd.Process.Pid, aliveTime)
		}
		_, err := reports.Read(report[:])
		switch {
		case errors.Is(err, io.EOF):
			return exitStatus(cmd.Process.Pid, aliveTime)
		case err != nil: // the deadline
			return exitStatus(cmd.Process.Pid, 0)
		case report[0] == notifyReady:
			return ""
		case report[0] == notifyStarting:
			deadline = time.Now().Add(startTime)
		}
	}
}

// pollTime is the pause between two looks at a process of which the end cannot be waited for.
const pollTime = 10 * time.Millisecond

// exitStatus gives a child the time to end and returns how it did; empty when it lives on.
func exitStatus(pid int, atMost time.Duration) string {
	for deadline := time.Now().Add(atMost); ; time.Sleep(pollTime) {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return err.Error()
		case got == pid && status.Signaled():
			return "signal: " + status.Signal().String()
		case got == pid:
			return fmt.Sprintf("exit code %d", status.ExitStatus())
		case !time.Now().Before(deadline):
			return ""
		}
	}
}

// lastOutput quotes the end of what the server printed.
func (p *program) lastOutput() string {
	const linesMax, bytesMax = 3, 2000
	path := p.outputPath()
	text, err := os.ReadFile(path)
	text = bytes.TrimSpace(text)
	if err != nil || len(text) == 0 {
		return "it printed nothing to " + path
	}
	lines := bytes.Split(text[max(0, len(text)-bytesMax):], []byte("\n"))
	return fmt.Sprintf("the end of %s:\n%s", path, bytes.Join(lines[max(0, len(lines)-linesMax):], []byte("\n")))
}

// startForeground becomes the server. With ZOO_NOEXEC it stays its parent and hands signals on.
func (p *program) startForeground() int {
	if !p.checkDirectories(p.properties()) {
		return 1
	}
	path, err := p.executable()
	if err != nil {
		p.hint("%v", err)
		return 1
	}
	if p.env.get("ZOO_NOEXEC") == "" {
		err := p.Exec(path, p.serverArgs(), p.env.pairs())
		if err != nil {
			p.hint("%s: %v", path, err)
			return 1
		}
		return 0 // only a test's Exec comes back
	}
	cmd := &exec.Cmd{Path: path, Args: p.serverArgs(), Env: p.env.pairs(), Stdin: os.Stdin, Stdout: p.Stdout, Stderr: p.Stderr}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		p.hint("%v", err)
		return 1
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			// The child may have ended meanwhile.
			_ = cmd.Process.Signal(s)
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				p.hint("%v", err)
				return 1
			}
			if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
				return 128 + int(status.Signal())
			}
			return cmd.ProcessState.ExitCode()
		}
	}
}
