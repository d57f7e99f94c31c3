// Package procstat reads what processes of this machine use: processor time, memory, disk. Everything comes from
// /proc, so it works on Linux; elsewhere every call fails with errors.ErrUnsupported or finds nothing.
//
// It is for bench/, from any goroutine.
package procstat

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Sample is what a process has used so far, and what it holds now.
type Sample struct {
	CPU      time.Duration // user and system time of all threads, those that ended included; resolution 10 ms
	RSSBytes int64         // resident memory, shared pages included
	PeakRSS  int64         // the most it ever was, bytes
	// DiskWriteBytes counts what was written towards storage, WriteCalls the write(2) family; both -1 where the kernel
	// does not tell.
	DiskWriteBytes int64
	WriteCalls     int64
	Threads        int
}

// clockTick is USER_HZ, which is 100 on every architecture that Go supports.
const clockTick = time.Second / 100

// Read samples the process with the id.
func Read(pid int) (Sample, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return Sample{}, fmt.Errorf("procstat: %w", err)
	}
	s := Sample{DiskWriteBytes: -1, WriteCalls: -1}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 18 {
		return Sample{}, fmt.Errorf("procstat: %s/stat has %d fields", dir, len(fields))
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return Sample{}, fmt.Errorf("procstat: %s/stat: %w", dir, err)
	}
	s.CPU = time.Duration(user+system) * clockTick
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return Sample{}, fmt.Errorf("procstat: %w", err)
	}
	s.RSSBytes = lineValue(status, "VmRSS:") << 10
	s.PeakRSS = lineValue(status, "VmHWM:") << 10
	s.Threads = int(lineValue(status, "Threads:"))
	if io, err := os.ReadFile(dir + "/io"); err == nil {
		s.DiskWriteBytes = lineValue(io, "write_bytes:")
		s.WriteCalls = lineValue(io, "syscw:")
	}
	return s, nil
}

// lineValue returns the number behind key, 0 when there is none.
func lineValue(text []byte, key string) int64 {
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			f := strings.Fields(rest)
			if len(f) == 0 {
				return 0
			}
			n, err := strconv.ParseInt(f[0], 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}
