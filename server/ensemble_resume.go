package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"zabra.dev/zabra/engine"
	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
	"zabra.dev/zabra/snapshot"
)

// An image is sent in blocks. When the connection breaks, the learner keeps the tree that it has built of the blocks so
// far, every one of which it has verified, and the leader keeps the image, which takes the space of what has been written
// over since, and no memory to speak of. At the next synchronisation the learner tells which image that is, and how far
// it has come, and the leader goes on from there. Both keep it for a while only, and what does not fit begins anew.

const (
	// imageKept is how long both sides keep what a synchronisation can be resumed from.
	imageKept = time.Minute
	// idleImagesMax is how many images a leader keeps that are not being sent.
	idleImagesMax = 2
	// imageClaimMax is how long a synchronisation waits for the end of the one that it resumes.
	imageClaimMax = 5 * time.Second
)

// A sentImage is an image that is, or was, being sent to a learner.
type sentImage struct {
	id      uint64
	learner quorum.ServerID
	reader  *snapshot.Reader
	idle    bool
	freed   chan struct{} // has room for one; filled when the image becomes idle
	timer   *time.Timer   // while it is idle
}

// sentImages are those of one server. Any goroutine may use it.
type sentImages struct {
	mu     sync.Mutex // guards list and closed, and in the images idle and timer
	list   []*sentImage
	closed bool

	blocks, resumed atomic.Int64 // blocks sent, images gone on with
}

// add takes reader into the list, as being sent to learner.
func (s *sentImages) add(learner quorum.ServerID, reader *snapshot.Reader) *sentImage {
	im := &sentImage{id: rand.Uint64(), learner: learner, reader: reader, freed: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, im)
	return im
}

// release ends the sending of im, which is kept for its learner to come back.
func (s *sentImages) release(im *sentImage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return im.reader.Close()
	}
	var errs []error
	idle := 0
	for i := len(s.list) - 1; i >= 0; i-- {
		other := s.list[i]
		if !other.idle || other == im {
			continue
		}
		if idle++; other.learner == im.learner || idle >= idleImagesMax {
			errs = append(errs, s.dropLocked(other))
		}
	}
	im.idle = true
	im.timer = time.AfterFunc(imageKept, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if im.idle && slices.Contains(s.list, im) {
			// An error of a reader that has done its work changes nothing for anybody.
			_ = s.dropLocked(im)
		}
	})
	select {
	case im.freed <- struct{}{}:
	default:
	}
	return errors.Join(errs...)
}

// dropLocked forgets an idle image.
func (s *sentImages) dropLocked(im *sentImage) error {
	im.timer.Stop()
	s.list = slices.DeleteFunc(s.list, func(x *sentImage) bool { return x == im })
	return im.reader.Close()
}

// claim gives image id to go on sending it to learner, nil if it is not there any more. The connection that it was sent on
// may just be ending.
func (s *sentImages) claim(ctx context.Context, id uint64, learner quorum.ServerID) *sentImage {
	s.mu.Lock()
	i := slices.IndexFunc(s.list, func(im *sentImage) bool { return im.id == id && im.learner == learner })
	if i < 0 {
		s.mu.Unlock()
		return nil
	}
	im := s.list[i]
	s.mu.Unlock()
	select {
	case <-im.freed:
	case <-time.After(imageClaimMax):
		return nil
	case <-ctx.Done():
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !im.idle || !slices.Contains(s.list, im) {
		return nil
	}
	im.idle = false
	im.timer.Stop()
	return im
}

// close drops everything. Nothing is being sent any more, and nothing may be added.
func (s *sentImages) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for _, im := range slices.Clone(s.list) {
		if im.idle {
			errs = append(errs, s.dropLocked(im))
		}
	}
	return errors.Join(errs...)
}

// sendImage sends the records of im as they are on disk, those behind the place from if it is not nil.
func (s *Server) sendImage(im *sentImage, w *linkWriter, mark []byte, resumes bool, from *quorum.ImagePlace) (quorum.Zxid, error) {
	data := append([]byte(quorum.ImageMarker), mark...)
	place := quorum.ImagePlace{Image: im.id}
	var start []byte
	if from != nil {
		place.Blocks = from.Blocks
		start = append(start, from.Key...)
		start = append(start, 0) // the next key that there can be
		s.sent.resumed.Add(1)
		s.log.Info(fmt.Sprintf("Server %d has %d blocks of the snapshot; sending it goes on from there", im.learner, place.Blocks))
	}
	zxid := im.reader.Meta().Zxid
	if resumes {
		data = place.Append(data)
	}
	w.snap(s, zxid, data)
	blocks := snapshot.NewBlockWriter(w, place.Blocks)
	err := im.reader.Scan(s.ctx, start, nil, blocks.Put)
	if err == nil {
		err = blocks.Close()
	}
	s.sent.blocks.Add(int64(blocks.Blocks() - place.Blocks))
	return zxid, err
}

