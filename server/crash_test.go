package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// childDir in the environment makes the test binary a server with its data there.
const childDir = "ZABRA_TEST_SERVER_DIR"

// childLines holds further lines for its zoo.cfg.
const childLines = "ZABRA_TEST_SERVER_LINES"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(childServer(dir))
	}
	os.Exit(m.Run())
}

// childServer runs a server until it is told to end, and prints its address when it serves.
func childServer(dir string) int {
	t := &childT{}
	o := testOptions(t, dir, os.Getenv(childLines))
	o.CheckpointIntervalMin = 0
	s, err := Start(o, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("serving", s.Addr(0))
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// childT lets testOptions run outside a test.
type childT struct{ testing.TB }

func (*childT) Helper()           {}
func (*childT) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// A child is a server in a process of its own.
type child struct {
	cmd  *exec.Cmd
	addr string
}

func startChild(t *testing.T, dir, lines string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childLines+"="+lines)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd}
	t.Cleanup(func() { c.end(syscall.SIGKILL) })
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "serving ")
	if err != nil || !ok {
		t.Fatalf("server did not start: %q, %v", line, err)
	}
	c.addr = addr
	return c
}

// end sends the signal and waits for the process to be gone.
func (c *child) end(sig syscall.Signal) {
	if c.cmd.ProcessState != nil {
		return
	}
	_ = c.cmd.Process.Signal(sig)
	_ = c.cmd.Wait()
}

// A crashWriter creates nodes with numbered names, many at a time, and counts what was
// acknowledged. Replies come in order, so the acknowledged ones are the first.
type crashWriter struct {
	id          int
	sent, acked int // since the beginning; sent starts again at acked with each run
	tried       int // the most that was ever given to a connection
}

const crashWindow = 64

func (w *crashWriter) path(n int) string { return fmt.Sprintf("/w%d-%d", w.id, n) }

// run writes until the connection breaks, and calls progress for each acknowledgement.
func (w *crashWriter) run(addr string, progress func()) error {
	r, err := client.DialRaw(addr)
	if err != nil {
		return ignoreBroken(err)
	}
	defer r.Close()
	if _, err := r.NewSession(20 * time.Second); err != nil {
		return ignoreBroken(err)
	}
	acl := proto.RawACLs(proto.AppendACLs(nil, openACL))
	first := w.acked
	// What was sent before the last crash and not acknowledged may or may not be there.
	w.sent = w.acked
	for {
		for w.sent-w.acked < crashWindow {
			path := []byte(w.path(w.sent))
			body := (&proto.CreateRequest{Path: path, Data: path, ACL: acl}).Append(nil, proto.OpCreate)
			w.tried = max(w.tried, w.sent+1)
			if err := r.SendRequest(int32(w.sent-first+1), proto.OpCreate, body); err != nil {
				return nil
			}
			w.sent++
		}
		reply, err := r.ReadReply()
		if err != nil {
			return ignoreBroken(err)
		}
		if reply.Xid != int32(w.acked-first+1) || (reply.Err != proto.OK && reply.Err != proto.ErrNodeExists) {
			return fmt.Errorf("writer %d: reply %+v for node %d", w.id, reply, w.acked)
		}
		w.acked++
		progress()
	}
}

// ignoreBroken drops the errors that the end of the server's process explains.
func ignoreBroken(err error) error {
	for _, explained := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.EPIPE} {
		if errors.Is(err, explained) {
			return nil
		}
	}
	return err
}

// verify finds every acknowledged node and none that was never sent.
func (w *crashWriter) verify(addr string) error {
	r, err := client.DialRaw(addr)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := r.NewSession(20 * time.Second); err != nil {
		return err
	}
	most := w.tried
	var out []byte
	for n := range most + 1 {
		out = appendRequestFrame(out, int32(n+1), proto.OpGetData, (&proto.PathWatch{Path: []byte(w.path(n))}).Append(nil))
	}
	sending := make(chan error, 1)
	go func() { sending <- r.SendBytes(out) }()
	for n := range most + 1 {
		reply, err := r.ReadReply()
		if err != nil {
			return fmt.Errorf("writer %d: %w", w.id, err)
		}
		d := jute.NewDecoder(reply.Body, 0)
		data := string(d.Buffer())
		switch {
		case n < w.acked && (reply.Err != proto.OK || data != w.path(n)):
			return fmt.Errorf("writer %d: acknowledged node %d of %d is lost: %+v", w.id, n, w.acked, reply)
		case n == most && reply.Err != proto.ErrNoNode:
			return fmt.Errorf("writer %d: node %d was never sent and is there", w.id, n)
		}
	}
	return <-sending
}

// Goal: nothing acknowledged is lost when the process is killed under load. Method: several writers, kill -9
// after a number of acknowledgements that differs from round to round, so that the log, the image being
// taken and the change of segments are all hit; then the same data directory again.
func TestKillUnderLoad(t *testing.T) {
	rounds := 50
	if testing.Short() {
		rounds = 8
	}
	dir := t.TempDir()
	writers := make([]*crashWriter, 4)
	for i := range writers {
		writers[i] = &crashWriter{id: i}
	}
	for round := range rounds {
		c := startChild(t, dir, "snapCount=2000")
		for _, w := range writers {
			if err := w.verify(c.addr); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		var mu sync.Mutex // guards acked
		acked, enough := 0, make(chan struct{})
		progress := func() {
			mu.Lock()
			defer mu.Unlock()
			if acked++; acked == 50+37*round%900 {
				close(enough)
			}
		}
		var wg sync.WaitGroup
		errs := make(chan error, len(writers))
		for _, w := range writers {
			wg.Go(func() {
				if err := w.run(c.addr, progress); err != nil {
					errs <- err
				}
			})
		}
		broken := make(chan struct{})
		go func() { wg.Wait(); close(broken) }()
		select {
		case <-enough:
		case err := <-errs:
			t.Fatalf("round %d: %v", round, err)
		case <-broken:
			t.Fatalf("round %d: the server closed all connections", round)
		}
		c.end(syscall.SIGKILL)
		<-broken
		select {
		case err := <-errs:
			t.Fatalf("round %d: %v", round, err)
		default:
		}
	}
	c := startChild(t, dir, "snapCount=2000")
	total := 0
	for _, w := range writers {
		if err := w.verify(c.addr); err != nil {
			t.Fatal(err)
		}
		total += w.acked
	}
	c.end(syscall.SIGTERM)
	if !c.cmd.ProcessState.Success() {
		t.Fatalf("the last server did not end cleanly: %v", c.cmd.ProcessState)
	}
	t.Logf("%d acknowledged writes found again over %d kills", total, rounds)
}
