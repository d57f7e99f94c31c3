package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Retained is an image kept as a backup.
type Retained struct {
	Zxid int64
	Dir  string // of a pebble database that nothing else uses; files in it may be linked from elsewhere
}

func retainedName(zxid int64) string { return strconv.FormatUint(uint64(zxid), 16) }

// Retain keeps the current image as a retained one: a folder of hard links named by its zxid, complete
// or not there at all after a crash. An older retained image of the same zxid gives way. It costs a few
// file operations per table and no copy of data. Errors: ErrNoImage, ErrBusy, ErrFailed, ErrClosed.
func (s *Store) Retain() (Retained, error) {
	if err := s.acquire(); err != nil {
		return Retained{}, err
	}
	defer s.release()
	m, ok := s.Meta()
	if !ok {
		return Retained{}, ErrNoImage
	}
	name := retainedName(m.Zxid)
	kept := Retained{Zxid: m.Zxid, Dir: s.path(retainedFolder, name)}
	mark := retainedMark{uint64(m.Zxid), m.Generation, m.Checkpoint}
	_, err := s.fs.Stat(kept.Dir)
	exists := err == nil
	if err != nil && !errors.Is(err, errNotExist) {
		return Retained{}, wrap(err, "retain %#x", m.Zxid)
	}
	if exists && s.retained == mark {
		return kept, nil
	}
	tmp := s.path(retainedFolder, name+tmpSuffix)
	if err := s.fs.RemoveAll(tmp); err != nil {
		return Retained{}, wrap(err, "retain %#x", m.Zxid)
	}
	if err := s.image.events.call(func() error { return s.image.db.Checkpoint(tmp) }); err != nil {
		return Retained{}, wrap(err, "retain %#x", m.Zxid)
	}
	if exists {
		if err := s.removeRetained(name); err != nil {
			return Retained{}, err
		}
	}
	if err := s.fs.Rename(tmp, kept.Dir); err != nil {
		return Retained{}, wrap(err, "retain %#x", m.Zxid)
	}
	if err := syncFolder(s.fs, s.path(retainedFolder)); err != nil {
		return Retained{}, wrap(err, "retain %#x", m.Zxid)
	}
	s.retained = mark
	s.counters.retained.Add(1)
	return kept, nil
}

// PutAside keeps the current image like Retain, but in a folder that is for nobody but the operator: no Purge removes it,
// and nothing is restored from it. It returns the folder.
func (s *Store) PutAside() (dir string, err error) {
	if err := s.acquire(); err != nil {
		return "", err
	}
	defer s.release()
	m, ok := s.Meta()
	if !ok {
		return "", ErrNoImage
	}
	if err := s.fs.MkdirAll(s.path(asideFolder), 0o755); err != nil {
		return "", wrap(err, "put image %#x aside", m.Zxid)
	}
	name := retainedName(m.Zxid)
	dir = s.path(asideFolder, name)
	for n := 2; ; n++ {
		if _, err = s.fs.Stat(dir); errors.Is(err, errNotExist) {
			break
		}
		if err != nil {
			return "", wrap(err, "put image %#x aside", m.Zxid)
		}
		dir = s.path(asideFolder, fmt.Sprintf("%s-%d", name, n))
	}
	if err = s.image.events.call(func() error { return s.image.db.Checkpoint(dir) }); err == nil {
		err = syncFolder(s.fs, s.path(asideFolder))
	}
	if err == nil {
		err = syncFolder(s.fs, s.dir)
	}
	return dir, wrap(err, "put image %#x aside", m.Zxid)
}

// ListRetained lists the retained images, oldest zxid first.
func (s *Store) ListRetained() ([]Retained, error) {
	names, err := s.fs.List(s.path(retainedFolder))
	if err != nil {
		return nil, wrap(err, "list retained images")
	}
	var list []Retained
	for _, name := range names {
		if z, err := strconv.ParseUint(name, 16, 64); err == nil && retainedName(int64(z)) == name {
			list = append(list, Retained{Zxid: int64(z), Dir: s.path(retainedFolder, name)})
		}
	}
	slices.SortFunc(list, func(a, b Retained) int { return cmp.Compare(a.Zxid, b.Zxid) })
	return list, nil
}

// OpenRetained opens a retained image read-only; the caller closes it, before it may be purged.
// Errors: ErrNotRetained, ErrCorrupt.
func (s *Store) OpenRetained(zxid int64) (*Image, error) {
	dir := s.path(retainedFolder, retainedName(zxid))
	if _, err := s.fs.Stat(dir); errors.Is(err, errNotExist) {
		return nil, fmt.Errorf("%w: %#x", ErrNotRetained, zxid)
	}
	return OpenImage(s.fs, dir, s.opts)
}

// RestoreRetained makes a copy of a retained image the current one (a replacement, with a new generation).
// The retained image stays. progress as in Reader.Scan. Errors: ErrNotRetained, ErrCorrupt, ErrBusy.
func (s *Store) RestoreRetained(ctx context.Context, zxid int64, progress func(records int64)) error {
	im, err := s.OpenRetained(zxid)
	if err != nil {
		return err
	}
	r, err := im.NewReader()
	if err != nil {
		return errors.Join(err, im.Close())
	}
	return errors.Join(s.replaceBy(ctx, r, progress), r.Close(), im.Close())
}

func (s *Store) replaceBy(ctx context.Context, r *Reader, progress func(records int64)) error {
	w, err := s.NewReplacement(r.Meta().Zxid)
	if err != nil {
		return err
	}
	if err := r.Scan(ctx, nil, progress, w.Put); err != nil {
		return errors.Join(err, w.Abort())
	}
	if err := w.Commit(r.Meta()); err != nil {
		return errors.Join(err, w.Abort())
	}
	return nil
}

// Purge removes retained images until keep are left, oldest zxid first, and returns the zxids of those
// removed. An image that is half removed by a crash is finished by the next Open.
func (s *Store) Purge(keep int) (removed []int64, err error) {
	if err := s.acquire(); err != nil {
		return nil, err
	}
	defer s.release()
	list, err := s.ListRetained()
	if err != nil {
		return nil, err
	}
	zxids := make([]int64, len(list))
	for i := range list {
		zxids[i] = list[i].Zxid
	}
	for _, z := range PlanPurge(zxids, keep) {
		if err := s.removeRetained(retainedName(z)); err != nil {
			return removed, err
		}
		removed = append(removed, z)
		s.counters.purged.Add(1)
	}
	return removed, nil
}

// removeRetained first gives the folder a name that says it is on its way out, so that no crash leaves half
// an image under a name that promises a whole one.
func (s *Store) removeRetained(name string) error {
	from, to := s.path(retainedFolder, name), s.path(retainedFolder, name+".old"+tmpSuffix)
	err := s.fs.RemoveAll(to)
	if err == nil {
		err = s.fs.Rename(from, to)
	}
	if err == nil {
		err = syncFolder(s.fs, s.path(retainedFolder))
	}
	if err == nil {
		err = s.fs.RemoveAll(to)
	}
	return wrap(err, "remove retained image %s", name)
}

func (s *Store) removeRetainedLeftovers() error {
	names, err := s.fs.List(s.path(retainedFolder))
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, tmpSuffix) {
			if err := s.fs.RemoveAll(s.path(retainedFolder, name)); err != nil {
				return err
			}
		}
	}
	return nil
}
