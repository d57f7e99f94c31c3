package engine

import (
	"testing"

	"golang.org/x/sys/unix"
)

// cpuNs returns the CPU time that the process has used, in nanoseconds. On a machine that is
// shared it says more than the time on the clock.
func cpuNs() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// measureCPU reports the CPU time for each of b.N times n operations from here on, when the
// returned function is called.
func measureCPU(b *testing.B, n int) (report func()) {
	b.ResetTimer()
	start := cpuNs()
	return func() { b.ReportMetric(float64(cpuNs()-start)/float64(b.N*n), "cpu-ns/op") }
}

// threadNs returns the CPU time of the calling thread, in nanoseconds.
func threadNs() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}
