package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/snapshot"
	"zabra.dev/zabra/snapshot/javadata"
)

// streamChunkBytes is what a sync out of the log or of an image hands to a link at a time.
const streamChunkBytes = 256 << 10

// stream runs f, which feeds a link, beside the replica and reports its end as InStreamed.
func (e *ensemble) stream(id zab.LinkID, f func(l *peerLink) (quorum.Zxid, error)) {
	l, life, s := e.links[id], e.life, e.r.srv
	if l == nil {
		return
	}
	// What was sent before goes first.
	l.flush()
	s.wg.Go(func() {
		zxid, err := f(l)
		if err != nil {
			s.log.Warn("Synchronising a learner failed", "err", err)
		}
		e.r.post(func(*replica) {
			var unreadable *logError
			if errors.As(err, &unreadable) {
				e.history.failed(err)
			}
			if life != e.life {
				return
			}
			if e.links[id] == nil {
				return
			}
			e.stepLink(zab.Input{Kind: zab.InStreamed, Link: id, Zxid: zxid, OK: err == nil})
			e.endTurn()
		})
	})
}

// streamDiff sends proposals out of the log.
func (e *ensemble) streamDiff(o zab.Output) {
	w := e.r.wal
	e.stream(o.Link, func(l *peerLink) (quorum.Zxid, error) {
		r, err := w.NewReader(o.From + 1)
		if err != nil {
			return 0, &logError{err}
		}
		diff := zab.NewDiffStream(&o)
		var out []byte
		for !diff.Done() {
			zxid, packet, err := r.Next()
			if err == nil {
				out, err = diff.Append(out, zxid, packet)
			}
			if err != nil {
				// io.EOF too: what the log lacks was in it once.
				return 0, errors.Join(&logError{err}, r.Close())
			}
			if len(out) >= streamChunkBytes {
				if err := l.link.SendWait(diff.Flush(out)); err != nil {
					return 0, errors.Join(err, r.Close())
				}
				out = nil
			}
		}
		return o.Zxid, errors.Join(l.link.SendWait(diff.Flush(out)), r.Close())
	})
}

// streamSnap takes an image and sends it, as it is or as Java's tree, while the replica goes on. A leader that
// does not serve yet may not take one, since nobody knows what of its history will stay, and may never serve
// unless this learner joins: it sends the image that there is, and its log behind it. An image whose sending broke off is
// gone on with. mark goes into the SNAP packet.
func (e *ensemble) streamSnap(o *zab.Output) {
	r, s, learner, image := e.r, e.r.srv, o.Server, o.Image
	mark := bytes.Clone(o.Data)
	stable := r.stable()
	resumes, place := e.resumes(o.Link)
	var taken <-chan error
	take := func() {
		if stable {
			taken = r.ckpt.request(r)
		}
	}
	if place == nil {
		take()
	}
	e.stream(o.Link, func(l *peerLink) (quorum.Zxid, error) {
		w := &linkWriter{l: l}
		if place != nil {
			if im := s.sent.claim(s.ctx, place.Image, learner); im != nil && r.wal.BaseZxid() <= im.reader.Meta().Zxid {
				zxid, err := s.sendImage(im, w, mark, resumes, place)
				return w.end(zxid, errors.Join(err, s.sent.release(im)))
			} else if im != nil {
				if err := s.sent.release(im); err != nil {
					return 0, err
				}
			}
			take()
		}
		if taken != nil {
			select {
			case err := <-taken:
				if err != nil {
					return 0, err
				}
			case <-s.ctx.Done():
				return 0, errStopped
			}
		}
		if _, ok := r.ckpt.store.Meta(); !ok || !image {
			return w.end(s.sendTree(r.ckpt.store, w, mark))
		}
		reader, err := r.ckpt.store.NewReader()
		if err != nil {
			return 0, err
		}
		im := s.sent.add(learner, reader)
		zxid, err := s.sendImage(im, w, mark, resumes, nil)
		return w.end(zxid, errors.Join(err, s.sent.release(im)))
	})
}

