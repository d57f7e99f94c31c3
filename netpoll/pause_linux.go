package netpoll

import (
	"os"
	"reflect"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// epollFD finds the descriptor of a loop's epoll set, -1 if this gnet keeps it elsewhere. Only for pausing.
func epollFD(el gnet.EventLoop) int {
	v := reflect.ValueOf(el)
	for _, field := range []string{"poller", "fd"} {
		if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
			return -1
		}
		v = v.Elem().FieldByName(field)
	}
	if !v.IsValid() || !v.CanInt() {
		return -1
	}
	return int(v.Int())
}

// setPollEvents sets what an epoll set reports about a socket in it, in gnet's level-triggered way.
func setPollEvents(epfd, fd int, in, out bool) error {
	ev := unix.EpollEvent{Fd: int32(fd)}
	if in {
		ev.Events |= unix.EPOLLIN | unix.EPOLLPRI
	}
	if out {
		ev.Events |= unix.EPOLLOUT
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(epfd, unix.EPOLL_CTL_MOD, fd, &ev))
}
