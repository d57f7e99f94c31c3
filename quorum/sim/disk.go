package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cespare/xxhash/v2"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/wal"
	"zabra.dev/zabra/wal/walfs"
)

// disk is what a server has on its disk, as the process knows it.
type disk struct {
	log     *wal.WAL    // nil when it cannot be opened
	logErr  error       // the log failed for good
	durable quorum.Zxid // reported by the log, not told to the machine yet; 0: nothing
	dying   bool        // in a crash: nobody is there to hear of what becomes durable
	syncing bool        // the log has been given time to write

	image             *image // newest durable one, nil if there is none
	accepted, current quorum.Epoch
	// damaged: the history cannot be trusted, for bits have flipped. The server does not vote
	// with it and asks the leader for a snapshot.
	damaged bool
	// noHistory: the log cannot be read back for learners.
	noHistory bool
	claimed   quorum.Zxid  // under ReceivedTreeVotes
	late      []*wal.Batch // under AppendsOutliveRole: what is still to be appended

	ckpt       *engine.Checkpoint
	ckptImage  *image
	sinceImage int // transactions applied since the newest image was begun
}

const (
	logDir  = "/log"
	dataDir = "/data"
)

// An image is a tree as of a zxid, as the records of a checkpoint.
type image struct {
	zxid quorum.Zxid
	// replaces: the image came from a leader, and what the log holds from before is void.
	replaces bool
	records  map[string][]byte
	// marks tell the checkers what is in the image that nobody had committed when it was made.
	marks []txnMark
}

func (m *image) clone() *image {
	c := &image{zxid: m.zxid, records: make(map[string][]byte, len(m.records))}
	for k, v := range m.records {
		c.records[k] = v
	}
	return c
}

func (m *image) put(key, value []byte) error {
	if value == nil {
		delete(m.records, string(key))
	} else {
		m.records[string(key)] = bytes.Clone(value)
	}
	return nil
}

func (m *image) keys() []string {
	keys := make([]string, 0, len(m.records))
	for k := range m.records {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// encode gives the bytes of the image, which are, a count in front of each list,
//
//	[zxid][replaces][marks: [zxid][sum][digest]][records: [key][value]][xxhash64]
func (m *image) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(m.zxid))
	if m.replaces {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.marks)))
	for _, t := range m.marks {
		b = binary.BigEndian.AppendUint64(b, uint64(t.zxid))
		b = binary.BigEndian.AppendUint64(b, t.sum)
		b = binary.BigEndian.AppendUint64(b, t.digest)
	}
	for _, k := range m.keys() {
		b = append(b, byte(len(k)))
		b = append(b, k...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(m.records[k])))
		b = append(b, m.records[k]...)
	}
	return binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
}

var errImage = errors.New("sim: damaged image")

func decodeImage(b []byte) (*image, error) {
	if len(b) < 21 || xxhash.Sum64(b[:len(b)-8]) != binary.BigEndian.Uint64(b[len(b)-8:]) {
		return nil, errImage
	}
	m := &image{zxid: quorum.Zxid(binary.BigEndian.Uint64(b)), replaces: b[8] == 1, records: map[string][]byte{}}
	marks := binary.BigEndian.Uint32(b[9:])
	for b = b[13 : len(b)-8]; marks > 0; marks-- {
		m.marks = append(m.marks, txnMark{int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])})
		b = b[24:]
	}
	for len(b) > 0 {
		k := string(b[1 : 1+b[0]])
		b = b[1+len(k):]
		n := binary.BigEndian.Uint32(b)
		m.records[k] = b[4 : 4+n : 4+n]
		b = b[4+n:]
	}
	return m, nil
}

var treeOptions = engine.Options{Digest: true}

// load makes the tree of an image; that of nil is the empty one.
func (m *image) load() (*engine.Engine, error) {
	if m == nil {
		return engine.New(treeOptions)
	}
	l := engine.Load(treeOptions)
	for _, k := range m.keys() {
		if err := l.Put([]byte(k), m.records[k]); err != nil {
			l.Close()
			return nil, err
		}
	}
	return l.Finish()
}

func (s *server) imageZxid() quorum.Zxid {
	if s.image == nil {
		return 0
	}
	return s.image.zxid
}

// lastZxid is the newest zxid of log and image, -1 if they are not to be trusted.
func (s *server) lastZxid() quorum.Zxid {
	if s.damaged {
		return -1
	}
	return max(s.log.LastZxid(), s.imageZxid(), s.claimed)
}

// durableZxid is how far lastZxid is on disk.
func (s *server) durableZxid() quorum.Zxid {
	if s.damaged {
		return -1
	}
	return max(s.log.DurableZxid(), s.imageZxid())
}

