package procstat

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// MachineBusy returns the time that all processors of this machine together have been busy since it was started: user, system
// and interrupt time, and time that a hypervisor gave to others; resolution 10 ms.
func MachineBusy() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("procstat: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	// cpu user nice system idle iowait irq softirq steal guest guest_nice; the last two are part of the first two
	const fields = 9
	if len(f) < fields || f[0] != "cpu" {
		return 0, fmt.Errorf("procstat: /proc/stat begins with %q", line)
	}
	var ticks int64
	for i, v := range f[1:fields] {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("procstat: /proc/stat: %w", err)
		}
		if idle, iowait := 3, 4; i != idle && i != iowait {
			ticks += n
		}
	}
	return time.Duration(ticks) * clockTick, nil
}
