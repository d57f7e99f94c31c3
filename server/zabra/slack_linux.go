package main

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	// timerSlackNs is how late the kernel may end a sleep with a timeout.
	timerSlackNs = 500_000
	// slackEnv tells the second execution that it is that.
	slackEnv = "ZABRA_TIMER_SLACK"
)

// relaxTimers has all threads of the server sleep up to half a millisecond longer than they asked for. The one that this is for is
// the Go runtime's monitor: while the server is busy it wants to wake up every 20 µs, to look after threads that wait for
// the disk, and with three servers on two cores that was a seventh of all the processor time of a write. Once
// in half a millisecond is enough; a thread that waits for the disk keeps others from running for no longer than that.
//
// Threads inherit the slack when they are made, and the monitor is made before main: so the program is executed anew, which
// takes some milliseconds, and keeps the process id and all that was inherited. Where any of that cannot be
// done, the server goes on as it is.
func relaxTimers() {
	if os.Getenv(slackEnv) != "" {
		// Not for the programs that this one starts.
		_ = os.Unsetenv(slackEnv)
		return
	}
	// By its own path: of /proc/self/exe the process would have the name "exe".
	self, err := os.Executable()
	if err != nil {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || before >= timerSlackNs || unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlackNs, 0, 0, 0) != nil {
		return
	}
	_ = unix.Exec(self, os.Args, append(os.Environ(), slackEnv+"=set"))
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(before), 0, 0, 0) // as it was: a default that cannot be set does no harm
}
