package snapshot

// A Trigger decides when the next checkpoint is due, by the number of transactions and the bytes of log
// since the last one, each against a limit that is drawn anew every time so that the servers of an ensemble
// do not all write at once. It is a plain value without a lock: one goroutine uses it.
//
// Due is true as soon as
//
//	txns > snapCount/2 + r1    or    logBytes > limit/2 + r2,   r1 in [0, snapCount/2), r2 in [0, limit/2)
//
// Source: storage formats, section 3.3 (SyncRequestProcessor.shouldSnapshot).
type Trigger struct {
	snapCount  int64
	limitBytes int64 // 0: off
	random     func(n int64) int64

	txns, logBytes         int64
	txnsOver, logBytesOver int64
}

// MinSnapCount is the least that zookeeper.snapCount may be; smaller values become this.
const MinSnapCount = 2

// NewTrigger takes zookeeper.snapCount and zookeeper.snapSizeLimitInKb (KiB; 0 or less turns the size off).
// random(n) returns a number in [0, n) for n > 0, such as rand.Int64N of a seeded generator.
func NewTrigger(snapCount, snapSizeLimitKiB int64, random func(n int64) int64) *Trigger {
	t := &Trigger{snapCount: max(snapCount, MinSnapCount), limitBytes: max(snapSizeLimitKiB, 0) << 10, random: random}
	t.Reset()
	return t
}

// Logged counts transactions that were appended to the log and the bytes the log has grown by.
func (t *Trigger) Logged(txns, bytes int64) {
	t.txns += txns
	t.logBytes += bytes
}

// Due tells whether a checkpoint should be taken.
func (t *Trigger) Due() bool {
	return t.txns > t.txnsOver || (t.limitBytes > 0 && t.logBytes > t.logBytesOver)
}

// Reset starts counting anew and draws new limits: when a checkpoint begins, and also when one that is due
// is skipped because the last is still being written.
func (t *Trigger) Reset() {
	t.txns, t.logBytes = 0, 0
	t.txnsOver = t.snapCount/2 + t.random(t.snapCount/2)
	if t.limitBytes > 0 {
		t.logBytesOver = t.limitBytes/2 + t.random(t.limitBytes/2)
	}
}
