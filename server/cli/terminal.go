package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/ergochat/readline"
	"golang.org/x/term"
)

// completionTimeout bounds the wait for the names below a znode when a path is completed.
const completionTimeout = 2 * time.Second

// A terminal reads lines from a person.
type terminal struct {
	*readline.Instance
	typed bool // whether the line being edited is not empty
}

// openTerminal returns an editor on the terminal that stdin and stdout are, nil if they are
// not. From then on all output goes through it, so that it can keep the prompt below.
func openTerminal(s *shell, stdin io.Reader, stdout io.Writer) *terminal {
	if stdin != os.Stdin || stdout != os.Stdout || !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stdout.Fd())) {
		return nil
	}
	t := &terminal{}
	var err error
	t.Instance, err = readline.NewFromConfig(&readline.Config{
		AutoComplete:    &completer{s},
		InterruptPrompt: "^C",
		EOFPrompt:       "\n", // the library's word for nothing
		Listener: func(line []rune, pos int, key rune) ([]rune, int, bool) {
			t.typed = len(line) > 0 // an interrupt comes without the line that it ends
			return nil, 0, false
		},
	})
	if err != nil {
		fmt.Fprintln(s.err, "no line editing:", err)
		return nil
	}
	s.redirect(t.Stdout(), t.Stderr())
	return t
}

// redirect sends what is printed from now on elsewhere.
func (s *shell) redirect(out, err io.Writer) {
	o, e := s.out.(*lockedWriter), s.err.(*lockedWriter)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w, e.w = out, err
}

// fromTerminal executes lines until quit, end of input, or an interrupt on an empty line; on
// another line an interrupt drops the line.
func (s *shell) fromTerminal(t *terminal) int {
	defer func() {
		s.redirect(os.Stdout, os.Stderr)
		_ = t.Close() // the terminal's state is restored as well as it can be
	}()
	s.settle()
	for !s.quit {
		t.SetPrompt(s.prompt())
		t.typed = false
		line, err := t.ReadLine()
		switch {
		case errors.Is(err, readline.ErrInterrupt):
			if !t.typed {
				return s.exitCode
			}
			continue
		case errors.Is(err, io.EOF):
			return s.exitCode
		case err != nil:
			fmt.Fprintln(s.err, "cannot read commands:", err)
			return 1
		}
		s.line(line)
	}
	return s.exitCode
}

// A completer completes the word in front of the cursor: a path if it starts with a slash,
// else a command.
type completer struct{ s *shell }

// Do implements readline.AutoCompleter: it returns the rest of each candidate and the length
// of what they share with the line.
func (c *completer) Do(line []rune, pos int) ([][]rune, int) {
	word, quote := lastWord(string(line[:pos]))
	var candidates []string
	if strings.HasPrefix(word, "/") {
		candidates = c.paths(word, quote)
	} else {
		candidates = c.commands(word, quote)
	}
	rest := make([][]rune, 0, len(candidates))
	for _, candidate := range candidates {
		rest = append(rest, []rune(candidate[len(word):]))
	}
	return rest, len([]rune(word))
}

// lastWord is the word that a line ends in, without the quote that opens it.
func lastWord(line string) (word, quote string) {
	start, open := 0, byte(0)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case open != 0:
			if c == open {
				open, start = 0, i+1
			}
		case c == ' ' || c == '\t':
			start = i + 1
		case (c == '"' || c == '\'') && i == start:
			open, start = c, i+1
		}
	}
	if open != 0 {
		return line[start:], string(open)
	}
	return line[start:], ""
}

func (c *completer) commands(word, quote string) (found []string) {
	for _, cmd := range commands() {
		if strings.HasPrefix(cmd.name, word) {
			found = append(found, cmd.name+quote+" ")
		}
	}
	return found
}

// paths lists the znodes whose path starts with word. A single one is closed with a space,
// or with a slash if there is more below it.
func (c *completer) paths(word, quote string) (found []string) {
	zk := c.s.zk
	if zk == nil || !zk.State().Connected() {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.s.ctx, completionTimeout)
	defer cancel()
	parent, prefix := split(word)
	if word == "/" {
		parent, prefix = "/", ""
	}
	names, err := zk.GetChildren(ctx, parent)
	if err != nil {
		return nil
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) })
	sort.Strings(names)
	for _, name := range names {
		found = append(found, join(parent, name))
	}
	if len(found) == 1 {
		end := quote + " "
		if stat, err := zk.Exists(ctx, found[0]); err == nil && stat.NumChildren > 0 {
			end = "/"
		}
		found[0] += end
	}
	return found
}