// diskHook injects faults into what the process does with its disk.
func (s *server) diskHook(op walfs.Op) error {
	switch op.Kind {
	case walfs.OpWrite:
		s.written[op.Name] = op.Off
	case walfs.OpRename:
		s.written[op.NewName] = s.written[op.Name]
	case walfs.OpSync:
		if s.failSyncs > 0 {
			s.failSyncs--
			return syscall.EIO
		}
	}
	return nil
}

func readFile(fsys walfs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, err
	}
	return b, nil
}

// writeFile replaces a file so that a crash leaves the old or the new one.
func (s *server) writeFile(name string, content []byte) error {
	tmp := dataDir + "/" + name + ".tmp"
	f, err := s.mem.Create(tmp)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(content, 0); err != nil {
		return err
	}
	if s.w.opts.Mistakes == EpochNotSynced && name != "image" {
		return s.mem.Rename(tmp, dataDir+"/"+name)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := s.mem.Rename(tmp, dataDir+"/"+name); err != nil {
		return err
	}
	return s.mem.SyncDir(dataDir)
}

func (s *server) readEpoch(name string) (quorum.Epoch, error) {
	b, err := readFile(s.mem, dataDir+"/"+name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(b), 10, 64)
}

func (s *server) writeEpoch(name string, e quorum.Epoch) error {
	return s.writeFile(name, strconv.AppendInt(nil, e, 10))
}

func (s *server) logOptions() wal.Options {
	return wal.Options{
		SegmentBytes: wal.MinSegmentBytes, Preallocate: wal.Prealloc(s.w.opts.Seed % 3), SpareSegments: 1,
		Manual: true, Salt: s.rng.Uint64, Now: func() time.Time { return time.Unix(0, int64(s.w.now)) },
		OnDurable: func(z int64) {
			if s.dying {
				return
			}
			s.durable = z
			s.hist.stable = z
		},
		OnError: func(err error) { s.logErr = err },
	}
}

// recover reads everything back that a process finds at its start. An error is one of the
// disk at this moment, not damage.
func (s *server) recover() error {
	s.disk = disk{}
	if err := s.mem.MkdirAll(dataDir); err != nil {
		return err
	}
	if err := s.mem.SyncDir(dataDir); err != nil {
		return err // a killed process may have left names that are not durable
	}
	var err error
	if s.accepted, err = s.readEpoch("acceptedEpoch"); err != nil {
		return err
	}
	if s.current, err = s.readEpoch("currentEpoch"); err != nil {
		return err
	}
	if err := s.recoverConfigs(); err != nil {
		return err
	}
	s.log, err = wal.Open(s.mem, logDir, s.logOptions())
	if errors.Is(err, wal.ErrCorrupt) {
		return s.setDamaged(err)
	}
	if err != nil {
		return err
	}
	b, err := readFile(s.mem, dataDir+"/image")
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if s.image, err = decodeImage(b); err != nil && s.log.BaseZxid() > 0 {
			return s.setDamaged(err)
		}
		if err != nil {
			s.trace('~', "the image is damaged, but the log is complete")
		}
	}
	if s.blank && s.image == nil && s.log.LastZxid() == 0 && s.w.opts.Mistakes != EmptyDiskVotes {
		return s.setDamaged(errors.New("the disk is empty"))
	}
	if m := s.image; m != nil && m.replaces && s.log.BaseZxid() != m.zxid && s.w.opts.Mistakes != KeepLogAfterSnap {
		if err := s.log.Reset(m.zxid); err != nil {
			return err
		}
	}
	if z := s.imageZxid(); s.log.LastZxid() < z && quorum.CounterOf(z) != 0 {
		// What was applied before it was durable here is in the image alone. The log must not
		// go on behind a hole. (The start of an epoch stands for no transaction.)
		if err := s.log.Reset(z); err != nil {
			return err
		}
	}
	if s.log.BaseZxid() > s.imageZxid() {
		return s.setDamaged(errors.New("the log begins behind the image"))
	}
	if s.engine, err = s.image.load(); err != nil {
		return s.setDamaged(err)
	}
	s.writeConfigNode()
	s.hist = newHistory(s.image)
	s.w.check.imageLoaded(s)
	if err := s.replay(1 << 62); err != nil {
		s.engine.Close()
		return s.setDamaged(err)
	}
	s.hist.stable = s.durableZxid()
	s.fillWindow()
	return nil
}

// setDamaged makes the server one without history until it gets a snapshot.
func (s *server) setDamaged(cause error) error {
	if !slices.Contains(s.w.plan.victims, s.id) {
		s.w.fail("recovery", "server %d: %v", s.id, cause)
	}
	s.trace('~', "damaged: %v", cause)
	s.damaged, s.image = true, nil
	s.hist = history{}
	s.window = zab.NewWindow(0, 0)
	var err error
	s.engine, err = engine.New(treeOptions)
	return err
}

