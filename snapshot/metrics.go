package snapshot

import "sync/atomic"

type storeCounters struct {
	checkpoints, replacements, aborted atomic.Uint64
	records, tombstones                atomic.Uint64
	rawBytes, tableBytes               atomic.Uint64
	retained, purged                   atomic.Uint64
}

func (c *storeCounters) checkpointDone(w *CheckpointWriter) {
	if w.replace {
		c.replacements.Add(1)
	} else {
		c.checkpoints.Add(1)
	}
	c.records.Add(uint64(w.stats.Records))
	c.tombstones.Add(uint64(w.stats.Tombstones))
	c.rawBytes.Add(uint64(w.stats.RawBytes))
	c.tableBytes.Add(uint64(w.stats.TableBytes))
}

// Metrics are counters since Open, and gauges.
type Metrics struct {
	Checkpoints, Replacements, Aborted uint64 // committed, committed, given up
	Records, Tombstones                uint64 // written by committed ones
	RawBytes, TableBytes               uint64 // keys and values as given; tables on disk
	Retained, Purged                   uint64

	Compactions, CompactedBytes uint64 // finished, and what they wrote
	BackgroundErrors            uint64
	Corruptions                 uint64
	DiskSlows                   uint64
	LowDiskReports              uint64

	// Gauges.
	DiskBytes           uint64 // the current image, tables of pinned readers included; not retained images
	Tables              int64
	Level0Sublevels     int64 // each is one more source that a scan merges; grows while compactions lag
	CompactionDebtBytes uint64
	ZombieBytes         uint64 // kept on disk only by open readers
	MemoryBytes         uint64 // block cache and memtable
}

// Metrics may be called from any goroutine. On a failed or closed store the gauges are 0.
func (s *Store) Metrics() Metrics {
	c, e := &s.counters, s.image.events
	m := Metrics{
		Checkpoints: c.checkpoints.Load(), Replacements: c.replacements.Load(), Aborted: c.aborted.Load(),
		Records: c.records.Load(), Tombstones: c.tombstones.Load(),
		RawBytes: c.rawBytes.Load(), TableBytes: c.tableBytes.Load(),
		Retained: c.retained.Load(), Purged: c.purged.Load(),
		Compactions: e.compactions.Load(), CompactedBytes: e.compactedBytes.Load(),
		BackgroundErrors: e.backgroundErrs.Load(), Corruptions: e.corruptions.Load(),
		DiskSlows: e.diskSlows.Load(), LowDiskReports: e.lowDiskReports.Load(),
	}
	if e.err() != nil || s.isClosed() {
		return m
	}
	p := s.image.db.Metrics()
	m.DiskBytes = p.DiskSpaceUsage()
	m.Tables = p.Total().TablesCount
	m.Level0Sublevels = int64(p.Levels[0].Sublevels)
	m.CompactionDebtBytes = p.Compact.EstimatedDebt
	m.ZombieBytes = p.Table.ZombieSize
	m.MemoryBytes = uint64(p.BlockCache.Size) + p.MemTable.Size
	return m
}
