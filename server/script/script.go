package script

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"zabra.dev/zabra/server"
)

// Names of the programs.
const (
	ServerName     = "zkServer.sh"
	InitializeName = "zkServer-initialize.sh"
)

// ProcessName is argument 0 of the servers that start and start-foreground run; scripts in the wild look
// for QuorumPeerMain in the process list. The binary must take it for its own name.
const ProcessName = "zabra:QuorumPeerMain"

// Invocation is one call of a script.
type Invocation struct {
	Args    []string // Args[0] is the name it was called by, which chooses the program
	Env     []string // NAME=VALUE; the last of a name counts
	Stdout  io.Writer
	Stderr  io.Writer
	Version string // text behind "Zookeeper version: " in four-letter words: V, built on DATE

	// Executable is the binary that "server CFG" starts a server with. Empty: this process's own.
	Executable string
	// Exec replaces the process, for start-foreground. Nil: execve.
	Exec func(path string, argv, env []string) error

	stopTime time.Duration // shorter than the constant in tests
}

// Times that bound the waiting of start and stop.
const (
	aliveTime = time.Second      // a server that reports nothing counts as started when it lives so long
	startTime = 60 * time.Second // one that reports it is starting has so long to become ready or end
	stopTime  = 30 * time.Second // a server has so long to end
)

// program is the state of a call.
type program struct {
	Invocation
	env     *environment
	binDir  string // absolute directory of the script
	confDir string
	cfg     string // path of zoo.cfg as printed
	named   bool   // zoo.cfg was asked for by name, so it must exist
}

// Main is Run with this binary as server and its version.
func Main(argv, env []string, stdout, stderr io.Writer) int {
	return Run(Invocation{Args: argv, Env: env, Stdout: stdout, Stderr: stderr, Version: server.Version()})
}

// Run runs the script that the base name of in.Args[0] says and returns its exit code. For start-foreground
// it does not return when the exec succeeds.
func Run(in Invocation) int {
	p := &program{Invocation: in, env: newEnvironment(in.Env)}
	if p.Exec == nil {
		p.Exec = syscall.Exec
	}
	if p.stopTime == 0 {
		p.stopTime = stopTime
	}
	p.binDir = binDir(in.Args[0])
	args := p.configure(in.Args[1:])
	if filepath.Base(in.Args[0]) == InitializeName {
		return p.initialize(args)
	}
	command, file := "", ""
	if len(args) > 0 {
		command = args[0]
	}
	if len(args) > 1 {
		file = args[1]
	}
	p.chooseConfig(file)
	return p.run(command)
}

// Handles reports whether Run answers to a program of that name.
func Handles(name string) bool {
	base := filepath.Base(name)
	return base == ServerName || base == InitializeName
}

// binDir is the absolute directory of the script, as the shell's "cd; pwd" gives it: the last symbolic link
// is not followed.
func binDir(arg0 string) string {
	path := arg0
	if !strings.Contains(path, "/") {
		if found, err := exec.LookPath(path); err == nil {
			path = found
		}
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return filepath.Dir(path)
	}
	return dir
}

func (p *program) run(command string) int {
	p.header()
	switch command {
	case "start":
		return p.start()
	case "start-foreground":
		return p.startForeground()
	case "stop":
		return p.stop()
	case "restart":
		// Each half prints the header again, as the original does by calling itself.
		if code := p.run("stop"); code != 0 {
			return code
		}
		return p.run("start")
	case "status":
		return p.status()
	case "version":
		version, date, _ := strings.Cut(p.Version, ", built on ")
		p.say("Apache ZooKeeper, version %s %s", version, date)
		return 0
	case "print-cmd":
		p.printCommand()
		return 0
	}
	p.complain("Usage: %s [--config <conf-dir>] {start|start-foreground|stop|version|restart|status|print-cmd}", p.Args[0])
	return 0
}

// header prints on standard error how JMX is set up and which configuration is used, as scripts expect.
// Nothing here serves JMX.
func (p *program) header() {
	orElse := func(name, value string) string {
		if v := p.env.get(name); v != "" {
			return v
		}
		return value
	}
	switch disable, port := p.env.get("JMXDISABLE"), p.env.get("JMXPORT"); {
	case disable != "" && disable != "false":
		p.complain("JMX disabled by user request")
	case port == "":
		p.complain("ZooKeeper JMX enabled by default")
	default:
		p.complain("ZooKeeper JMX enabled by default")
		p.complain("ZooKeeper remote JMX Port set to %s", port)
		p.complain("ZooKeeper remote JMX authenticate set to %s", orElse("JMXAUTH", "false"))
		p.complain("ZooKeeper remote JMX ssl set to %s", orElse("JMXSSL", "false"))
		p.complain("ZooKeeper remote JMX log4j set to %s", orElse("JMXLOG4J", "true"))
		if host := p.env.get("JMXHOSTNAME"); host != "" {
			p.complain("ZooKeeper remote JMX Hostname set to %s", host)
		}
	}
	p.complain("Using config: %s", p.cfg)
}

// say prints a line on standard output, sayPart the beginning of one, complain a line on standard error.
func (p *program) say(format string, args ...any) { fmt.Fprintf(p.Stdout, format+"\n", args...) }

func (p *program) sayPart(text string) { fmt.Fprint(p.Stdout, text) }

func (p *program) complain(format string, args ...any) { fmt.Fprintf(p.Stderr, format+"\n", args...) }

// hint is a line on standard error that the original does not have.
func (p *program) hint(format string, args ...any) { p.complain(ServerName+": "+format, args...) }

// executable is the binary that runs servers.
func (p *program) executable() (string, error) {
	if p.Executable != "" {
		return p.Executable, nil
	}
	return os.Executable()
}

// serverArgs is the command line of the server.
func (p *program) serverArgs() []string {
	if p.missing() && !p.named {
		return []string{ProcessName, "server"}
	}
	return []string{ProcessName, "server", p.cfg}
}

func (p *program) printCommand() {
	path, err := p.executable()
	if err != nil {
		path = "zabra"
	}
	quoted := []string{`"` + path + `"`}
	for _, a := range p.serverArgs()[1:] {
		quoted = append(quoted, `"`+a+`"`)
	}
	p.say(`%s > "%s" 2>&1 < /dev/null`, strings.Join(quoted, " "), p.outputPath())
}