// resumes tells whether the learner behind a link can go on with an image, and from where.
func (e *ensemble) resumes(id zab.LinkID) (bool, *quorum.ImagePlace) {
	machine := e.leader
	if l := e.links[id]; l != nil && l.observer {
		machine = e.master.machine
	}
	if machine == nil {
		return false, nil
	}
	return machine.Resumes(id)
}

// sendTree sends the image as the tree that Java's learners take. The tree is not built in memory for that.
func (s *Server) sendTree(store *snapshot.Store, w *linkWriter, mark []byte) (quorum.Zxid, error) {
	if _, ok := store.Meta(); ok {
		image, err := store.NewReader()
		if err != nil {
			return 0, err
		}
		zxid := image.Meta().Zxid
		w.snap(s, zxid, mark)
		err = javadata.ExportImage(func(from []byte, f func(key, value []byte) error) error { return image.Scan(s.ctx, from, nil, f) }, w)
		return zxid, errors.Join(err, image.Close())
	}
	tree, err := engine.New(s.opts.Engine)
	if err != nil {
		return 0, err
	}
	defer tree.Close()
	w.snap(s, tree.LastZxid(), mark)
	return tree.LastZxid(), javadata.ExportTree(tree, w)
}

// A linkWriter is an io.Writer into a link that waits while the link is full.
type linkWriter struct {
	l   *peerLink
	buf []byte
}

// snap begins a SNAP.
func (w *linkWriter) snap(s *Server, zxid quorum.Zxid, data []byte) {
	s.log.Info(fmt.Sprintf("Sending snapshot last zxid of peer is unknown, zxid of leader is 0x%x", zxid))
	w.buf = quorum.AppendPacket(w.buf, quorum.PacketSnap, zxid, data)
}

func (w *linkWriter) Write(b []byte) (int, error) {
	w.buf = append(w.buf, b...)
	if len(w.buf) >= streamChunkBytes {
		return len(b), w.flush()
	}
	return len(b), nil
}

// end ends a SNAP of zxid, whose tree was written unless err tells otherwise.
func (w *linkWriter) end(zxid quorum.Zxid, err error) (quorum.Zxid, error) {
	if err != nil {
		return 0, err
	}
	w.buf = append(w.buf, snapSignature...)
	return zxid, w.flush()
}

func (w *linkWriter) flush() error {
	b := w.buf
	w.buf = nil
	return w.l.link.SendWait(b)
}

// receiveTree reads the tree behind a SNAP packet into memory, beside the replica.
func (e *ensemble) receiveTree(o *zab.Output) {
	id, zxid, image := o.Link, o.Zxid, o.Image
	l, life, s := e.links[id], e.life, e.r.srv
	var own *treeFacts
	if o.Compare {
		own = factsOf(e.r.engine)
	}
	if l == nil {
		return
	}
	s.log.Info(fmt.Sprintf("Getting a snapshot from leader 0x%x", zxid))
	read := s.readTree
	var kept *partialImage
	if image {
		partial, err := e.takePartial(o)
		if err != nil {
			e.step(zab.Input{Kind: zab.InTreeReceived, Link: id, Zxid: zxid, Err: err})
			return
		}
		kept = partial
		read = func(r io.Reader, _ quorum.Zxid) (tree *engine.Engine, left []byte, err error) {
			tree, kept, err = s.readImage(r, partial)
			return tree, nil, err
		}
	}
	progress := func() {
		e.r.post(func(*replica) {
			if life == e.life {
				e.step(zab.Input{Kind: zab.InProgress, Link: id})
				e.endTurn()
			}
		})
	}
	s.wg.Go(func() {
		var rest []byte
		err := l.link.ReceiveTree(func(r io.Reader) ([]byte, error) {
			tree, left, err := read(&progressReader{r: r, tell: progress}, zxid)
			if err == nil {
				if rest, err = readSignature(r, left); err != nil {
					err = errors.Join(err, tree.Close())
				}
			}
			if err == nil {
				err = own.compare(tree)
				if errors.Is(err, zab.ErrForeign) {
					err = errors.Join(err, tree.Close())
				}
			}
			unrelated := errors.Is(err, errUnrelated)
			if unrelated {
				err = nil
			}
			if err == nil {
				// Before the link goes on to the packets behind the tree, which must come later.
				e.r.post(func(*replica) {
					e.unrelated = unrelated && life == e.life
					e.treeReceived(life, id, zxid, tree, nil)
				})
			}
			return rest, err
		})
		if err != nil {
			e.r.post(func(*replica) {
				e.treeReceived(life, id, zxid, nil, err)
				e.keepPartial(kept)
			})
		}
	})
}

