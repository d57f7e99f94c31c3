package server

import (
	"bytes"
	"strings"
	"sync"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/prep"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/metrics"
	"zabra.dev/zabra/wal"
)

// stageFigures are the figures of the stages that a write goes through: preparation, log, application. They
// are noted once per turn or batch, never per request, so that a time is the mean of those that went
// together. They belong to the replica goroutine. Source: operations, sections 5.4 and 5.5.
type stageFigures struct {
	prepQueued, changesQueued, changesRemoved, syncQueued, staleReplies *metrics.Counter
	prepQueueMs, prepQueueSize, prepMs, proposalMs, closeSessionMs      *metrics.Summary
	syncQueueSize, syncMs, finalMs, propagationMs, quorumAckMs          *metrics.Summary

	// marks are the appends whose records are not applied yet.
	marks []appendMark
	head  int
}

// An appendMark is an append on its way through the log.
type appendMark struct {
	zxid   proto.Zxid // the last of it
	atNs   int64      // when it was appended, in server.nowNs time
	wallMs int64      // the time in its transactions
	count  int64
}

func newStageFigures(r *metrics.Registry) stageFigures {
	return stageFigures{
		prepQueued: r.Counter("prep_processor_request_queued"), changesQueued: r.Counter("outstanding_changes_queued"),
		changesRemoved: r.Counter("outstanding_changes_removed"), syncQueued: r.Counter("sync_processor_request_queued"),
		staleReplies: r.Counter("stale_replies"),
		prepQueueMs:  r.Summary("prep_processor_queue_time_ms"), prepQueueSize: r.Summary("prep_processor_queue_size"),
		prepMs: r.Summary("prep_process_time"), proposalMs: r.Summary("proposal_process_time"), closeSessionMs: r.Summary("close_session_prep_time"),
		syncQueueSize: r.Summary("sync_processor_queue_size"), syncMs: r.Summary("sync_processor_queue_and_flush_time_ms"),
		finalMs: r.Summary("write_final_proc_time_ms"), propagationMs: r.Summary("propagation_latency"), quorumAckMs: r.Summary("quorum_ack_latency"),
	}
}

// turnFigures are those of the turn at hand.
type turnFigures struct {
	beganNs, oldestNs int64
	requests          int64
	pending           int        // on their way when the turn began
	lastZxid          proto.Zxid // prepared when the turn began
}

// took counts the requests of b, which are not prepared yet.
func (t *turnFigures) took(b *batch) {
	if t.requests == 0 && len(b.requests) > 0 {
		t.oldestNs = b.requests[0].receivedNs
	}
	t.requests += int64(len(b.requests))
}

// prepared notes a turn of which everything is prepared and appended. preparedNs is when the first of
// these was done.
func (f *stageFigures) prepared(r *replica, t *turnFigures, preparedNs int64) {
	if n := t.requests; n > 0 {
		f.prepQueued.Add(n)
		f.prepQueueSize.Add(n)
		f.prepQueueMs.AddBatch(max(0, t.beganNs-t.oldestNs)/1e6, n)
		f.prepMs.AddBatch((preparedNs-t.beganNs)/1e6/n, n)
	}
	appended := r.lastZxid - t.lastZxid
	if appended <= 0 {
		return
	}
	f.proposalMs.AddBatch((r.srv.nowNs()-preparedNs)/1e6/appended, appended)
	f.syncQueueSize.Add(int64(t.pending))
}

// appended notes count transactions up to zxid, whoever has asked for them, that have gone to the log.
func (f *stageFigures) appended(s *Server, zxid proto.Zxid, count int, wallMs int64) {
	f.changesQueued.Add(int64(count))
	f.syncQueued.Add(int64(count))
	f.marks = append(f.marks, appendMark{zxid: zxid, atNs: s.nowNs(), wallMs: wallMs, count: int64(count)})
}

// applied notes a batch of count transactions up to zxid whose application began at beganNs, when they were durable.
func (f *stageFigures) applied(s *Server, zxid proto.Zxid, count, beganNs int64) {
	if count == 0 {
		return
	}
	f.changesRemoved.Add(count)
	f.finalMs.AddBatch((s.nowNs()-beganNs)/1e6/count, count)
	e := s.replica.ens
	if e != nil && e.leader == nil {
		// The transactions are the leader's; the time of the last stands for all.
		f.propagationMs.AddBatch(max(0, s.wallMs()-e.claimedMs), count)
		return
	}
	throughMs := f.syncMs
	if e != nil {
		throughMs = f.quorumAckMs // what is applied is committed
	}
	if f.head == len(f.marks) || f.marks[f.head].zxid > zxid {
		return // the last of its append is still to come
	}
	wallMs := s.wallMs()
	for f.head < len(f.marks) && f.marks[f.head].zxid <= zxid {
		m := &f.marks[f.head]
		throughMs.AddBatch(max(0, beganNs-m.atNs)/1e6, m.count)
		f.propagationMs.AddBatch(max(0, wallMs-m.wallMs), m.count)
		f.head++
	}
	if f.head == len(f.marks) {
		f.marks, f.head = f.marks[:0], 0
	}
}

