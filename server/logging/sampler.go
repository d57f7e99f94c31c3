package logging

import (
	"context"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"
)

// Sampler lets one line per interval through and counts those it holds back. The zero Sampler lets one line
// per second through. It may be used by any number of goroutines and never blocks; keep one beside each
// place that can be made to log at the rate of requests.
type Sampler struct {
	Interval time.Duration // between lines; 0 means one second

	next       atomic.Int64 // Unix nanoseconds from which the next line may pass
	suppressed atomic.Int64
}

// Allow reports whether a line may be written at now, and if so how many were held back since the last one.
func (s *Sampler) Allow(now time.Time) (suppressed int64, ok bool) {
	interval := s.Interval
	if interval <= 0 {
		interval = time.Second
	}
	at := now.UnixNano()
	next := s.next.Load()
	if at < next || !s.next.CompareAndSwap(next, at+int64(interval)) {
		s.suppressed.Add(1)
		return 0, false
	}
	return s.suppressed.Swap(0), true
}

// Warn logs at WARN if a line may be written now. A line after some that were held back says how many.
func (s *Sampler) Warn(log *slog.Logger, message string, attrs ...slog.Attr) {
	ctx := context.Background()
	if !log.Enabled(ctx, slog.LevelWarn) {
		return
	}
	now := time.Now()
	suppressed, ok := s.Allow(now)
	if !ok {
		return
	}
	var pc [1]uintptr
	runtime.Callers(2, pc[:]) // the line is the caller's
	r := slog.NewRecord(now, slog.LevelWarn, message, pc[0])
	r.AddAttrs(attrs...)
	if suppressed > 0 {
		r.AddAttrs(slog.Int64("suppressed", suppressed))
	}
	// The handler has nowhere to report a failed write to.
	_ = log.Handler().Handle(ctx, r)
}
