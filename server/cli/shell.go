package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"zabra.dev/zabra/server/client"
)

// exitNotFound is the exit code of an unknown command.
const exitNotFound = 127

// historyLines is how many commands history prints in front of itself.
const historyLines = 10

// A shell executes commands. All its methods run on the goroutine of Main, except event,
// which the client's delivery goroutine calls; it uses only out and printWatches.
type shell struct {
	opts        options
	out, err    io.Writer
	interactive bool
	ctx         context.Context

	host         string         // what the prompt shows
	zk           *client.Client // nil before the first connection
	printWatches atomic.Bool
	history      []string // by command number; interactive only
	count        int      // of commands so far
	exitCode     int      // of the last command
	quit         bool     // no further commands
}

// A lockedWriter makes each Write a unit: results and events come from two goroutines.
type lockedWriter struct {
	mu *sync.Mutex // guards w, and every other lockedWriter with the same mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func newShell(ctx context.Context, opts options, out, err io.Writer) *shell {
	var mu sync.Mutex
	s := &shell{
		opts: opts,
		out:  &lockedWriter{&mu, out},
		err:  &lockedWriter{&mu, err},
		ctx:  ctx,
		host: opts.server,
	}
	s.printWatches.Store(true)
	return s
}

// event prints what the default watcher hears.
func (s *shell) event(e client.Event) {
	if s.printWatches.Load() {
		fmt.Fprint(s.out, eventText(e))
	}
}

// connect opens a session on host in place of the one there is, which it closes.
func (s *shell) connect(host string) error {
	if s.zk != nil {
		if err := s.zk.Close(); err != nil {
			fmt.Fprintln(s.err, err)
		}
		s.zk = nil
	}
	s.host = host
	zk, err := client.New(host, client.Options{
		SessionTimeout: s.opts.timeout,
		ReadOnly:       s.opts.readOnly,
		Dial:           s.opts.dial,
		Login:          s.opts.login,
		OnEvent:        s.event,
		FailFast:       true,
	})
	if err != nil {
		return failure("%v", err)
	}
	s.zk = zk
	return nil
}

// alive tells whether there is a session that can still come to something.
func (s *shell) alive() bool {
	if s.zk == nil {
		return !s.interactive // a one-shot command connects when it needs to
	}
	switch s.zk.State() {
	case client.StateClosed, client.StateExpired, client.StateAuthFailed:
		return false
	}
	return true
}

// client returns the session, connected, for a command on path. The event of the connection
// has been printed by then. Without a connection the error is ConnectionLoss.
func (s *shell) client(path string) (*client.Client, error) {
	if s.zk == nil {
		if err := s.connect(s.host); err != nil {
			return nil, err
		}
	}
	if err := s.zk.WaitConnected(s.ctx); err != nil {
		if code, ok := client.Code(err); ok {
			return nil, &commandError{text: keeperText(code, path), exitCode: 1, cause: err}
		}
		return nil, err
	}
	return s.zk, s.zk.FlushEvents(s.ctx)
}

// state is the word in the prompt (Java's ZooKeeper.States).
func (s *shell) state() string {
	if s.zk == nil {
		return "CLOSED"
	}
	switch s.zk.State() {
	case client.StateConnected:
		return "CONNECTED"
	case client.StateConnectedReadOnly:
		return "CONNECTEDREADONLY"
	case client.StateAuthFailed:
		return "AUTH_FAILED"
	case client.StateClosed, client.StateExpired:
		return "CLOSED"
	}
	return "CONNECTING"
}

func (s *shell) prompt() string {
	return fmt.Sprintf("[zk: %s(%s) %d] ", s.host, s.state(), s.count)
}

// settle gives a connection under way a moment, so that the prompt shows it.
func (s *shell) settle() {
	ctx, cancel := context.WithTimeout(s.ctx, 500*time.Millisecond)
	defer cancel()
	if s.zk.WaitConnected(ctx) == nil {
		_ = s.zk.FlushEvents(ctx) // the prompt comes all the same
	}
}

// words is how a line is split: at spaces, except inside quotes, which are taken off
// (ZooKeeperMain.ARGS_PATTERN).
var words = regexp.MustCompile(`\s*([^"'\s]\S*|"[^"]*"|'[^']*')\s*`)

