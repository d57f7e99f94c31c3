package wal

import (
	"errors"
	"fmt"

	"zabra.dev/zabra/wal/walfs"
)

// writer is the state of the goroutine that writes records.
//
//	segment   | header | durable records ...    | group ...    | zeroes or an older life
//	                                            ^              ^
//	                                            group          off
//
// Without NoSync, group == off between two groups.
type writer struct {
	pending []*Batch // taken from the queue, in order
	nextRec int      // first record of pending[0] that is not written

	file  walfs.File // the segment being written, nil before the first
	seg   *segment   // likewise
	seed  uint64     // of seg
	off   int64      // where the next record goes
	group int64      // first record of those that are not known to be durable
	limit int64      // records end here at the latest

	vec   [][]byte // of the group being written
	block []byte   // what the next write writes: whole pages, page-aligned
	// tail is the page that off is in, up to off: each group writes it once more, so that writes are of whole
	// pages. Nothing of it changes by that (README.md, A3).
	tail []byte
}

// Sizes of the buffer of writes: it grows from the one to the other with the groups.
const (
	blockMinBytes = 64 << 10
	blockMaxBytes = 1 << 20
)

// groupPlan is what goes out in one write.
type groupPlan struct {
	off     int64 // behind it
	zxid    int64 // newest in it
	sum     uint64
	batches int // of pending that it finishes
	nextRec int // of the batch after those
	records int64
}

func (w *WAL) writeLoop() {
	for {
		select {
		case <-w.writeWake:
			w.write()
		case <-w.quit:
			return
		}
	}
}

// write writes group after group until nothing is queued, then does what was
// requested. It returns early, with batches pending, if there is no space.
func (w *WAL) write() {
	out := &w.out
	for {
		w.mu.Lock()
		out.pending = append(out.pending, w.queue...)
		clear(w.queue)
		w.queue = w.queue[:0]
		failure := w.err
		var ctl control
		if len(out.pending) == 0 || failure != nil {
			if len(w.controls) > 0 {
				ctl = w.controls[0]
				w.controls = append(w.controls[:0], w.controls[1:]...)
			}
		}
		w.mu.Unlock()

		switch {
		case failure != nil:
			w.releaseAll(out.pending)
			out.pending, out.nextRec = out.pending[:0], 0
			if ctl.done == nil {
				return
			}
			ctl.done <- failure
		case len(out.pending) > 0:
			err := w.writeGroup()
			switch {
			case err == nil:
			case errors.Is(err, ErrNoSpace):
				w.setState(StateNoSpace, err)
				w.refuseControls(err)
				return
			default:
				w.fail(err)
			}
		case ctl.done != nil:
			ctl.done <- ctl.run()
		default:
			return
		}
	}
}

// refuseControls answers all requests with err.
func (w *WAL) refuseControls(err error) {
	w.mu.Lock()
	controls := w.controls
	w.controls = nil
	w.mu.Unlock()
	for _, c := range controls {
		c.done <- err
	}
}

// writeGroup writes and syncs as much of what is pending as one group may hold. If
// the first record needs another segment it begins that. Only ErrNoSpace leaves
// things as they were, to be tried again; the bytes written then are the same.
func (w *WAL) writeGroup() error {
	out := &w.out
	if r := out.pending[0].Records[out.nextRec]; !out.fits(recordSize(r.Len)) {
		if err := w.roll(recordSize(r.Len)); err != nil {
			return err
		}
	}
	if (out.off-out.group)/recordAlign > backMax {
		// NoSync let the group grow beyond what a record can say about it.
		if err := w.syncRecords(); err != nil {
			return err
		}
		out.group = out.off
	}
	g := out.plan(w.opts.MaxGroupBytes)
	if g.records == 0 {
		panic(fmt.Sprintf("wal: nothing fits into segment %s at %d of %d", out.seg.name, out.off, out.limit))
	}
	bytes := g.off - out.off
	last, err := out.writePages(bytes)
	clear(out.vec)
	if invariants {
		out.mustBeUnchanged(g)
	}
	if err != nil {
		return noSpace(segmentError(out.seg.name, "write records", err))
	}
	group := out.group
	if !w.opts.NoSync {
		if err := w.syncRecords(); err != nil {
			return err
		}
		group = g.off
	}
	out.off, out.group, out.nextRec = g.off, group, g.nextRec
	out.tail = append(out.tail[:0], last...)

	w.mu.Lock()
	out.seg.last = position{seq: out.seg.seq, end: g.off, zxid: g.zxid, sum: g.sum}
	out.seg.bytes = max(out.seg.bytes, g.off)
	w.stats.Groups++
	w.stats.Records += g.records
	w.stats.Bytes += bytes
	w.stats.Batches += int64(g.batches)
	wasStuck, spares := w.state == StateNoSpace, len(w.spares)
	wakeTidier := false
	if w.tidyAfter > 0 {
		w.tidyAfter -= bytes
		wakeTidier = w.tidyAfter <= 0
	}
	w.mu.Unlock()

	if wasStuck && spares == 0 {
		w.setState(StateLowSpace, nil) // until the tidier finds space for a spare
	} else if wasStuck {
		w.setState(StateReady, nil)
	}
	if w.opts.OnDurable != nil {
		w.opts.OnDurable(g.zxid)
	}
	w.releaseAll(out.pending[:g.batches])
	n := copy(out.pending, out.pending[g.batches:])
	clear(out.pending[n:])
	out.pending = out.pending[:n]
	if wakeTidier {
		w.wakeTidier()
	}
	return nil
}

