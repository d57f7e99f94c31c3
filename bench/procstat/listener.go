package procstat

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrNoListener reports that no process of this machine listens on an address, or none that may be looked at.
var ErrNoListener = errors.New("procstat: no listening process found")

// Listener returns the id of the process that listens on addr on this machine. An address of another
// machine, or of a process that belongs to somebody else, is ErrNoListener.
func Listener(addr netip.AddrPort) (int, error) {
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			const listening = "0A"
			if len(f) < 10 || f[3] != listening {
				continue
			}
			if local, ok := parseAddr(f[1]); ok && local.Port() == addr.Port() && (local.Addr().IsUnspecified() || local.Addr() == addr.Addr().Unmap()) {
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	if len(inodes) == 0 {
		return 0, fmt.Errorf("%w: %s", ErrNoListener, addr)
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0, fmt.Errorf("procstat: %w", err)
	}
	for _, l := range links {
		if target, err := os.Readlink(l); err == nil && inodes[target] {
			return strconv.Atoi(strings.Split(l, "/")[2])
		}
	}
	return 0, fmt.Errorf("%w: %s", ErrNoListener, addr)
}

// parseAddr reads the kernel's form: the address as little-endian words of 32 bits, in hexadecimal, and the port.
func parseAddr(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	b, err1 := hex.DecodeString(host)
	p, err2 := strconv.ParseUint(port, 16, 16)
	if !ok || err1 != nil || err2 != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), ok
}
