package bench

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"time"

	"zabra.dev/zabra/bench/capacity"
	"zabra.dev/zabra/bench/load"
	"zabra.dev/zabra/bench/procstat"
)

// Usage is what a server process on this machine used during the measurement.
type Usage struct {
	Addr    string        `json:"addr"`
	PID     int           `json:"pid"`
	CPU     load.Duration `json:"cpu"`
	RSS     int64         `json:"rss_bytes"` // at the end
	PeakRSS int64         `json:"peak_rss_bytes"`
	// Bytes of page cache made dirty, and calls of the write family; -1 when unknown. On file systems with large folios the
	// kernel counts a whole folio for a small write: several times of what reaches the disk.
	DiskWriteBytes int64 `json:"disk_write_bytes"`
	WriteCalls     int64 `json:"write_calls"`
}

// A Machine tells where figures come from.
type Machine = capacity.Machine

// A Report is a result with what the servers used meanwhile.
type Report struct {
	load.Result
	Servers []Usage `json:"servers"`
	Machine Machine `json:"machine"`
}

// A meter samples the server processes of an ensemble as far as they are on this machine.
type meter struct {
	addrs  []string
	pids   []int
	before []procstat.Sample
	usages []Usage
}

func newMeter(addrs []string) *meter {
	m := &meter{}
	for _, a := range addrs {
		if pid, ok := localPID(a); ok {
			m.addrs = append(m.addrs, a)
			m.pids = append(m.pids, pid)
		}
	}
	return m
}

// localPID returns the process that listens on addr, false when it is not on this machine.
func localPID(addr string) (int, bool) {
	t, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return 0, false
	}
	ip := t.AddrPort().Addr()
	if !ip.IsValid() {
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	pid, err := procstat.Listener(netip.AddrPortFrom(ip, uint16(t.Port)))
	return pid, err == nil
}

// window is the OnWindow of a load.Config.
func (m *meter) window(end bool) {
	if !end {
		m.before = make([]procstat.Sample, len(m.pids))
	}
	for i, pid := range m.pids {
		s, err := procstat.Read(pid)
		if err != nil {
			continue // the process has ended, which the result tells
		}
		if !end {
			m.before[i] = s
			continue
		}
		b := m.before[i]
		m.usages = append(m.usages, Usage{
			Addr: m.addrs[i], PID: pid, CPU: load.Duration(s.CPU - b.CPU), RSS: s.RSSBytes, PeakRSS: s.PeakRSS,
			DiskWriteBytes: s.DiskWriteBytes - b.DiskWriteBytes, WriteCalls: s.WriteCalls - b.WriteCalls,
		})
	}
}

// usage returns what was sampled; empty when no server is on this machine.
func (m *meter) usage() []Usage { return m.usages }

func machine() Machine {
	first := func(path string) string {
		b, _ := os.ReadFile(path)
		return strings.TrimSpace(string(b))
	}
	m := Machine{CPUs: runtime.NumCPU(), Kernel: first("/proc/sys/kernel/osrelease")}
	for line := range strings.Lines(first("/proc/cpuinfo")) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			m.Model = strings.TrimSpace(v)
			break
		}
	}
	m.LoadAverage, _, _ = strings.Cut(first("/proc/loadavg"), " ")
	return m
}

// cpuPerOp is the processor time of all servers together per successful request.
func (r *Report) cpuPerOp() time.Duration {
	var cpu time.Duration
	for _, u := range r.Servers {
		cpu += time.Duration(u.CPU)
	}
	if r.Total.Count == 0 {
		return 0
	}
	return cpu / time.Duration(r.Total.Count)
}
