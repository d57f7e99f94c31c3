package local

import (
	"os/exec"
	"syscall"
)

// endWithParent has the kernel kill the child when the thread that starts it ends, and keeps it out of the process group
// that a terminal sends its signals to.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
