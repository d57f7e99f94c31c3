package local

import (
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
)

// The servers hold the reading end of a pipe whose other end this process alone has: it closes when this process ends, however
// that comes about, on every system. A server of Zabra watches it (WatchParent). Linux ends others, too (parent_linux.go).

// tetherEnv tells a server the descriptor of its end.
const tetherEnv = "ZABRA_PARENT_PIPE"

// tether is the pipe; neither end is ever closed, and the writing one is not passed on.
var tether = sync.OnceValues(func() (ends [2]*os.File, err error) {
	ends[0], ends[1], err = os.Pipe()
	return ends, err
})

// tie gives the child its end.
func tie(cmd *exec.Cmd) error {
	ends, err := tether()
	if err != nil {
		return err
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, tetherEnv+"="+strconv.Itoa(3+len(cmd.ExtraFiles)))
	cmd.ExtraFiles = append(cmd.ExtraFiles, ends[0])
	return nil
}

// WatchParent ends this process at once, as a kill would, when the one that started it as a server of an Ensemble has ended. It
// does nothing in a process that was started otherwise. It is called before other goroutines look at the environment.
func WatchParent() {
	fd, err := strconv.Atoi(os.Getenv(tetherEnv))
	if err != nil || fd < 3 {
		return
	}
	_ = os.Unsetenv(tetherEnv) // it is not for children
	var st syscall.Stat_t
	if syscall.Fstat(fd, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return // the variable has strayed here
	}
	syscall.CloseOnExec(fd)
	pipe := os.NewFile(uintptr(fd), "parent")
	go func() {
		_, _ = pipe.Read(make([]byte, 1)) // nobody writes: it is the end
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}()
}
