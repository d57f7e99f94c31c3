package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/server/config"
)

// epochStore keeps the two epochs of Zab in files of their own, each replaced atomically and synced
// before set returns (quorum protocol, section 4.2).
type epochStore struct {
	dir               string
	accepted, current quorum.Epoch
	writeFile         func(path string, data []byte, perm fs.FileMode) error // config.WriteFileAtomic; tests have others
}

const (
	acceptedEpochFile = "acceptedEpoch"
	currentEpochFile  = "currentEpoch"
)

// openEpochs reads the files in dir; one that is missing gives fallback, the epoch of the newest
// transaction, as after an import.
func openEpochs(dir string, fallback quorum.Epoch) (*epochStore, error) {
	e := &epochStore{dir: dir, writeFile: config.WriteFileAtomic}
	for name, v := range map[string]*quorum.Epoch{acceptedEpochFile: &e.accepted, currentEpochFile: &e.current} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			*v = fallback
			continue
		}
		if err != nil {
			return nil, err
		}
		if *v, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err != nil {
			return nil, fmt.Errorf("server: %s holds %q where an epoch is wanted; restore it from a backup", filepath.Join(dir, name), text)
		}
	}
	if e.accepted < e.current || e.current < fallback {
		return nil, fmt.Errorf("server: accepted epoch %d, current epoch %d and the epoch %d of the newest transaction in %s must not rise in this order; the files are not of one server",
			e.accepted, e.current, fallback, dir)
	}
	return e, nil
}

func (e *epochStore) setAccepted(v quorum.Epoch) error {
	return e.set(acceptedEpochFile, &e.accepted, v)
}

func (e *epochStore) setCurrent(v quorum.Epoch) error {
	return e.set(currentEpochFile, &e.current, v)
}

// set changes the value in memory only when the one on disk has changed.
func (e *epochStore) set(name string, in *quorum.Epoch, v quorum.Epoch) error {
	if err := e.writeFile(filepath.Join(e.dir, name), strconv.AppendInt(nil, v, 10), 0o644); err != nil {
		return err
	}
	*in = v
	return nil
}