// readTree reads what sendTree or a Java leader sent, and gives what it read behind that.
func (s *Server) readTree(r io.Reader, zxid quorum.Zxid) (tree *engine.Engine, left []byte, err error) {
	return javadata.LoadTree(r, "snapshot stream", zxid, javadata.LoadOptions{
		Engine: s.opts.Engine, Options: javadata.Options{JuteMaxBufferBytes: s.opts.FrameMaxBytes},
	})
}

// snapSignature is what stands behind a tree.
var snapSignature = jute.AppendString(nil, quorum.SnapSignature)

// readSignature checks the signature at the start of rest, and of r behind it, and returns what is left of
// rest.
func readSignature(r io.Reader, rest []byte) ([]byte, error) {
	if missing := len(snapSignature) - len(rest); missing > 0 {
		have := len(rest)
		rest = append(rest, make([]byte, missing)...)
		if _, err := io.ReadFull(r, rest[have:]); err != nil {
			return nil, err
		}
	}
	if !bytes.HasPrefix(rest, snapSignature) {
		return nil, fmt.Errorf("server: the snapshot stream ends with another signature: %q", rest[:len(snapSignature)])
	}
	return rest[len(snapSignature):], nil
}

// progressReader tells every so often that bytes keep coming.
type progressReader struct {
	r    io.Reader
	tell func()
	told time.Time
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if now := time.Now(); now.Sub(p.told) > 100*time.Millisecond {
		p.told = now
		p.tell()
	}
	return n, err
}

func (e *ensemble) treeReceived(life uint64, id zab.LinkID, zxid quorum.Zxid, tree *engine.Engine, err error) {
	s := e.r.srv
	if err != nil {
		s.log.Error("Receiving the snapshot of the leader failed", "err", err)
	}
	if life != e.life {
		if tree != nil {
			_ = tree.Close()
		}
		return
	}
	if err == nil {
		e.received = tree
	}
	e.step(zab.Input{Kind: zab.InTreeReceived, Link: id, Zxid: zxid, OK: err == nil, Err: err})
	e.endTurn()
}

// keepUnlogged keeps a proposal that belongs to the tree that is being received.
func (e *ensemble) keepUnlogged(zxid quorum.Zxid, packet []byte) {
	e.unlogged = append(e.unlogged, unloggedProposal{zxid, bytes.Clone(packet)})
}

// applyReceived applies what has been committed on top of the received tree.
func (e *ensemble) applyReceived(zxid quorum.Zxid) {
	n := 0
	for ; n < len(e.unlogged) && e.unlogged[n].zxid <= zxid; n++ {
		txn, err := proto.ProposalTxn(e.unlogged[n].packet)
		if err == nil {
			_, err = e.received.Apply(txn, noSink{})
		}
		if err != nil {
			// The tree is not of this server's making: it is dropped, and the next role asks for another.
			e.step(zab.Input{Kind: zab.InResign, Err: err})
			return
		}
	}
	e.unlogged = append(e.unlogged[:0], e.unlogged[n:]...)
}

