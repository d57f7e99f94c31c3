package server

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestStallMonitor(t *testing.T) {
	var got []string
	m := stallMonitor{
		opts:   StallOptions{Sleep: 500 * time.Millisecond, Info: time.Second, Warn: 10 * time.Second},
		record: func(ms int64) { got = append(got, fmt.Sprint(ms)) },
		info:   func(text string) { got = append(got, "INFO "+text) },
		warn:   func(text string) { got = append(got, "WARN "+text) },
	}
	for _, took := range []time.Duration{499 * time.Millisecond, 510 * time.Millisecond, 2 * time.Second, 11 * time.Second, 1500 * time.Millisecond} {
		m.slept(took)
	}
	const text = "Detected pause in JVM or host machine (eg GC): pause of approximately "
	want := []string{"0", "10", "1500", "INFO " + text + "1500 ms, total pause: info level: 1, warn level: 0",
		"10500", "WARN " + text + "10500 ms, total pause: info level: 1, warn level: 1", "1000"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestStallsAreWatched: a server that is told to has the figure, and ends with the monitor running.
func TestStallsAreWatched(t *testing.T) {
	s := startServer(t, testOptions(t, t.TempDir(), "jvm.pause.monitor=true", "jvm.pause.sleep.time.ms=5"))
	waitFor(t, func() bool { return monitor(t, s)["cnt_jvm_pause_time_ms"] >= 2 })
}
