package snapshot

import (
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A Logger takes lines for the operator. Both methods may be called from any goroutine and must not call
// back into the store.
type Logger interface {
	Infof(format string, args ...any)
	Errorf(format string, args ...any)
}

// A Clock gives time to pacing and to the rate limits of log lines.
type Clock interface {
	// Now is monotonic, from any origin.
	Now() time.Duration
	// Sleep returns after d, or as soon as stop is closed.
	Sleep(d time.Duration, stop <-chan struct{})
}

// Compression is how blocks of tables are compressed.
type Compression int

// Figures: one million records of 100 B data (half of it random) and 50 B of fields, 32 KiB blocks, one core.
const (
	CompressionMinLZ Compression = iota // default: 70 MB, 0.51 s to write, 0.10 s to scan
	CompressionNone                     // 145 MB, 0.45 s, 0.08 s
	CompressionZstd                     // 61 MB, 0.70 s, 0.10 s
)

// Options tune a Store; the zero value is the default.
type Options struct {
	// Logger may be nil: nothing is logged.
	Logger Logger
	// Clock may be nil: the machine's.
	Clock Clock
	// OnFatal is called once, on a goroutine of pebble that holds pebble's locks, when the store failed for
	// good (ErrFailed). It must not block and not call the store; it should make the process end.
	OnFatal func(error)

	Compression Compression
	// TableBytesMax is the size at which a checkpoint goes on in a further table, so that no compaction has
	// to rewrite one huge table. 0 means 32 MiB.
	TableBytesMax int64
	// CacheBytes is the size of the block cache, which only scans use. 0 means 1 MiB.
	CacheBytes int64
	// CompactionBytesPerSecMax paces what background compactions write, so that the log's syncs on the same
	// disk stay fast. 0 means 48 MiB; below 0 there is no limit.
	CompactionBytesPerSecMax int64
	// CheckpointBytesPerSecMax paces what a checkpoint writes. 0 or below: no limit.
	CheckpointBytesPerSecMax int64
	// DiskSlow is the duration of a single file operation that is reported and counted; 0 turns the check off.
	DiskSlow time.Duration
}

// Sizes that are not worth an option.
const (
	defaultTableBytesMax            = 32 << 20
	defaultCacheBytes               = 1 << 20
	defaultCompactionBytesPerSecMax = 48 << 20
	// Large blocks: records are only ever scanned, and 32 KiB compress better than 4 and scan faster.
	blockBytes = 32 << 10
	// Nothing enters the memtable, so it is as small as pebble allows to be useful.
	memTableBytes = 64 << 10
	// Tables kept open; a scan holds one per level.
	openFilesMax = 128
	// syncEveryBytes has dirty pages written back while a table grows, so that its final sync is short.
	syncEveryBytes = 1 << 20
	// manifestBytesMax bounds what a retained image has to copy.
	manifestBytesMax = 256 << 10
)

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = systemClock{}
	}
	if o.Logger == nil {
		o.Logger = discard{}
	}
	if o.TableBytesMax <= 0 {
		o.TableBytesMax = defaultTableBytesMax
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.CompactionBytesPerSecMax == 0 {
		o.CompactionBytesPerSecMax = defaultCompactionBytesPerSecMax
	}
	return o
}

func (o *Options) compression() *sstable.CompressionProfile {
	switch o.Compression {
	case CompressionNone:
		return block.NoCompression
	case CompressionZstd:
		return block.ZstdCompression
	default:
		return block.MinLZCompression
	}
}

// pebbleOptions is the one configuration for the current image, retained images and staged tables. The WAL
// stays configured although nothing is ever written to it: pebble calls running without one untested.
func (o *Options) pebbleOptions(fs vfs.FS, cache *pebble.Cache, logger pebble.Logger, events *pebble.EventListener) *pebble.Options {
	p := &pebble.Options{
		FS:    fs,
		Cache: cache,
		// Explicit, because the default is the oldest there is. This version has checksums in table footers
		// and columnar blocks; later ones only add values in separate files, which are not used here.
		FormatMajorVersion:  pebble.FormatTableFormatV6,
		Logger:              logger,
		EventListener:       events,
		BytesPerSync:        syncEveryBytes,
		MemTableSize:        memTableBytes,
		MaxOpenFiles:        openFilesMax,
		MaxManifestFileSize: manifestBytesMax,
		// A checkpoint overlaps nearly all older tables and so lands in level 0. Four of them are compacted
		// into the base level, one compaction at a time.
		L0CompactionThreshold:      4,
		CompactionConcurrencyRange: func() (int, int) { return 1, 1 },
	}
	p.Experimental.FileCacheShards = 1
	// Scans must not cause compactions.
	p.Experimental.ReadSamplingMultiplier = -1
	for i := range p.TargetFileSizes {
		p.TargetFileSizes[i] = min(8<<20<<i, o.TableBytesMax)
	}
	for i := range p.Levels {
		p.Levels[i].BlockSize = blockBytes
		p.Levels[i].IndexBlockSize = blockBytes
		p.Levels[i].Compression = o.compression
	}
	p.EnsureDefaults()
	return p
}

type discard struct{}

func (discard) Infof(string, ...any)  {}
func (discard) Errorf(string, ...any) {}

type systemClock struct{}

var clockOrigin = time.Now()

func (systemClock) Now() time.Duration { return time.Since(clockOrigin) }

func (systemClock) Sleep(d time.Duration, stop <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-stop:
	}
}
