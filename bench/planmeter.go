package bench

import (
	"context"
	"errors"
	"sync"
	"time"

	"zabra.dev/zabra/bench/capacity"
	"zabra.dev/zabra/bench/procstat"
)

// A planMeter samples what the servers and the machine use between the ends of a step: processor time and memory of
// servers that run on this machine or show their metrics, and the counters of all that answer mntr.
type planMeter struct {
	addrs []string
	pages []string // of the servers' metrics; nil: none
	pids  []int    // 0: not on this machine, or asked for metrics
	// samples of the start of the window; window writes them and what follows, the step's goroutine reads after the run
	before      []processFigure
	known       []bool // by server: before was had
	wordsBefore []words
	busyBefore  time.Duration

	at   time.Time
	uses []capacity.ServerUse
	took time.Duration // between the samples
	busy time.Duration // of all processors of the machine; 0 when unknown
}

// newPlanMeter samples the servers: by the pages of their metrics, or when there are none those that run on this machine.
func newPlanMeter(addrs, pages []string) *planMeter {
	m := &planMeter{addrs: addrs, pages: pages, pids: make([]int, len(addrs))}
	if pages == nil {
		for i, a := range addrs {
			m.pids[i], _ = localPID(a) // 0 when there is none
		}
	}
	return m
}

// process reads what server i's process has used.
func (m *planMeter) process(i int) (processFigure, error) {
	if m.pages != nil {
		return askMetrics(context.Background(), m.pages[i])
	}
	if m.pids[i] == 0 {
		return processFigure{}, errNotHere
	}
	s, err := procstat.Read(m.pids[i])
	return processFigure{s.CPU.Seconds(), s.RSSBytes, s.WriteCalls}, err
}

// errNotHere reports a server of another machine, or of another user.
var errNotHere = errors.New("bench: the server is not on this machine")

// processes reads those of all servers at once; had tells which were had.
func (m *planMeter) processes() (all []processFigure, had []bool) {
	all, had = make([]processFigure, len(m.addrs)), make([]bool, len(m.addrs))
	var wg sync.WaitGroup
	for i := range m.addrs {
		wg.Go(func() {
			f, err := m.process(i)
			all[i], had[i] = f, err == nil // what is lacking shows in the figures
		})
	}
	wg.Wait()
	return all, had
}

// window is the OnWindow of a load.Config.
func (m *planMeter) window(end bool) {
	if !end {
		m.wordsBefore = askAll(m.addrs)
		m.before, m.known = m.processes()
		m.busyBefore, _ = procstat.MachineBusy() // 0 where the system does not tell, there at the end as well
		m.at = time.Now()
		return
	}
	m.took = time.Since(m.at)
	if busy, err := procstat.MachineBusy(); err == nil {
		m.busy = busy - m.busyBefore
	}
	m.uses = make([]capacity.ServerUse, len(m.addrs))
	after, had := m.processes()
	for i := range m.addrs {
		u := &m.uses[i]
		u.Addr, u.Flushes = m.addrs[i], -1
		if !had[i] || !m.known[i] {
			continue
		}
		u.HasCPU, u.RSS = true, after[i].rssBytes
		if after[i].writeCalls >= 0 && m.before[i].writeCalls >= 0 {
			u.Flushes = after[i].writeCalls - m.before[i].writeCalls
		}
		u.CPU = capacity.Seconds(after[i].cpuSeconds - m.before[i].cpuSeconds)
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