// noteQuotaExceeded counts a request that a hard quota refuses, under the first component of its path.
func (s *Server) noteQuotaExceeded(req *prep.Request) {
	// Of a multi any operation may be the one; the first names the namespace as well as any.
	d := jute.NewDecoder(req.Body, s.opts.FieldMaxBytes)
	if req.Op == proto.OpMulti {
		var h proto.MultiHeader
		h.Decode(&d)
	}
	path, _ := bytes.CutPrefix(d.Buffer(), []byte{'/'})
	name, _, _ := bytes.Cut(path, []byte{'/'})
	s.figures.CounterOf("quota_exceeded_error_per_namespace", strings.ToValidUTF8(string(name), "\ufffd")).Add(1)
}

// collected is what has been taken over into the registry from counters that only grow.
type collected struct {
	mu  sync.Mutex // guards the rest
	log wal.Stats
	// Counts of netpoll.
	refused, handshakeErrors uint64
}

// collect takes into the registry what others have counted since the last time. Any goroutine may call it.
func (s *Server) collect() {
	c := &s.collected
	c.mu.Lock()
	defer c.mu.Unlock()
	log := s.replica.wal.Stats()
	if groups := log.Groups - c.log.Groups; groups > 0 {
		s.figures.Summary("sync_processor_batch_size").AddBatch((log.Records-c.log.Records)/groups, groups)
	}
	c.log = log
	net := s.np.Stats()
	s.figures.Counter("connection_rejected").Add(int64(net.RefusedConns - c.refused))
	failed := int64(net.TLSHandshakeErrors - c.handshakeErrors)
	s.figures.Counter("unsuccessful_handshake").Add(failed)
	s.authFailed.Add(failed)
	c.refused, c.handshakeErrors = net.RefusedConns, net.TLSHandshakeErrors
}

// quotaGauges add up limits and usage of all quotas by the first component of their paths. The caller holds
// a gate. Source: operations, section 5.3.
func (s *Server) quotaGauges() (gauges []metrics.Gauge) {
	e := s.engine
	top := e.Lookup([]byte(engine.PathQuota))
	if top == 0 {
		return nil
	}
	for n := e.FirstChild(top); n != 0; n = e.NextSibling(n) {
		q := quotaSums{}
		q.add(e, n)
		name := strings.ToValidUTF8(string(e.Name(n)), "\ufffd")
		for _, g := range []struct {
			name string
			sum  sum
		}{
			{"quota_count_limit_per_namespace", q.countLimit}, {"quota_bytes_limit_per_namespace", q.bytesLimit},
			{"quota_count_usage_per_namespace", q.countUsage}, {"quota_bytes_usage_per_namespace", q.bytesUsage},
		} {
			if g.sum.any {
				gauges = append(gauges, metrics.Gauge{Name: g.name, Key: name, Value: float64(g.sum.n)})
			}
		}
	}
	return gauges
}

// sum adds up numbers of which -1 is none.
type sum struct {
	n   int64
	any bool
}

func (s *sum) add(n int64) {
	if n != -1 {
		s.n += n
		s.any = true
	}
}

type quotaSums struct{ countLimit, bytesLimit, countUsage, bytesUsage sum }

// add adds what is at n and below.
func (q *quotaSums) add(e *engine.Engine, n engine.NodeRef) {
	for c := e.FirstChild(n); c != 0; c = e.NextSibling(c) {
		switch string(e.Name(c)) {
		case engine.QuotaLimitsName:
			v := engine.ParseQuota(e.Data(c))
			// The hard limit counts where there is one.
			q.countLimit.add(firstLimit(v.CountHard, v.Count))
			q.bytesLimit.add(firstLimit(v.BytesHard, v.Bytes))
		case engine.QuotaStatsName:
			v := engine.ParseQuota(e.Data(c))
			q.countUsage.add(v.Count)
			q.bytesUsage.add(v.Bytes)
		default:
			q.add(e, c)
		}
	}
}

func firstLimit(hard, soft int64) int64 {
	if hard != -1 {
		return hard
	}
	return soft
}
