package script

import (
	"os"
	"strconv"
	"syscall"
)

// notifyVariable holds the number of the file descriptor on which a started server reports.
const notifyVariable = "ZABRA_NOTIFY_FD"

// What a server reports, one byte each.
const (
	notifyStarting = 's'
	notifyReady    = 'r'
)

// Notifier reports to the zkServer.sh start that runs this process how far the start is. Without such a
// parent it does nothing. It is used by one goroutine.
type Notifier struct{ f *os.File }

// NewNotifier takes the descriptor that the environment names, so that no child inherits it, and removes
// the variable. Call it once, at the start of the process.
func NewNotifier() *Notifier {
	fd, err := strconv.Atoi(os.Getenv(notifyVariable))
	if err != nil || fd < 3 {
		return &Notifier{}
	}
	os.Unsetenv(notifyVariable)
	syscall.CloseOnExec(fd)
	return &Notifier{f: os.NewFile(uintptr(fd), "notify")}
}

// Starting tells that the process will call Ready or end: zkServer.sh start waits for that, for at most a
// minute, instead of judging after a second.
func (n *Notifier) Starting() { n.report(notifyStarting) }

// Ready tells that the configuration is accepted, the data is loaded and the ports are bound, or, in an
// ensemble, that the election has begun. It ends the reporting.
func (n *Notifier) Ready() {
	n.report(notifyReady)
	if n.f != nil {
		n.f.Close()
		n.f = nil
	}
}

func (n *Notifier) report(what byte) {
	if n.f != nil {
		// A parent that has gone does not want to know.
		_, _ = n.f.Write([]byte{what})
	}
}
