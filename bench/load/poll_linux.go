package load

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A poller is an epoll set, level-triggered. It belongs to one loop.
//
// Calls that cannot block are made without telling Go's scheduler (RawSyscall): the loop has nothing to
// hand its processor to, and the notice is a measurable part of a small read.
type poller struct {
	fd     int
	events [256]unix.EpollEvent
	ready  []readiness
}

// A readiness says what the socket added with tag can do. Errors and hang-ups show as both.
type readiness struct {
	tag     tag
	in, out bool
}

// A tag tells to whom a readiness belongs; the generation tells a reused index.
type tag struct{ index, generation int32 }

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("load: %w", os.NewSyscallError("epoll_create1", err))
	}
	return &poller{fd: fd}, nil
}

func (p *poller) close() { unix.Close(p.fd) }

func interest(out bool) uint32 {
	if out {
		return unix.EPOLLIN | unix.EPOLLOUT
	}
	return unix.EPOLLIN
}

// add watches fd for input, and for room for output when out is set. Closing fd takes it out.
func (p *poller) add(fd int, t tag, out bool) error {
	ev := unix.EpollEvent{Events: interest(out), Fd: t.index, Pad: t.generation}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev))
}

// watchOut changes whether fd is watched for room for output.
func (p *poller) watchOut(fd int, t tag, out bool) error {
	ev := unix.EpollEvent{Events: interest(out), Fd: t.index, Pad: t.generation}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_MOD, fd, &ev))
}

// remove is for sockets that are about to be closed.
func (p *poller) remove(int) {}

// wait returns what is ready, at most timeoutNs from now. The slice is lent until the next wait.
func (p *poller) wait(timeoutNs int64) ([]readiness, error) {
	p.ready = p.ready[:0]
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
	if errno == 0 && n == 0 && timeoutNs > 0 {
		ts := unix.NsecToTimespec(timeoutNs)
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
		if errno == unix.ENOSYS { // before Linux 5.11
			n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), uintptr((timeoutNs+999_999)/1_000_000), 0, 0)
		}
	}
	if errno != 0 && errno != unix.EINTR {
		return nil, os.NewSyscallError("epoll_wait", errno)
	}
	if errno != 0 {
		return nil, nil
	}
	for i := range p.events[:n] {
		ev := &p.events[i]
		broken := ev.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0
		p.ready = append(p.ready, readiness{
			tag: tag{ev.Fd, ev.Pad},
			in:  broken || ev.Events&unix.EPOLLIN != 0,
			out: broken || ev.Events&unix.EPOLLOUT != 0,
		})
	}
	return p.ready, nil
}

// read reads from a non-blocking fd into b, which must not be empty.
func read(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// write writes b, which must not be empty, to a non-blocking fd.
func write(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
