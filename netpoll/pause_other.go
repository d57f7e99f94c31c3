//go:build !linux

package netpoll

import (
	"errors"

	"github.com/panjf2000/gnet/v2"
)

// epollFD: without epoll, sockets on gnet loops cannot be paused.
func epollFD(gnet.EventLoop) int { return -1 }

func setPollEvents(int, int, bool, bool) error { return errors.ErrUnsupported }