func (out *writer) fits(size int64) bool {
	return out.file != nil && out.off+size <= out.limit
}

// plan fills in the headers of the records that the next group holds, and collects
// their bytes in out.vec. At least the first pending record fits into the segment.
func (out *writer) plan(maxBytes int64) groupPlan {
	g := groupPlan{off: out.off, nextRec: out.nextRec}
	out.vec = out.vec[:0]
	for _, b := range out.pending {
		from := b.Records[g.nextRec].Off
		to := from
		full := false
		for g.nextRec < len(b.Records) {
			r := b.Records[g.nextRec]
			size := recordSize(r.Len)
			back := (g.off - out.group) / recordAlign
			full = back > backMax || g.off+size > out.limit ||
				(g.records > 0 && g.off+size-out.off > maxBytes)
			if full {
				break
			}
			g.sum = putHeader(b.Buf[r.Off:r.Off+HeaderSize+r.Len], recordSeed(out.seed, g.off), uint32(back), r.Zxid)
			g.zxid = r.Zxid
			g.off += size
			to += int(size)
			g.records++
			g.nextRec++
		}
		if to > from {
			out.vec = append(out.vec, b.Buf[from:to])
		}
		if full {
			return g
		}
		g.batches++
		g.nextRec = 0
	}
	return g
}

// writePages writes out.vec, which has the given number of bytes, at out.off, in pages: the first begins with out.tail, the
// last ends with zeroes. It lends the beginning of the page that the next record goes to, until the next call, and
// leaves all that is needed to write the same again.
func (out *writer) writePages(bytes int64) (tail []byte, err error) {
	want := roundUp(int64(len(out.tail))+bytes, walfs.DirectAlign)
	if size := min(max(want, blockMinBytes), blockMaxBytes); int64(len(out.block)) < size {
		out.block = walfs.AlignedBuffer(int(roundUp(size, blockMinBytes)))
	}
	off, n := out.off-int64(len(out.tail)), copy(out.block, out.tail)
	for _, b := range out.vec {
		for len(b) > 0 {
			if n == len(out.block) {
				if _, err := out.file.WriteAt(out.block, off); err != nil {
					return nil, err
				}
				off, n = off+int64(n), 0
			}
			m := copy(out.block[n:], b)
			n, b = n+m, b[m:]
		}
	}
	last := out.block[:roundUp(int64(n), walfs.DirectAlign)]
	clear(last[n:])
	_, err = out.file.WriteAt(last, off)
	return out.block[n-n%walfs.DirectAlign : n], err
}

// mustBeUnchanged panics if a payload of g is not what it was when plan summed it: then
// its owner broke the promise not to write to it, and a bad record is on disk.
func (out *writer) mustBeUnchanged(g groupPlan) {
	off, next := out.off, out.nextRec
	for _, b := range out.pending {
		for ; next < len(b.Records) && off < g.off; next++ {
			r := b.Records[next]
			rec := b.Buf[r.Off : r.Off+HeaderSize+r.Len]
			h, ok := getHeader(rec, recordSeed(out.seed, off))
			if !ok || checksum(rec, recordSeed(out.seed, off)) != h.sum {
				panic(fmt.Sprintf("wal: record of zxid 0x%x was changed while the log had it", r.Zxid))
			}
			off += h.size()
		}
		next = 0
	}
}

// syncRecords makes what was written to the current segment durable.
func (w *WAL) syncRecords() error {
	out := &w.out
	began := w.opts.Now()
	if err := out.file.Datasync(); err != nil {
		return segmentError(out.seg.name, "sync", err)
	}
	took := w.opts.Now().Sub(began)
	slow := w.opts.SlowSync > 0 && took >= w.opts.SlowSync
	w.mu.Lock()
	w.stats.Syncs++
	w.stats.SyncLast = took
	w.stats.SyncTotal += took
	w.stats.SyncMax = max(w.stats.SyncMax, took)
	if slow {
		w.stats.SlowSyncs++
	}
	bytes := out.seg.bytes
	w.mu.Unlock()
	if slow && w.opts.OnSlowSync != nil {
		w.opts.OnSlowSync(took, bytes)
	}
	return nil
}

// sync makes what NoSync left unsynced durable.
func (w *WAL) sync() error {
	out := &w.out
	if out.group == out.off {
		return nil
	}
	if err := w.syncRecords(); err != nil {
		return w.fail(err)
	}
	out.group = out.off
	return nil
}

// finish ends the log in good order: all is durable, and a seal says so.
func (w *WAL) finish() error {
	out := &w.out
	if err := w.sync(); err != nil {
		return err
	}
	if out.file == nil {
		return nil
	}
	if err := w.writeSeal(out.file, out.seg, out.seg.last); err != nil {
		return w.fail(err)
	}
	return nil
}

// writeSeal writes and syncs the seal of s, which ends at end. All up to there must
// be durable. Without space, which only a file system that does not overwrite in place
// can be short of here, there is no seal: the log is complete without.
func (w *WAL) writeSeal(file walfs.File, s *segment, end position) error {
	err := file.SetDirect(false)
	if err == nil {
		_, err = file.WriteAt(s.encodeSeal(end), sealOffset)
	}
	if walfs.IsNoSpace(err) {
		w.opts.Logf("wal: segment %s gets no seal: %v", s.name, err)
		return nil
	}
	if err != nil {
		return segmentError(s.name, "write seal", err)
	}
	if err := file.Datasync(); err != nil {
		return segmentError(s.name, "sync seal", err)
	}
	return nil
}
