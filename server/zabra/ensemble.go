package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"zabra.dev/zabra/server/config"
	"zabra.dev/zabra/server/local"
)

// runEnsemble is the verb ensemble: servers of one ensemble on this machine, for trying out and for
// tests. Each is a process of its own, as in production.
func runEnsemble(args []string) int { return finish(ensemble(args)) }

func ensemble(args []string) error {
	t := newTool("ensemble", ensembleArgs)
	o := local.Options{Settings: map[string]string{"standaloneEnabled": "false"}}
	t.flags.IntVar(&o.Servers, "n", 3, "how many servers that vote")
	t.flags.IntVar(&o.Observers, "observers", 0, "how many observers beside them")
	t.flags.StringVar(&o.Dir, "dir", "zabra-ensemble", "where their configurations, data and logs are")
	t.flags.IntVar(&o.Port, "port", 2181, "client port of the first; the others have the next ones, the ports between servers are 1000 and 2000 above")
	t.flags.BoolVar(&o.Fresh, "fresh", false, "remove the data of an earlier ensemble in the directory; without it the ensemble goes on where it ended")
	t.flags.Func("set", "`KEY=VALUE` for each zoo.cfg; may be repeated, KEY= removes a key", func(s string) error {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return errors.New("write KEY=VALUE")
		}
		o.Settings[key] = value
		return nil
	})
	if _, err := t.parse(args, 0, 0); err != nil {
		return err
	}
	if o.Port < 1 {
		return fmt.Errorf("-port %d: give the client port of the first server, 2181 for example", o.Port)
	}
	e, err := local.New(o)
	switch {
	case errors.Is(err, local.ErrNoServers):
		return fmt.Errorf("-n %d, -observers %d: %w", o.Servers, o.Observers, err)
	case errors.Is(err, local.ErrInUse):
		return fmt.Errorf("%w; end the other one, or choose another directory with -dir", err)
	case errors.Is(err, local.ErrPortTaken):
		return fmt.Errorf("%w; end what listens there, or choose other ports with -port", err)
	case errors.Is(err, local.ErrSetting):
		return fmt.Errorf("-set: %w; -n, -observers, -dir and -port are for that", err)
	case err != nil:
		return err
	}
	for _, s := range e.Servers {
		// One that a reconfiguration removed refuses to run; that is told when it has ended.
		reconfigured, err := s.Reconfigured()
		if err == nil && !reconfigured {
			_, _, err = config.Load(s.Config(), os.Environ())
		}
		if err != nil {
			return errors.Join(fmt.Errorf("server %d: %w", s.ID, err), e.Close())
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// From the first signal on, a second one ends this process at once, and the servers with it.
	context.AfterFunc(ctx, stop)
	w := &watcher{e: e, out: os.Stdout, told: make([]local.Status, len(e.Servers))}
	return errors.Join(w.run(ctx, readCommands(os.Stdin)), e.Close())
}

const ensembleArgs = "[-n SERVERS] [-observers SERVERS] [-dir DIR] [-port PORT] [-fresh] [-set KEY=VALUE]..."

// readCommands gives the lines of standard input. Its goroutine ends with the input, or with the process.
func readCommands(in io.Reader) <-chan string {
	// In the background of a terminal a read would stop the process; ignored, it fails.
	signal.Ignore(syscall.SIGTTIN)
	lines := make(chan string)
	go func() {
		for s := bufio.NewScanner(in); s.Scan(); {
			lines <- s.Text()
		}
		close(lines)
	}()
	return lines
}

// A watcher starts the servers of an ensemble, tells what becomes of them, and stops them.
type watcher struct {
	e    *local.Ensemble
	out  io.Writer
	told []local.Status // per server, what was told last
}

// watchTime is the pause between two looks at the servers.
const watchTime = 200 * time.Millisecond

// run goes on until ctx ends, or all servers have.
func (w *watcher) run(ctx context.Context, commands <-chan string) (err error) {
	defer func() { err = errors.Join(err, w.stop()) }()
	for _, s := range w.e.Servers {
		if err := s.Start(); err != nil {
			return err
		}
	}
	fmt.Fprintf(w.out, "Connect string: %s\n\n", w.e.ConnectString())
	for i, s := range w.e.Servers {
		w.told[i] = local.Status{PID: s.PID(), Running: true}
		fmt.Fprintf(w.out, "server.%-2d %s  pid %-7d %s\n", s.ID, s.Addr(), s.PID(), s.Config())
	}
	fmt.Fprint(w.out, "\nCtrl-C stops all. The lines \"kill 2\", \"stop 2\" and \"start 2\" do that to server 2.\n\n")
	tick := time.NewTicker(watchTime)
	defer tick.Stop()
	for {
		alive := w.look()
		if alive == 0 && commands == nil {
			return errors.New("all servers have ended")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case line, ok := <-commands:
			if !ok {
				commands = nil
				break
			}
			if err := w.command(line); err != nil {
				w.tell("%v", err)
			}
		}
	}
}

func (w *watcher) tell(format string, args ...any) {
	fmt.Fprintf(w.out, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// look tells what has changed since the last time, ends first, and returns how many servers run.
func (w *watcher) look() (running int) {
	now := w.e.Status()
	for i, st := range now {
		s, old := w.e.Servers[i], w.told[i]
		if st.Running {
			running++
		} else if old.Running || st.PID != old.PID {
			how := "exit code 0"
			if st.Err != nil {
				how = st.Err.Error()
			}
			w.tell("server.%-2d ended (%s, pid %d). The end of %s:\n  %s", s.ID, how, st.PID, s.Log(), strings.ReplaceAll(s.LogTail(tailLines), "\n", "\n  "))
		}
	}
	for i, st := range now {
		s, old := w.e.Servers[i], w.told[i]
		switch {
		case st.Mode == "" && old.Mode != "" && st.Running:
			w.tell("server.%-2d looking    serves nobody  pid %d", s.ID, st.PID)
		case st.Mode == "" || st.Mode == old.Mode && st.Epoch() == old.Epoch() && st.PID == old.PID:
		case st.Running:
			w.tell("server.%-2d %-10s epoch %-3d pid %d", s.ID, st.Mode, st.Epoch(), st.PID)
		default:
			w.tell("server.%-2d %-10s epoch %-3d of somebody else's process, which will not be stopped", s.ID, st.Mode, st.Epoch())
		}
	}
	w.told = now
	return running
}

// tailLines are the lines of a log that tell of a server's end.
const tailLines = 4

// command does what a line of the input says.
func (w *watcher) command(line string) error {
	var verb string
	var id int
	if strings.TrimSpace(line) == "" {
		return nil
	}
	if n, _ := fmt.Sscan(line, &verb, &id); n < 2 || id < 1 || id > len(w.e.Servers) {
		return fmt.Errorf("%q: write kill, stop or start, and a server from 1 to %d", strings.TrimSpace(line), len(w.e.Servers))
	}
	s := w.e.Servers[id-1]
	switch verb {
	case "kill":
		s.Kill()
		return nil
	case "stop":
		return s.Stop(2 * stopTimeout)
	case "start":
		err := s.Start()
		if err == nil {
			w.tell("server.%-2d started    pid %d", s.ID, s.PID())
			w.told[id-1] = local.Status{PID: s.PID(), Running: true}
		}
		return err
	}
	return fmt.Errorf("%q: there are kill, stop and start", verb)
}

// stop asks all servers to end and waits.
func (w *watcher) stop() error {
	err := w.e.Stop(2 * stopTimeout)
	w.tell("all servers have ended")
	return err
}
