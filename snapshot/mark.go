package snapshot

import (
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
)

// markFile holds the newest checkpoint that was acknowledged. pebble reads a damaged last record of its
// manifest as one that was never finished, and comes up with the image before it; this small file, written
// after each commit, tells that case from a crash before the commit.
const markFile = "committed"

type mark struct {
	Generation, Checkpoint uint64
	Zxid                   int64
}

func (m mark) newerThan(meta Meta) bool {
	if m.Generation != meta.Generation {
		return m.Generation > meta.Generation
	}
	return m.Checkpoint > meta.Checkpoint
}

// The file is one line of text: generation, checkpoint, zxid and the xxhash64 of what is in front of it.
const markFormat = "generation=%d checkpoint=%d zxid=0x%x "

func (m mark) String() string {
	line := fmt.Sprintf(markFormat, m.Generation, m.Checkpoint, uint64(m.Zxid))
	return line + fmt.Sprintf("hash=%016x\n", xxhash.Sum64String(line))
}

func parseMark(text string) (m mark, err error) {
	var zxid, hash uint64
	_, err = fmt.Sscanf(text, markFormat+"hash=%x\n", &m.Generation, &m.Checkpoint, &zxid, &hash)
	m.Zxid = int64(zxid)
	if err == nil && m.String() != text {
		err = errors.New("wrong hash or format")
	}
	return m, err
}

// writeMark replaces the file. A failure only loses the check, so it is reported and not returned.
func (s *Store) writeMark(m Meta) {
	tmp := s.path(markFile + tmpSuffix)
	err := func() error {
		f, err := s.fs.Create(tmp, checkpointCategory)
		if err != nil {
			return err
		}
		_, err = io.WriteString(f, mark{m.Generation, m.Checkpoint, m.Zxid}.String())
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		if err := s.fs.Rename(tmp, s.path(markFile)); err != nil {
			return err
		}
		return syncFolder(s.fs, s.dir)
	}()
	if err != nil {
		e := s.image.events
		e.backgroundErrs.Add(1)
		e.logLimited("cannot write %s: %v", s.path(markFile), err)
	}
}

// checkMark compares the image that was found with the newest acknowledged one. A file that cannot be read
// as a mark is reported and otherwise ignored: the image itself is sound.
func (s *Store) checkMark() error {
	f, err := s.fs.Open(s.path(markFile))
	if errors.Is(err, errNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	text, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	m, err := parseMark(string(text))
	if err != nil {
		s.opts.Logger.Errorf("snapshot: %s is damaged and ignored: %v", s.path(markFile), err)
		return nil
	}
	if m.newerThan(s.meta) {
		return fmt.Errorf("%w: %s is at %#x (generation %d, checkpoint %d), but %#x (%d, %d) had been committed", ErrCorrupt,
			s.path(imageFolder), uint64(s.meta.Zxid), s.meta.Generation, s.meta.Checkpoint, uint64(m.Zxid), m.Generation, m.Checkpoint)
	}
	return nil
}