// A partialImage is what a learner has of an image whose sending broke off. Whoever holds it owns it.
type partialImage struct {
	image  uint64
	zxid   quorum.Zxid
	leader quorum.ServerID
	blocks uint64 // are in the loader, whole
	key    []byte // of the last record in it
	loader *engine.Loader
	// resumable: the leader can go on with it.
	resumable bool
	untilMs   int64 // when it is dropped, in server.nowMs time
}

// keepPartial keeps p, or nothing, for the next synchronisation with its leader.
func (e *ensemble) keepPartial(p *partialImage) {
	e.dropPartial()
	if p == nil {
		return
	}
	if e.serving || e.state == quorum.Leading || !p.resumable || p.blocks == 0 {
		p.loader.Close()
		return
	}
	p.untilMs = e.r.srv.nowMs() + imageKept.Milliseconds()
	e.partial = p
}

func (e *ensemble) dropPartial() {
	if e.partial != nil {
		e.partial.loader.Close()
		e.partial = nil
	}
}

// expirePartial gives the memory of a tree back that nobody has come back to.
func (e *ensemble) expirePartial() {
	if e.partial != nil && e.r.srv.nowMs() >= e.partial.untilMs {
		e.dropPartial()
	}
}

// resumePlace tells the leader how far its image has come.
func (e *ensemble) resumePlace() []byte {
	p := e.partial
	if p == nil || e.learner == nil || p.leader != e.learner.Leader() {
		return nil
	}
	return (&quorum.ImagePlace{Image: p.image, Blocks: p.blocks, Key: p.key}).Append(nil)
}

// takePartial gives the tree that the image of a SNAP with data goes on with, or is built in from the start. The caller
// owns it.
func (e *ensemble) takePartial(o *zab.Output) (*partialImage, error) {
	p := e.partial
	e.partial = nil
	place, ok := quorum.SnapPlace(o.Data)
	if p != nil && ok && place.Image == p.image && place.Blocks == p.blocks && o.Zxid == p.zxid {
		e.r.srv.log.Info(fmt.Sprintf("The snapshot goes on behind %d blocks that have come before", p.blocks))
		return p, nil
	}
	if p != nil {
		p.loader.Close()
	}
	if place.Blocks > 0 {
		return nil, fmt.Errorf("server: the leader goes on with block %d of an image that is not here", place.Blocks)
	}
	return &partialImage{image: place.Image, zxid: o.Zxid, leader: e.learner.Leader(), resumable: ok, loader: engine.LoadForeign(e.r.srv.opts.Engine)}, nil
}

// readImage reads the blocks of an image into p; nothing behind them. If they break off, it gives p back for
// keepPartial.
func (s *Server) readImage(r io.Reader, p *partialImage) (tree *engine.Engine, rest *partialImage, err error) {
	const none = math.MaxUint64
	filling := uint64(none) // the block whose records are being put
	err = snapshot.ReadBlocks(r, quorum.ImageBlockMaxBytes, &p.blocks, func(key, value []byte) error {
		filling = p.blocks
		p.key = append(p.key[:0], key...)
		return p.loader.Put(key, value)
	})
	if err != nil {
		err = fmt.Errorf("server: image of the leader, behind %d blocks: %w", p.blocks, err)
		p.resumable = p.resumable && filling != p.blocks // else it has a part of a block
		return nil, p, err
	}
	if tree, err = p.loader.Finish(); err != nil {
		return nil, nil, fmt.Errorf("server: image of the leader: %w", err)
	}
	if tree.LastZxid() != p.zxid {
		return nil, nil, errors.Join(fmt.Errorf("server: the leader's SNAP of 0x%x carries an image of 0x%x", p.zxid, tree.LastZxid()), tree.Close())
	}
	return tree, nil, nil
}