// replay applies what the log has behind the tree, up to and with limit.
func (s *server) replay(limit quorum.Zxid) error {
	err := s.log.Replay(max(s.engine.LastZxid(), s.log.BaseZxid())+1, func(z int64, packet []byte) error {
		if z > limit {
			return errStop
		}
		s.hist.add(z, packet)
		return s.applyTxn(z, packet)
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

var errStop = errors.New("sim: far enough")

// applyTxn applies a transaction while nobody is served.
func (s *server) applyTxn(z quorum.Zxid, packet []byte) error {
	if err := s.applyTo(s.engine, z, packet); err != nil {
		return err
	}
	s.hist.setDigest(z, s.engine.Digest())
	return nil
}

func (s *server) applyTo(e *engine.Engine, z quorum.Zxid, packet []byte) error {
	txn, err := proto.ProposalTxn(packet)
	if err != nil {
		return err
	}
	res, err := e.Apply(txn, nil)
	if err != nil {
		return err
	}
	if res.DigestMismatch {
		s.w.fail("digest", "server %d at 0x%x: tree 0x%x, transaction 0x%x", s.id, z, e.Digest(), res.TxnDigest)
	}
	return nil
}

// fillWindow makes the window of the newest transactions of the log.
func (s *server) fillWindow() {
	count := 0
	s.mustReplay(func(int64, []byte) error { count++; return nil })
	skip := max(0, count-s.w.plan.windowAtBoot)
	base := s.log.BaseZxid()
	defer func() { s.window.KeepsHoles = s.w.opts.Mistakes == SyncNotInWindow }()
	s.window = nil
	s.mustReplay(func(z int64, packet []byte) error {
		if skip--; skip >= 0 {
			base = z
			return nil
		}
		if s.window == nil {
			s.window = zab.NewWindow(base, 0)
		}
		s.window.Append(z, bytes.Clone(packet), nil)
		return nil
	})
	if s.window == nil {
		s.window = zab.NewWindow(base, 0)
	}
}

func (s *server) mustReplay(f func(int64, []byte) error) {
	if err := s.log.Replay(0, f); err != nil {
		panic(err) // it has just been read
	}
}

// logQueued sees to it that the log gets to write what is queued.
func (s *server) logQueued() {
	if s.syncing || s.log == nil {
		return
	}
	s.syncing = true
	p := s.w.plan
	d := s.w.span(s.w.cpu, p.syncMin, p.syncMax)
	if s.slow > 0 {
		d = s.w.span(s.w.cpu, 50*ms, 500*ms)
	}
	s.inLife(d, func() {
		s.syncing = false
		s.log.Step()
		if s.logErr != nil {
			s.die(s.logErr)
			return
		}
		if s.durable != 0 {
			s.wake()
		}
		if s.log.QueuedBytes() > 0 {
			s.inLife(20*ms, func() { s.log.Retry(); s.logQueued() })
		}
	})
}

// inLife schedules f for the running process, which does nothing while it is paused.
func (s *server) inLife(d time.Duration, f func()) {
	life := s.life
	s.w.after(d, func() {
		switch {
		case s.life != life:
		case s.w.now < s.pausedUntil:
			s.inLife(s.pausedUntil-s.w.now, f)
		default:
			f()
		}
	})
}

// logFull tells that the log has no room.
func (s *server) logFull() bool {
	st := s.log.State()
	return st == wal.StateLowSpace || st == wal.StateNoSpace
}

// maybeImage begins an image when enough has been applied since the last.
func (s *server) maybeImage() {
	if s.ckpt != nil || s.sinceImage < s.w.plan.imageEvery {
		return
	}
	s.sinceImage = 0
	var err error
	if s.ckpt, err = s.engine.StartCheckpoint(); err != nil {
		panic(err)
	}
	if s.image == nil {
		s.ckptImage = &image{records: map[string][]byte{}}
	} else {
		s.ckptImage = s.image.clone()
	}
	s.ckptImage.zxid = s.ckpt.Zxid()
	s.stepImage(s.ckpt)
}

func (s *server) stepImage(c *engine.Checkpoint) {
	s.inLife(s.w.span(s.w.cpu, 100*us, ms), func() {
		if s.ckpt != c {
			return // the tree was replaced meanwhile
		}
		done, err := c.Next(16, s.ckptImage.put)
		if err != nil {
			panic(err)
		}
		if !done {
			s.stepImage(c)
			return
		}
		s.ckpt = nil
		if err := s.writeFile("image", s.ckptImage.encode()); err != nil {
			c.Abort()
			if !walfs.IsNoSpace(err) {
				s.die(err)
			}
			return
		}
		c.Finish()
		before := s.imageZxid()
		s.image = s.ckptImage
		s.hist.stable = max(s.hist.stable, s.image.zxid) // the log may still be at it
		s.trace('i', "image of 0x%x", s.image.zxid)
		// The log is kept from the image before on, for learners.
		s.log.TruncatePrefix(before)
		s.logQueued()
	})
}

func (s *server) abortImage() {
	if s.ckpt != nil {
		s.ckpt.Abort()
		s.ckpt, s.sinceImage = nil, 0
	}
}

// wholeImage gives an image of the tree as it is, to be sent and not to be kept.
func (s *server) wholeImage() *image {
	s.abortImage()
	m := imageOf(s.engine, s.image, false)
	m.marks = s.w.check.unsettled(&s.hist, m.zxid)
	return m
}

// truncate cuts log and tree. It returns the zxid at which they end.
func (s *server) truncate(z quorum.Zxid) (quorum.Zxid, bool, error) {
	if s.imageZxid() > z {
		return 0, false, nil
	}
	s.w.check.truncating(s, z)
	err := s.log.TruncateSuffix(z)
	if s.logErr != nil || walfs.IsNoSpace(err) {
		return 0, false, err
	}
	if err != nil {
		s.noHistory = true
		return 0, false, nil
	}
	s.durable = 0
	end := max(s.log.LastZxid(), s.imageZxid())
	s.window.Truncate(end)
	s.hist.truncate(end)
	if s.engine.LastZxid() > end && s.w.opts.Mistakes != TreeSurvivesCut {
		s.abortImage()
		s.engine.Close()
		if s.engine, err = s.image.load(); err != nil {
			panic(err)
		}
		stable := s.hist.stable
		s.hist = newHistory(s.image)
		s.hist.stable = stable
		if err := s.replay(end); err != nil {
			return 0, false, fmt.Errorf("read the log that was cut: %w", err)
		}
	}
	return end, true, nil
}

// install makes the staged tree, of which m is the image, the server's own, in place of image and
// log.
func (s *server) install(m *image) error {
	z := m.zxid
	err := s.writeFile("image", m.encode())
	if err != nil {
		return err
	}
	// From here on a start finds the image, and resets the log if this does not come to it.
	if s.log == nil {
		s.log, err = wal.OpenEmpty(s.mem, logDir, s.logOptions(), z)
	} else if s.w.opts.Mistakes != KeepLogAfterSnap || s.log.LastZxid() > z {
		err = s.log.Reset(z)
	}
	if err != nil {
		return err
	}
	s.abortImage()
	s.engine.Close()
	s.engine, s.image, s.damaged, s.noHistory = s.staged, m, false, false
	s.staged, s.stagedImage, s.stagedWindow = nil, nil, nil
	s.blank = false
	s.durable, s.sinceImage = 0, 0
	s.window.Reset(z)
	s.hist = newHistory(m)
	s.w.check.imageLoaded(s)
	return nil
}

// imageOf gives an image of a tree, base being its newest one, which may be nil; keep says that
// it is going to be the newest one.
func imageOf(e *engine.Engine, base *image, keep bool) *image {
	m := &image{records: map[string][]byte{}}
	if base != nil {
		m = base.clone()
	}
	c, err := e.StartCheckpoint()
	if err != nil {
		panic(err)
	}
	m.zxid = c.Zxid()
	for done := false; !done; {
		if done, err = c.Next(1000, m.put); err != nil {
			panic(err)
		}
	}
	if keep {
		c.Finish()
	} else {
		c.Abort()
	}
	return m
}

// rot flips one bit of what lies on the disk for a while: not in the newest write of a file,
// where it could not be told from an unfinished one.
func (s *server) rot(r uint64) {
	type spot struct {
		name  string
		bytes int64
	}
	var spots []spot
	for _, dir := range []string{logDir, dataDir} {
		files, err := s.mem.List(dir)
		if err != nil {
			continue
		}
		for _, f := range files {
			name := dir + "/" + f.Name
			switch {
			case f.Name == "image":
				spots = append(spots, spot{name, f.Bytes})
			case strings.HasSuffix(f.Name, ".wal") && s.up && s.written[name] > rotFrom:
				spots = append(spots, spot{name, s.written[name]})
			}
		}
	}
	if len(spots) == 0 {
		return
	}
	at := spots[r%uint64(len(spots))]
	off := int64(r>>8) % at.bytes
	if strings.HasSuffix(at.name, ".wal") {
		off = rotFrom + int64(r>>8)%(at.bytes-rotFrom)
	}
	if off < 0 {
		off += at.bytes
	}
	if err := s.mem.FlipBit(at.name, off, uint(r>>5)); err != nil {
		panic(err)
	}
	s.trace('~', "bit flips in %s at %d", at.name, off)
}

// rotFrom is where the records of a segment begin: a seal may be the newest write.
const rotFrom = 4096
