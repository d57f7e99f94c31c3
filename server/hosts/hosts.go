package hosts

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"
)

// Exit codes of Main.
const (
	exitOK     = 0
	exitFailed = 1 // a server could not be reached, or is not as it should be
	exitUsage  = 2
)

// Usage is the arguments in short.
const Usage = "[-f FILE] [-script PATH] [-o OPTION]... [-wait DURATION] {start|stop|status|restart}"

// program is one call.
type program struct {
	hosts          []Host
	script         string
	options        []string // of ssh
	wait           time.Duration
	pollTime       time.Duration
	stdout, stderr io.Writer
}

// Main runs the command that args give and returns the exit code: 0, 1 when a server is not as the command wants it, 2 for a
// bad command line or list. A signal ends it between two steps.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return run(ctx, args, &program{pollTime: time.Second, stdout: stdout, stderr: stderr})
}

func run(ctx context.Context, args []string, p *program) int {
	fs := flag.NewFlagSet("zabra hosts", flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "Usage: zabra hosts %s\n", Usage)
		fs.PrintDefaults()
	}
	file := fs.String("f", "hosts", "`FILE` with a server per line: the host as ssh takes it, and the path of its zoo.cfg there")
	fs.StringVar(&p.script, "script", "zkServer.sh", "`PATH` of zkServer.sh on the hosts, from the home directory there if it does not begin with /")
	fs.Func("o", "`OPTION` of ssh, as in ssh -o; may be repeated", func(s string) error {
		p.options = append(p.options, "-o", s)
		return nil
	})
	fs.DurationVar(&p.wait, "wait", 2*time.Minute, "how long to wait for a command on a host, and for a restarted server to be in sync")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	commands := map[string]func(context.Context) error{
		"start":   func(ctx context.Context) error { return p.each(ctx, "start") },
		"stop":    func(ctx context.Context) error { return p.each(ctx, "stop") },
		"status":  p.status,
		"restart": p.restart,
	}
	command := commands[fs.Arg(0)]
	if command == nil || fs.NArg() > 1 {
		fs.Usage()
		return exitUsage
	}
	text, err := os.ReadFile(*file)
	if err != nil {
		fmt.Fprintf(p.stderr, "zabra hosts: -f: %v; give a file with a host and the path of its zoo.cfg per line\n", err)
		return exitUsage
	}
	if p.hosts, err = ParseList(string(text)); err != nil {
		fmt.Fprintf(p.stderr, "zabra hosts: %s: %v\n", *file, err)
		return exitUsage
	}
	if err := command(ctx); err != nil {
		fmt.Fprintf(p.stderr, "zabra hosts: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// all runs the command on all hosts at once; results are in the order of the hosts.
func (p *program) all(ctx context.Context, command string) []result {
	results := make([]result, len(p.hosts))
	var wg sync.WaitGroup
	for i, h := range p.hosts {
		wg.Go(func() { results[i] = p.zkServer(ctx, h, command) })
	}
	wg.Wait()
	return results
}

// each runs start or stop on all hosts and tells what each said.
func (p *program) each(ctx context.Context, command string) error {
	failed := 0
	for i, r := range p.all(ctx, command) {
		if !p.tell(p.hosts[i], r) {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%s failed for %d of %d servers", command, failed, len(p.hosts))
	}
	return nil
}

// tell prints how a command went, with all that was said where it failed, and whether it went well.
func (p *program) tell(h Host, r result) bool {
	switch {
	case r.err != nil:
		fmt.Fprintf(p.stdout, "%s: %v\n", h, r.err)
	case r.code != 0:
		said := strings.TrimSpace(r.stdout + r.stderr)
		fmt.Fprintf(p.stdout, "%s: exit code %d\n  %s\n", h, r.code, strings.ReplaceAll(said, "\n", "\n  "))
	default:
		fmt.Fprintf(p.stdout, "%s: %s\n", h, lastLine(r.stdout))
	}
	return r.err == nil && r.code == 0
}

// A state is what a server says of itself.
type state struct {
	mode string // as in "Mode: follower"; empty when it does not serve
	why  string // it has none
}

// leads tells whether the server decides on writes.
func (s state) leads() bool { return s.mode == "leader" || s.mode == "standalone" }

// states asks all servers.
func (p *program) states(ctx context.Context) []state {
	all := make([]state, len(p.hosts))
	for i, r := range p.all(ctx, "status") {
		for line := range strings.Lines(r.stdout) {
			if mode, ok := strings.CutPrefix(line, "Mode: "); ok {
				all[i].mode = strings.TrimSpace(mode)
			}
		}
		switch {
		case r.err != nil:
			all[i] = state{why: r.err.Error()}
		case all[i].mode == "":
			if all[i].why = lastLine(r.stdout); all[i].why == "" {
				all[i].why = lastLine(r.stderr)
			}
		}
	}
	return all
}

// missing tells what is missing for an ensemble in full order, empty when nothing is.
func (p *program) missing(all []state) string {
	var what []string
	leaders, standalone := 0, 0
	for i, s := range all {
		switch {
		case s.mode == "":
			what = append(what, fmt.Sprintf("%s does not serve (%s)", p.hosts[i], s.why))
		case s.mode == "standalone":
			standalone++
		case s.mode == "leader":
			leaders++
		case s.mode == "read-only":
			what = append(what, fmt.Sprintf("%s has no leader", p.hosts[i]))
		}
	}
	if len(what) == 0 && standalone < len(all) && leaders != 1 {
		what = append(what, fmt.Sprintf("%d of the servers lead, it should be one; does the list have all servers of one ensemble?", leaders))
	}
	return strings.Join(what, "; ")
}

// status prints what each server is.
func (p *program) status(ctx context.Context) error {
	all := p.states(ctx)
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for i, s := range all {
		what := s.mode
		if what == "" {
			what = "not serving: " + s.why
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", p.hosts[i].Name, p.hosts[i].Config, what)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if what := p.missing(all); what != "" {
		return errors.New(what)
	}
	return nil
}
