package local

import (
	"os/exec"
	"runtime"
	"sync"
)

// spawner runs functions on one thread that lasts as long as this process: the kernel ends children with the thread that
// started them, and those of the runtime come and go.
var spawner = sync.OnceValue(func() chan<- func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
})

// spawn starts cmd so that it ends with this process: if it is Zabra, or the system is Linux.
func spawn(cmd *exec.Cmd) error {
	endWithParent(cmd)
	if err := tie(cmd); err != nil {
		return err
	}
	errc := make(chan error)
	spawner() <- func() { errc <- cmd.Start() }
	return <-errc
}
