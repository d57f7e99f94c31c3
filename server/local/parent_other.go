//go:build !linux

package local

import (
	"os/exec"
	"syscall"
)

// endWithParent keeps the child out of the process group that a terminal sends its signals to. There is no means here to
// end it with this process, unless it watches the pipe (tether.go).
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
