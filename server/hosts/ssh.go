package hosts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// A result is what a command on a host gave.
type result struct {
	stdout, stderr string
	code           int   // of the command
	err            error // ssh did not get so far as to run it
}

// sshFailed is the exit code of ssh for its own failures.
const sshFailed = 255

// sshOptions: no questions, and no waiting for a host that is off.
var sshOptions = []string{"-o", "BatchMode=yes", "-o", "ConnectTimeout=10"}

// zkServer runs zkServer.sh with a command on the host.
func (p *program) zkServer(ctx context.Context, h Host, command string) result {
	words := []string{p.script, command}
	if h.Config != "" {
		words = append(words, h.Config)
	}
	// An interrupt ends the program between two steps: a server that is being restarted shall not stay stopped.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.wait)
	defer cancel()
	var out, errOut bytes.Buffer
	args := append(append([]string{}, sshOptions...), p.options...)
	cmd := exec.CommandContext(ctx, "ssh", append(args, "--", h.Name, quote(words))...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // out of reach of the terminal's Ctrl-C
	// What a command has left running on the host may hold its output.
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	r := result{stdout: out.String(), stderr: errOut.String()}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		r.err = fmt.Errorf("no answer within %v", p.wait)
	case errors.As(err, &exit) && exit.ExitCode() != sshFailed && exit.ExitCode() >= 0:
		r.code = exit.ExitCode()
	case errors.As(err, &exit):
		r.err = fmt.Errorf("ssh: %w: %s", err, lastLine(r.stderr))
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		r.err = fmt.Errorf("ssh: %w", err)
	}
	return r
}

// quote makes the words of a command one line for a shell of the Bourne family.
func quote(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}

// lastLine returns the last line of a text that is not empty.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
