//go:build !linux

package load

import (
	"os"

	"golang.org/x/sys/unix"
)

// A poller watches sockets with poll(2), for systems without epoll: correct, and slower with every
// session. It belongs to one loop.
type poller struct {
	fds   []unix.PollFd
	tags  []tag
	at    map[int]int // fd to its place in fds
	ready []readiness
}

// A readiness says what the socket added with tag can do. Errors and hang-ups show as both.
type readiness struct {
	tag     tag
	in, out bool
}

// A tag tells to whom a readiness belongs; the generation tells a reused index.
type tag struct{ index, generation int32 }

func newPoller() (*poller, error) { return &poller{at: map[int]int{}}, nil }

func (p *poller) close() {}

func interest(out bool) int16 {
	if out {
		return unix.POLLIN | unix.POLLOUT
	}
	return unix.POLLIN
}

// add watches fd for input, and for room for output when out is set.
func (p *poller) add(fd int, t tag, out bool) error {
	p.at[fd] = len(p.fds)
	p.fds = append(p.fds, unix.PollFd{Fd: int32(fd), Events: interest(out)})
	p.tags = append(p.tags, t)
	return nil
}

// watchOut changes whether fd is watched for room for output.
func (p *poller) watchOut(fd int, _ tag, out bool) error {
	p.fds[p.at[fd]].Events = interest(out)
	return nil
}

// remove is for sockets that are about to be closed.
func (p *poller) remove(fd int) {
	i, last := p.at[fd], len(p.fds)-1
	p.fds[i], p.tags[i] = p.fds[last], p.tags[last]
	p.at[int(p.fds[i].Fd)] = i
	p.fds, p.tags = p.fds[:last], p.tags[:last]
	delete(p.at, fd)
}

// wait returns what is ready, at most timeoutNs from now. The slice is lent until the next wait.
func (p *poller) wait(timeoutNs int64) ([]readiness, error) {
	p.ready = p.ready[:0]
	_, err := unix.Poll(p.fds, int((max(0, timeoutNs)+999_999)/1_000_000))
	if err == unix.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, os.NewSyscallError("poll", err)
	}
	for i := range p.fds {
		if ev := p.fds[i].Revents; ev != 0 {
			broken := ev&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0
			p.ready = append(p.ready, readiness{tag: p.tags[i], in: broken || ev&unix.POLLIN != 0, out: broken || ev&unix.POLLOUT != 0})
		}
	}
	return p.ready, nil
}

// read reads from a non-blocking fd into b, which must not be empty.
func read(fd int, b []byte) (int, error) { return unix.Read(fd, b) }

// write writes b, which must not be empty, to a non-blocking fd.
func write(fd int, b []byte) (int, error) { return unix.Write(fd, b) }