// takeSnapshot makes the received tree the image, in place of everything that was here before, so that
// nothing abandoned can come back (storage formats, section 6.1): the image says that the log begins
// anew behind it, and a crash before it does is made good by recovery.
func (e *ensemble) takeSnapshot(zxid quorum.Zxid) {
	r, s, tree := e.r, e.r.srv, e.received
	if tree.LastZxid() < zxid {
		tree.SetLastZxid(zxid)
	}
	r.ckpt.abandon()
	if e.unrelated {
		if err := e.putAside(); err != nil {
			e.snapshotFailed(err)
			return
		}
		e.unrelated = false
	}
	if err := r.ckpt.replace(s, tree); err != nil {
		e.snapshotFailed(err)
		return
	}
	e.received, e.unlogged = nil, nil
	e.history.unreadable = false
	e.beginLogAt = zxid
	err := e.emptyLog()
	if err == nil || isNoSpace(err) {
		e.install(tree, zxid)
	}
	if err != nil {
		e.snapshotFailed(err)
		return
	}
	e.step(zab.Input{Kind: zab.InSnapshotTaken, Zxid: zxid})
}

// snapshotFailed ends the role if there is no space for the leader's snapshot, and else the process.
func (e *ensemble) snapshotFailed(err error) {
	err = fmt.Errorf("server: snapshot of the leader: %w", err)
	if !isNoSpace(err) {
		e.r.srv.fatal(err)
		return
	}
	e.step(zab.Input{Kind: zab.InResign, Err: err})
}

// dropReceived forgets a tree that never became this server's.
func (e *ensemble) dropReceived() {
	if e.received != nil {
		_ = e.received.Close()
	}
	e.received, e.unlogged, e.unrelated = nil, nil, false
}

// An unloggedProposal follows a tree that is being received.
type unloggedProposal struct {
	zxid   quorum.Zxid
	packet []byte
}

// install makes tree this server's tree; log and image end at zxid.
func (e *ensemble) install(tree *engine.Engine, zxid quorum.Zxid) {
	r, s := e.r, e.r.srv
	r.ckpt.abandon()
	s.lockGates()
	old := s.engine
	s.engine, r.engine = tree, tree
	s.digestLog = nil
	e.writeConfigNode()
	s.unlockGates()
	if err := old.Close(); err != nil {
		s.log.Error("Releasing the old tree failed", "err", err)
	}
	r.prep.SetTree(tree)
	r.prep.Reset(tree.LastZxid())
	r.lastZxid = zxid
	e.committed, e.durable, e.offersNone = zxid, zxid, false
	r.durableZxid.Store(zxid)
	e.history.fill(e.window, e.opts.CommitLogCount)
	for r.pending.len() > 0 {
		if p := r.pending.front(); p.slab != nil {
			p.slab.release()
		}
		r.pending.pop()
	}
}

// truncate cuts the log behind zxid and rebuilds the tree from the image and what is left.
func (e *ensemble) truncate(zxid quorum.Zxid) {
	r, s := e.r, e.r.srv
	s.log.Warn(fmt.Sprintf("Truncating log to get in sync with the leader 0x%x", zxid))
	tree, err := e.cut(zxid)
	if err != nil {
		s.log.Error(fmt.Sprintf("Not able to truncate the log 0x%x", zxid), "err", err)
		if isNoSpace(err) {
			e.step(zab.Input{Kind: zab.InResign, Err: err})
			return
		}
		e.step(zab.Input{Kind: zab.InTruncated, Zxid: zxid, OK: false})
		return
	}
	last := max(r.wal.LastZxid(), tree.LastZxid())
	e.install(tree, last)
	e.step(zab.Input{Kind: zab.InTruncated, Zxid: last, OK: true})
}

func (e *ensemble) cut(zxid quorum.Zxid) (*engine.Engine, error) {
	r, s := e.r, e.r.srv
	if meta, ok := r.ckpt.store.Meta(); ok && meta.Zxid > zxid {
		return nil, fmt.Errorf("server: the image at 0x%x is newer than 0x%x", meta.Zxid, zxid)
	}
	if err := r.wal.TruncateSuffix(zxid); err != nil {
		return nil, err
	}
	tree, err := loadImage(s, r.ckpt.store)
	if err != nil {
		return nil, err
	}
	if err := replay(s, tree, r.wal); err != nil {
		return nil, errors.Join(err, tree.Close())
	}
	return tree, nil
}
