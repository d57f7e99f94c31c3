package capacity

import (
	"fmt"
	"time"
)

// A Limit is what kept a load from going on growing.
type Limit struct {
	// Kind is none, machine, generator, disk, errors, waiting or unknown.
	Kind string `json:"kind"`
	// Text says it with the figures that it is judged by.
	Text string `json:"text"`
}

// nearlyAll is the share of a resource in use from which it counts as the limit.
const nearlyAll = 0.85

// busyElsewhere is the share of a machine's processors that others may use before a limit is blamed on them.
const busyElsewhere = 0.2

// JudgeLimit says what limits a mix. The step looked at is the lowest that missed the objective, else the closed loop.
func JudgeLimit(m *Mix, machine Machine, loops int) Limit {
	var s *Step
	for i := range m.Steps {
		if i > m.Knee && !m.Steps[i].OK() {
			s = &m.Steps[i]
			break
		}
	}
	if s == nil {
		if m.Peak == nil {
			return Limit{"unknown", "Nothing was measured to the end."}
		}
		return Limit{"none", fmt.Sprintf("The limit was not reached: %s requests/s, all that was offered, kept the objective.", Count(m.Capacity()))}
	}
	at := fmt.Sprintf("At %s/s", Count(s.Offered))
	busy := fmt.Sprintf("%s %.2g of %d processors were busy", at, min(s.BusyCores, float64(machine.CPUs)), machine.CPUs)
	servers, hasCPU := s.ServerCores()
	if hasCPU {
		busy += fmt.Sprintf(" (servers %.2g, generator %.2g, everything else %.2g)", servers, s.GeneratorCores, max(0, s.BusyCores-servers-s.GeneratorCores))
	}
	fsync, fsyncs := 0.0, 0.0
	for _, u := range s.Servers {
		if u.HasWords && s.Measured > 0 {
			t := time.Duration(s.Measured).Seconds()
			fsync, fsyncs = max(fsync, float64(u.FsyncTime)/t), max(fsyncs, float64(u.Fsyncs)/t)
		}
	}
	inFsync := ""
	if fsyncs > 0 && fsync > 0 {
		inFsync = fmt.Sprintf("the log was in fsync for %.0f %% of the time (%s fsyncs/s of %s)", 100*fsync, Count(fsyncs), Short(time.Duration(fsync/fsyncs*1e9)))
		busy += " and " + inFsync
	}
	switch {
	case s.Incomplete != "":
		return Limit{"errors", at + " the step ended early: " + s.Incomplete + "."}
	case s.Disconnects > 0 || float64(s.Errors) > maxErrorShare*float64(s.Count+s.Errors):
		return Limit{"errors", fmt.Sprintf("%s %d requests failed and %d connections broke.", at, s.Errors, s.Disconnects)}
	case s.GeneratorCores > nearlyAll*float64(loops):
		return Limit{"generator", fmt.Sprintf("%s the generator itself was busy (%.2g of its %d loops): give it more with -loops, or a machine of its own.", at, s.GeneratorCores, loops)}
	case s.BusyCores > nearlyAll*float64(machine.CPUs):
		if hasCPU && s.BusyCores-servers-s.GeneratorCores > busyElsewhere*float64(machine.CPUs) {
			return Limit{"machine", busy + ": processor time, much of it taken by other programs. On a quiet machine the load would be higher."}
		}
		return Limit{"machine", busy + ": processor time."}
	case fsync > nearlyAll:
		return Limit{"disk", at + " " + inFsync + ": the disk of the log."}
	case s.BusyCores > 0 && hasCPU:
		return Limit{"waiting", busy + ": neither is full, so requests waited for something else (pauses, the scheduler of a shared machine, slow fsyncs, the network)."}
	}
	return Limit{"unknown", at + " the objective was missed. The servers' processor time is not known, so neither is the cause."}
}
