package script

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// stop ends the server that the pid file names, and waits for it.
func (p *program) stop() int {
	p.sayPart("Stopping zookeeper ... ")
	path := p.pidPath(p.properties())
	proc, err := readPID(path)
	switch {
	case os.IsNotExist(err):
		p.say("no zookeeper to stop (could not find file %s)", path)
		return 0
	case err != nil:
		p.say("NOT STOPPED")
		p.hint("%s: %v", path, err)
		return 1
	case proc.foreign != "":
		p.say("no zookeeper to stop (%s names process %d, which is another program: %s)", path, proc.pid, proc.foreign)
		p.remove(path)
		return 0
	case !proc.running:
		p.hint("process %d of %s has ended before", proc.pid, path)
		p.remove(path)
		p.say("STOPPED")
		return 0
	}
	if err := syscall.Kill(proc.pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.say("NOT STOPPED")
		p.hint("process %d: %v", proc.pid, err)
		return 1
	}
	for deadline := time.Now().Add(p.stopTime); alive(proc.pid); time.Sleep(pollTime) {
		if time.Now().After(deadline) {
			p.say("NOT STOPPED")
			p.hint("process %d was asked to end %v ago and is still running", proc.pid, p.stopTime)
			return 1
		}
	}
	p.remove(path)
	p.say("STOPPED")
	return 0
}

// remove removes a pid file that has had its day.
func (p *program) remove(path string) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		p.hint("%v", err)
	}
}