func splitLine(line string) (args []string) {
	for _, m := range words.FindAllStringSubmatch(line, -1) {
		w := m[1]
		if n := len(w); n >= 2 && (w[0] == '"' || w[0] == '\'') && w[n-1] == w[0] {
			w = w[1 : n-1]
		}
		args = append(args, w)
	}
	return args
}

// line executes one line of an interactive session.
func (s *shell) line(line string) {
	args := splitLine(line)
	if len(args) == 0 {
		return
	}
	s.history = append(s.history, line)
	s.execute(args)
	s.count++
}

// execute runs one command, prints its error and keeps its exit code.
func (s *shell) execute(args []string) {
	err := describe(s.run(args))
	if s.zk != nil {
		_ = s.zk.FlushEvents(s.ctx) // events of this command come before the next prompt
	}
	var ce *commandError
	switch {
	case err == nil:
		s.exitCode = 0
	case errors.As(err, &ce):
		s.exitCode = ce.exitCode
		if ce.text != "" {
			fmt.Fprintln(s.err, ce.text)
		}
	}
}

func (s *shell) run(args []string) error {
	cmd := findCommand(args[0])
	if cmd == nil {
		fmt.Fprint(s.err, usage())
		return &commandError{text: "Command not found: Command not found " + args[0], exitCode: exitNotFound}
	}
	if cmd.needsSession && !s.alive() {
		fmt.Fprintln(s.out, "Not connected")
		return nil
	}
	p, err := cmd.flags.parse(args[1:])
	if err != nil {
		return err
	}
	if len(p.args) < cmd.minArgs || cmd.onlyMin && len(p.args) > cmd.minArgs {
		return failure("%s", cmd.usageText())
	}
	return cmd.run(s, p)
}

func (s *shell) redo(p *parsed) error {
	if len(p.args) == 0 {
		return nil // as the original
	}
	n, err := strconv.Atoi(p.args[0])
	if err != nil {
		return failure("redo needs the number of a command, not %q", p.args[0])
	}
	if n < 0 || n >= s.count {
		return failure("Command index out of range")
	}
	args := splitLine(s.history[n])
	if args[0] == "redo" {
		return failure("No redoing redos")
	}
	s.history[s.count] = s.history[n]
	return s.run(args)
}

func (s *shell) printHistory(*parsed) error {
	if !s.interactive {
		fmt.Fprintln(s.out, "0 - null") // as the original, whose history is empty then
		return nil
	}
	for i := max(0, s.count-historyLines); i <= s.count; i++ {
		fmt.Fprintf(s.out, "%d - %s\n", i, s.history[i])
	}
	return nil
}

func (s *shell) setPrintWatches(p *parsed) error {
	if len(p.args) > 0 {
		s.printWatches.Store(p.args[0] == "on")
		return nil
	}
	word := "off"
	if s.printWatches.Load() {
		word = "on"
	}
	fmt.Fprintln(s.out, "printwatches is "+word)
	return nil
}

func (s *shell) reconnect(p *parsed) error {
	host := s.host
	if len(p.args) > 0 {
		host = p.args[0]
	}
	if err := s.connect(host); err != nil {
		return err
	}
	s.settle()
	return nil
}

// close ends the session. A one-shot close or quit opens one first, as the original does.
func (s *shell) close(*parsed) error {
	if s.zk == nil {
		if _, err := s.client(""); err != nil && s.zk == nil {
			return err
		}
	}
	return s.zk.Close()
}

func (s *shell) leave(p *parsed) error {
	s.quit = true
	code := s.exitCode // quit does not change it
	if s.alive() {
		if err := s.close(p); err != nil {
			return err
		}
	}
	if code != 0 {
		return &commandError{exitCode: code}
	}
	return nil
}

// usage lists all commands, sorted.
func usage() string {
	var b strings.Builder
	b.WriteString("ZooKeeper -server host:port -client-configuration properties-file cmd args\n")
	for _, cmd := range commands() {
		fmt.Fprintf(&b, "\t%s %s\n", cmd.name, cmd.usage)
	}
	return b.String()
}
