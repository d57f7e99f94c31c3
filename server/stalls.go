package server

import (
	"fmt"
	"time"
)

// StallOptions are the settings of the stall monitor; names in parentheses are keys of zoo.cfg.
type StallOptions struct {
	Enabled    bool          // (jvm.pause.monitor)
	Sleep      time.Duration // between two looks (jvm.pause.sleep.time.ms)
	Info, Warn time.Duration // stalls above are logged (jvm.pause.info-threshold.ms, jvm.pause.warn-threshold.ms)
}

// stallMonitor finds times in which the process did not run: it sleeps, and what it sleeps too long
// is what the machine or the collector has taken. Source: operations, section 1.4 (jvm.pause.*).
type stallMonitor struct {
	opts            StallOptions
	record          func(ms int64)
	info, warn      func(string)
	numInfo, numOut int
}

// watchStalls runs the monitor until the server stops. It runs on a goroutine of its own.
func (s *Server) watchStalls() {
	o := s.opts.Stalls
	m := stallMonitor{opts: o, record: s.figures.Summary("jvm_pause_time_ms").Add,
		info: func(text string) { s.log.Info(text) }, warn: func(text string) { s.log.Warn(text) }}
	s.log.Info(fmt.Sprintf("Starting JVM Pause Monitor with infoThresholdMs:%d warnThresholdMs:%d and sleepTimeMs:%d",
		o.Info.Milliseconds(), o.Warn.Milliseconds(), o.Sleep.Milliseconds()))
	timer := time.NewTimer(o.Sleep)
	defer timer.Stop()
	for {
		began := s.nowNs()
		timer.Reset(o.Sleep)
		select {
		case <-s.ctx.Done():
			return
		case <-timer.C:
		}
		m.slept(time.Duration(s.nowNs() - began))
	}
}

// slept takes the time that one sleep has lasted.
func (m *stallMonitor) slept(took time.Duration) {
	extra := max(0, took-m.opts.Sleep)
	m.record(extra.Milliseconds())
	log := m.info
	switch {
	case extra > m.opts.Warn:
		m.numOut++
		log = m.warn
	case extra > m.opts.Info:
		m.numInfo++
	default:
		return
	}
	log(fmt.Sprintf("Detected pause in JVM or host machine (eg GC): pause of approximately %d ms, total pause: info level: %d, warn level: %d",
		extra.Milliseconds(), m.numInfo, m.numOut))
}
