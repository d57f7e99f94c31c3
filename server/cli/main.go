package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"zabra.dev/zabra/server/client"
)

// maxLineBytes bounds a line of a script; data in it must fit into a request anyway.
const maxLineBytes = 16 << 20

// options are what stands in front of the command.
type options struct {
	server            string
	timeout           time.Duration
	readOnly          bool
	waitForConnection bool
	clientConfig      string // name of a properties file
	help              bool
	command           []string // nil for an interactive session

	timeoutText string
	dial        func(ctx context.Context, addr string) (net.Conn, error) // nil for plain TCP
	login       *client.Login                                            // nil: nobody logs in
}

// parseOptions reads the arguments up to the command, the first that does not start with a
// dash. Unknown options are passed over. An option without its value ends the reading with a
// complaint, after which the shell starts with what it has (operations, section 2.3).
func parseOptions(args []string) (o options, complaint string) {
	o = options{server: "localhost:2181", timeoutText: "30000"}
	for i := 0; i < len(args); i++ {
		var value *string
		switch arg := args[i]; arg {
		case "-server":
			value = &o.server
		case "-timeout":
			value = &o.timeoutText
		case "-client-configuration":
			value = &o.clientConfig
		case "-r":
			o.readOnly = true
		case "-waitforconnection":
			o.waitForConnection = true
		case "-h", "--help":
			o.help = true
		default:
			if !strings.HasPrefix(arg, "-") {
				o.command = args[i:]
				return o, ""
			}
		}
		if value != nil {
			if i++; i == len(args) {
				return o, "Error: no argument found for option " + args[i-1]
			}
			*value = args[i]
		}
	}
	return o, ""
}

// helpText is what -h prints.
const helpText = `usage: zkCli.sh [-server HOST:PORT[,HOST:PORT...][/CHROOT]] [-timeout MS] [-r]
       [-client-configuration FILE] [-waitforconnection] [COMMAND [ARG...]]

  -server                servers and chroot; default localhost:2181
  -timeout               session timeout in ms; default 30000
  -r                     accept a read-only server
  -client-configuration  properties for TLS
  -waitforconnection     wait for a connection before the command, at most for the timeout

Without a command an interactive shell starts. Commands:
`

// Main runs zkCli.sh with args, the words behind the program's name, and returns its exit
// code. It uses a terminal if stdin and stdout are one. It blocks until the command is done
// or stdin ends; no goroutine outlives it, except one that the terminal library keeps for
// changes of the window's size.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	opts, complaint := parseOptions(args)
	if complaint != "" {
		fmt.Fprintln(stderr, complaint)
	}
	if opts.help {
		_, list, _ := strings.Cut(usage(), "\n")
		fmt.Fprint(stdout, helpText+list)
		return 0
	}
	fmt.Fprintln(stdout, "Connecting to "+opts.server)
	ms, err := strconv.ParseInt(opts.timeoutText, 10, 32)
	if err != nil {
		fmt.Fprintf(stderr, "-timeout must be a number of milliseconds, not %q\n", opts.timeoutText)
		return 1
	}
	opts.timeout = time.Duration(ms) * time.Millisecond
	if err := opts.secure(stderr); err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	s := newShell(context.Background(), opts, stdout, stderr)
	defer s.end()
	if opts.waitForConnection {
		if err := s.waitForConnection(); err != nil {
			fmt.Fprintln(s.err, describe(err))
			return 1
		}
	}
	if opts.command != nil {
		s.execute(opts.command)
		return s.exitCode
	}
	s.interactive = true
	if s.zk == nil {
		if err := s.connect(opts.server); err != nil {
			fmt.Fprintln(s.err, err)
			return 1
		}
	}
	fmt.Fprintln(s.out, "Welcome to ZooKeeper!")
	fmt.Fprintln(s.out, "JLine support is enabled")
	if t := openTerminal(s, stdin, stdout); t != nil {
		return s.fromTerminal(t)
	}
	return s.fromReader(stdin)
}

// waitForConnection keeps trying until there is a session or the timeout is over.
func (s *shell) waitForConnection() error {
	if err := s.connect(s.host); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.timeout)
	defer cancel()
	for {
		err := s.zk.WaitConnected(ctx)
		switch {
		case err == nil:
			return s.zk.FlushEvents(s.ctx)
		case ctx.Err() != nil:
			_ = s.zk.Close() // prints the event that the original prints; nothing was open
			return client.ErrConnectionLoss
		case !errors.Is(err, client.ErrConnectionLoss): // which is one round of attempts
			return err
		}
	}
}

// end leaves the session to its timeout.
func (s *shell) end() {
	s.printWatches.Store(false)
	if s.zk != nil {
		s.zk.Abandon()
	}
}

// fromReader executes the lines of a script.
func (s *shell) fromReader(r io.Reader) int {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLineBytes)
	s.settle()
	for !s.quit {
		fmt.Fprint(s.out, s.prompt())
		if !lines.Scan() {
			break
		}
		s.line(lines.Text())
	}
	if err := lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("a line has more than %d bytes", maxLineBytes)
		}
		fmt.Fprintln(s.err, "cannot read commands:", err)
		return 1
	}
	return s.exitCode
}
