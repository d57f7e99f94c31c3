package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/config"
)

// runEnsemble is the verb ensemble: servers of one ensemble on this machine, for trying out and for
// tests. Each is a process of its own, as in production.
func runEnsemble(args []string) int { return finish(ensemble(args)) }

func ensemble(args []string) error {
	t := newTool("ensemble", "[-n SERVERS] [-dir DIR] [-port PORT]")
	n := t.flags.Int("n", 3, "how many servers")
	dir := t.flags.String("dir", "zabra-ensemble", "where their configurations, data and logs are")
	port := t.flags.Int("port", 2181, "client port of the first; the others have the next ones, the ports between servers are 1000 and 2000 above")
	if _, err := t.parse(args, 0, 0); err != nil {
		return err
	}
	if *n < 1 || *n > 9 {
		return fmt.Errorf("-n %d: give 1 to 9 servers", *n)
	}
	if *port < 1 || *port+*n+2000 > 65535 {
		return fmt.Errorf("-port %d: the ports from it on, and those 1000 and 2000 above, must exist", *port)
	}
	base, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	members, err := layOut(base, *n, *port)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return runMembers(ctx, os.Stdout, members)
}

// A member is one server of a local ensemble.
type member struct {
	id             int
	cfg, log, addr string
	cmd            *exec.Cmd
	ended          chan error // one value, when the process has ended
}

// layOut writes the configuration and myid of each server; data that is there stays.
func layOut(base string, n, port int) (members []*member, err error) {
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "server.%d=127.0.0.1:%d:%d\n", i+1, port+1000+i, port+2000+i)
	}
	for i := range n {
		dir := filepath.Join(base, fmt.Sprint(i+1))
		m := &member{id: i + 1, cfg: filepath.Join(dir, "zoo.cfg"), log: filepath.Join(dir, "zabra.log"), addr: fmt.Sprintf("127.0.0.1:%d", port+i), ended: make(chan error, 1)}
		text := fmt.Sprintf("tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=%s\nclientPortAddress=127.0.0.1\nclientPort=%d\nmaxClientCnxns=0\n4lw.commands.whitelist=*\nadmin.enableServer=false\nstandaloneEnabled=false\n%s",
			filepath.Join(dir, "data"), port+i, lines.String())
		err := os.MkdirAll(filepath.Join(dir, "data"), 0o755)
		if err == nil {
			err = config.WriteFileAtomic(m.cfg, []byte(text), 0o644)
		}
		if err == nil {
			err = config.WriteFileAtomic(filepath.Join(dir, "data", config.MyIDFile), []byte(fmt.Sprintln(i+1)), 0o644)
		}
		if err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	return members, nil
}

// runMembers starts the servers, tells who leads whenever that changes, and ends them when ctx does.
func runMembers(ctx context.Context, out io.Writer, members []*member) (err error) {
	var addrs []string
	for _, m := range members {
		addrs = append(addrs, m.addr)
		if l, err := net.Listen("tcp", m.addr); err != nil {
			return fmt.Errorf("client port of server %d: %w", m.id, err)
		} else if err := l.Close(); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, stopMembers(members)) }()
	for _, m := range members {
		if err := m.start(); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "Connect string: %s\nLogs: %s\nCtrl-C stops all servers.\n", strings.Join(addrs, ","), filepath.Join(filepath.Dir(filepath.Dir(members[0].log)), "*", "zabra.log"))
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	told := ""
	for {
		if status := statusOf(members); status != told {
			fmt.Fprintln(out, status)
			told = status
		}
		for _, m := range members {
			select {
			case err := <-m.ended:
				m.ended <- err
				return fmt.Errorf("server %d ended (%v): %s", m.id, err, lastLine(m.log))
			default:
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (m *member) start() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	m.cmd = exec.Command(exe, "server", m.cfg)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	// Ctrl-C goes to this process alone, which then ends the servers in turn.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	go func() { m.ended <- m.cmd.Wait() }()
	return nil
}

// stopMembers ends the servers and waits for them.
func stopMembers(members []*member) error {
	var errs []error
	for _, m := range members {
		if m.cmd == nil || m.cmd.Process == nil {
			continue
		}
		if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
	}
	for _, m := range members {
		if m.cmd == nil || m.cmd.Process == nil {
			continue
		}
		select {
		case <-m.ended:
		case <-time.After(2 * stopTimeout):
			errs = append(errs, fmt.Errorf("server %d does not end, it is killed", m.id), m.cmd.Process.Kill())
		}
	}
	return errors.Join(errs...)
}

// statusOf asks each server what it is, all at once.
func statusOf(members []*member) string {
	modes := make([]string, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			modes[i] = "not serving"
			answer, err := client.FourLetter(m.addr, "srvr")
			if err != nil {
				return
			}
			if _, rest, ok := strings.Cut(answer, "Mode: "); ok {
				modes[i], _, _ = strings.Cut(rest, "\n")
			}
		})
	}
	wg.Wait()
	var b strings.Builder
	for i, m := range members {
		fmt.Fprintf(&b, "server.%d %s %s   ", m.id, m.addr, modes[i])
	}
	return strings.TrimSpace(b.String())
}

// lastLine is the last line of a log, for the message that tells of a server's end.
func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	last := ""
	for s := bufio.NewScanner(f); s.Scan(); {
		if s.Text() != "" {
			last = s.Text()
		}
	}
	return last
}
