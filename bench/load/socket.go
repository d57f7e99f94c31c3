package load

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// A server is one address of the ensemble.
type server struct {
	name   string // as it was given
	domain int
	addr   unix.Sockaddr
}

// resolve looks the addresses (host:port) up.
func resolve(addrs []string) ([]server, error) {
	var all []server
	for _, a := range addrs {
		t, err := net.ResolveTCPAddr("tcp", a)
		if err != nil {
			return nil, fmt.Errorf("load: address %q: %w", a, err)
		}
		s := server{name: a}
		if ip := t.IP.To4(); ip != nil || t.IP == nil {
			sa := &unix.SockaddrInet4{Port: t.Port, Addr: [4]byte{127, 0, 0, 1}}
			copy(sa.Addr[:], ip)
			s.domain, s.addr = unix.AF_INET, sa
		} else {
			sa := &unix.SockaddrInet6{Port: t.Port}
			copy(sa.Addr[:], t.IP.To16())
			if ifi, err := net.InterfaceByName(t.Zone); t.Zone != "" && err == nil {
				sa.ZoneId = uint32(ifi.Index)
			}
			s.domain, s.addr = unix.AF_INET6, sa
		}
		all = append(all, s)
	}
	return all, nil
}

// dial starts to connect and gives the non-blocking socket; it is connected, or has failed, when
// it is ready for output.
func (s *server) dial() (int, error) {
	fd, err := socket(s.domain)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	// Without it small requests would wait for the acknowledgement of the ones before.
	err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err == nil {
		if err = unix.Connect(fd, s.addr); err == unix.EINPROGRESS {
			err = nil
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// dialed returns how the attempt to connect ended.
func dialed(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	return os.NewSyscallError("connect", err)
}

func socket(domain int) (int, error) {
	fd, err := unix.Socket(domain, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
