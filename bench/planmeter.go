package bench

import (
	"time"

	"zabra.dev/zabra/bench/capacity"
	"zabra.dev/zabra/bench/procstat"
)

// A planMeter samples what the servers and the machine use between the ends of a step: processor time and memory of
// servers on this machine, and the counters of all that answer mntr.
type planMeter struct {
	addrs []string
	pids  []int // 0: not on this machine
	// samples of the start of the window; window writes them and what follows, the step's goroutine reads after the run
	before      []procstat.Sample
	wordsBefore []words
	busyBefore  time.Duration

	at   time.Time
	uses []capacity.ServerUse
	took time.Duration // between the samples
	busy time.Duration // of all processors of the machine; 0 when unknown
}

func newPlanMeter(addrs []string) *planMeter {
	m := &planMeter{addrs: addrs}
	for _, a := range addrs {
		pid, _ := localPID(a)
		m.pids = append(m.pids, pid)
	}
	return m
}

// local tells whether all servers run on this machine.
func (m *planMeter) local() bool {
	for _, pid := range m.pids {
		if pid == 0 {
			return false
		}
	}
	return len(m.pids) > 0
}

// window is the OnWindow of a load.Config.
func (m *planMeter) window(end bool) {
	if !end {
		m.wordsBefore = askAll(m.addrs)
		m.before = make([]procstat.Sample, len(m.pids))
		for i, pid := range m.pids {
			if pid != 0 {
				m.before[i], _ = procstat.Read(pid) // a process that has ended fails at the end of the window, too
			}
		}
		m.busyBefore, _ = procstat.MachineBusy() // 0 where the system does not tell, there at the end as well
		m.at = time.Now()
		return
	}
	m.took = time.Since(m.at)
	if busy, err := procstat.MachineBusy(); err == nil {
		m.busy = busy - m.busyBefore
	}
	m.uses = make([]capacity.ServerUse, len(m.addrs))
	for i, pid := range m.pids {
		m.uses[i].Addr = m.addrs[i]
		if pid == 0 {
			continue
		}
		if s, err := procstat.Read(pid); err == nil {
			m.uses[i].HasCPU, m.uses[i].RSS = true, s.RSSBytes
			if m.uses[i].Flushes = -1; s.WriteCalls >= 0 && m.before[i].WriteCalls >= 0 {
				m.uses[i].Flushes = s.WriteCalls - m.before[i].WriteCalls
			}
			m.uses[i].CPU = capacity.Seconds((s.CPU - m.before[i].CPU).Seconds())
		}
	}
	for i, after := range askAll(m.addrs) {
		before, u := m.wordsBefore[i], &m.uses[i]
		u.Mode = after["zk_server_state"]
		if !after.counters() || !before.counters() {
			continue
		}
		u.HasWords = true
		since := func(name string) int64 { return int64(after.number(name) - before.number(name)) }
		u.Packets, u.BytesIn, u.BytesOut = since("zk_packets_received"), since("zk_bytes_received_count"), since("zk_response_bytes")
		n0, ms0 := before.fsyncs()
		n1, ms1 := after.fsyncs()
		u.Fsyncs, u.FsyncTime = int64(n1-n0), capacity.Seconds((ms1-ms0)/1e3)
	}
}
