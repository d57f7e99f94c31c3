package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
)

// Exit codes of Main.
const (
	exitOK     = 0
	exitFailed = 1 // a run failed, or ended early
	exitUsage  = 2
)

// A command is a subcommand of zabra bench. It returns nil, an error of its own, or one that matches errUsage.
type command struct {
	name, args, help string
	run              func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

func commands() []command {
	return []command{
		{"run", "[FLAGS]", "measure one ensemble", runRun},
		{"plan", "[FLAGS]", "find what an ensemble carries within a latency, and what a load needs; writes a report", runPlan},
		{"report", "[FLAGS] FILE", "write the report of a plan again, or of two side by side", runReport},
		{"compare", "[FLAGS]", "start Debian's Java server and Zabra on this machine and measure both, interleaved", runCompare},
		{"failover", "[FLAGS]", "stop and kill leaders of ensembles on this machine and measure how long clients are without service", runFailover},
		{"join", "[FLAGS]", "have an empty server join ensembles on this machine and measure how long it takes and what clients notice", runJoin},
		{"mixes", "", "list the named mixes and where they come from", runMixes},
		{"responder", "[FLAGS]", "answer requests without doing anything: the ceiling of a server", runResponder},
	}
}

// errUsage marks errors about the command line.
var errUsage = errors.New("bench: bad command line")

// Main is zabra bench. args stand behind the verb: a subcommand and its flags, or flags alone, which mean run. Results go
// to stdout, progress and errors to stderr. It returns the exit code: 0, 1 when a run failed or ended early, 2
// for a bad command line. An interrupt ends a run early, with what was measured.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return run(ctx, args, stdout, stderr)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name := "run"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	} else if len(args) > 0 && (args[0] == "-h" || args[0] == "--help" || args[0] == "-help") {
		name = "help"
	}
	if name == "help" {
		usage(stdout)
		return exitOK
	}
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		err := c.run(ctx, args, stdout, stderr)
		switch {
		case err == nil || errors.Is(err, flag.ErrHelp):
			return exitOK
		case errors.Is(err, errUsage):
			fmt.Fprintln(stderr, err)
			return exitUsage
		}
		fmt.Fprintln(stderr, "zabra bench:", err)
		return exitFailed
	}
	fmt.Fprintf(stderr, "zabra bench: no command %q\n\n", name)
	usage(stderr)
	return exitUsage
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "Usage: zabra bench [COMMAND] [FLAGS]")
	for _, c := range commands() {
		fmt.Fprintf(w, "\n  zabra bench %s %s\n      %s\n", c.name, c.args, c.help)
	}
	fmt.Fprintln(w, "\nFlags of a command: zabra bench COMMAND -h")
}

// parseFlags parses args; nothing may be left over.
func parseFlags(fs *flag.FlagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%w: %q was not expected", errUsage, fs.Arg(0))
	}
	return nil
}
