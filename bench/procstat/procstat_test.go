package procstat

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
)

func needProc(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
}

func TestReadSelf(t *testing.T) {
	needProc(t)
	before, err := Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if before.RSSBytes <= 1<<20 || before.PeakRSS < before.RSSBytes || before.Threads < 1 {
		t.Errorf("%+v", before)
	}
	// Work until the clock of the kernel, which counts in steps of 10 ms, has noticed.
	x, after := 1, before
	for range 10_000 {
		for range 1_000_000 {
			x = x*31 + 1
		}
		if after, err = Read(os.Getpid()); err != nil {
			t.Fatal(err)
		}
		if after.CPU > before.CPU {
			return
		}
	}
	t.Errorf("no processor time for %d: %+v, then %+v", x, before, after)
}

func TestReadUnknownProcess(t *testing.T) {
	if _, err := Read(1 << 30); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestListener(t *testing.T) {
	needProc(t)
	for _, host := range []string{"127.0.0.1", "::1"} {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Logf("%s: %v", host, err)
			continue
		}
		addr := ln.Addr().(*net.TCPAddr).AddrPort()
		if pid, err := Listener(addr); err != nil || pid != os.Getpid() {
			t.Errorf("%s: pid %d, %v; want %d", addr, pid, err, os.Getpid())
		}
		ln.Close()
		if pid, err := Listener(addr); !errors.Is(err, ErrNoListener) {
			t.Errorf("%s after closing: pid %d, %v", addr, pid, err)
		}
	}
}

func TestParseAddr(t *testing.T) {
	for s, want := range map[string]string{
		"0100007F:0BB8":                         "127.0.0.1:3000",
		"00000000:0050":                         "0.0.0.0:80",
		"00000000000000000000000001000000:1F90": "[::1]:8080",
		"0000000000000000FFFF00000100007F:0001": "127.0.0.1:1",
	} {
		if got, ok := parseAddr(s); !ok || got != netip.MustParseAddrPort(want) {
			t.Errorf("%s: %s %v, want %s", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "0100007F", "0100007F:", "xx:1", "01:1", "0100007F:FFFFF"} {
		if got, ok := parseAddr(s); ok {
			t.Errorf("%q: %s", s, got)
		}
	}
}

// What this process uses is part of what the machine does.
func TestMachineBusy(t *testing.T) {
	needProc(t)
	self, err := Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	busy, err := MachineBusy()
	if err != nil || busy < self.CPU {
		t.Errorf("machine busy for %v, %v; this process alone for %v", busy, err, self.CPU)
	}
}
