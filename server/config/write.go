package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf16"

	"golang.org/x/sys/unix"
)

// WriteFileAtomic makes path hold data and nothing else, also after a crash at any moment: temporary file in
// the same directory, sync, rename, sync of the directory. A symbolic link at path stays and its target is
// replaced. perm is the mode of a new file; an existing one keeps its mode. It borrows data until return.
func WriteFileAtomic(path string, data []byte, perm fs.FileMode) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("config: write %s: %w", path, err)
		}
	}()
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if info, err := os.Stat(path); err == nil {
		perm = info.Mode().Perm()
	}
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// mkdirAll creates path and the missing directories above it, so that they survive a crash.
func mkdirAll(path string) error {
	if info, err := os.Stat(path); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: unix.ENOTDIR}
		}
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := mkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// DynamicPathOf returns where the member list of that version is written: PATH.dynamic.HEX for the zoo.cfg
// at path.
func DynamicPathOf(path string, version uint64) string {
	return fmt.Sprintf("%s.dynamic.%x", path, version)
}

// WriteDynamic writes a committed member list to DynamicPathOf(path, version), atomically, and returns that name.
// lines are as of Quorum.Lines; there is no version in the text and no newline at its end.
// Source: QuorumPeerConfig.writeDynamicConfig.
func WriteDynamic(path string, lines []string, version uint64) (string, error) {
	name := DynamicPathOf(path, version)
	return name, WriteFileAtomic(name, []byte(strings.Join(lines, "\n")), 0o644)
}

// WriteNext writes the last seen, not yet committed member list to path + NextSuffix. Unlike the dynamic file of
// a committed list it holds the version. Source: QuorumPeer.setLastSeenQuorumVerifier.
func WriteNext(path string, lines []string, version uint64) error {
	text := strings.Join(append(slices.Clone(lines), fmt.Sprintf("version=%x", version)), "\n")
	return WriteFileAtomic(path+NextSuffix, []byte(text), 0o644)
}

// RemoveNext removes the file of WriteNext; it is no error when there is none.
func RemoveNext(path string) error {
	if err := os.Remove(path + NextSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

// BackupStatic copies the zoo.cfg at path to path.bak, atomically.
func BackupStatic(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return WriteFileAtomic(path+".bak", text, 0o644)
}

// AppendRewritten appends the text of a zoo.cfg without its member list, peerType and dynamicConfigFile,
// without clientPort and clientPortAddress when eraseClient is set, and with dynamicConfigFile=pointer as
// its last line, where operators' scripts read it. Comments and the order of the other lines stay; a Java
// server would lose both. It borrows text until return; the error is that of ParseProperties.
// Source: QuorumPeerConfig.editStaticConfig, spec/operations.md 1.6.
func AppendRewritten(dst, text []byte, pointer string, eraseClient bool) ([]byte, error) {
	p, err := ParseProperties(text)
	if err != nil {
		return dst, err
	}
	kept := 0
	for _, kv := range p.All() {
		drop := isQuorumKey(kv.Key) || kv.Key == "dynamicConfigFile" || kv.Key == "peerType" || kv.Key == "version" ||
			eraseClient && (kv.Key == "clientPort" || kv.Key == "clientPortAddress")
		if drop {
			dst = append(dst, text[kept:kv.start]...)
			kept = kv.end
		}
	}
	dst = append(dst, text[kept:]...)
	if n := len(dst); n > 0 && dst[n-1] != '\n' && dst[n-1] != '\r' {
		dst = append(dst, '\n')
	}
	// A last line that ends in a backslash would swallow the pointer; a blank line ends it.
	last := bytes.TrimSuffix(bytes.TrimSuffix(dst, []byte("\n")), []byte("\r"))
	if continues(last) {
		dst = append(dst, '\n')
	}
	dst = append(dst, "dynamicConfigFile="...)
	dst = appendEscaped(dst, pointer)
	return append(dst, '\n'), nil
}

// appendEscaped appends value so that ParseProperties gives it back.
func appendEscaped(dst []byte, value string) []byte {
	for i, u := range utf16.Encode([]rune(value)) {
		switch {
		case u == '\\' || u == ' ' && i == 0:
			dst = append(dst, '\\', byte(u))
		case u < ' ' || u > '~':
			dst = fmt.Appendf(dst, "\\u%04X", u)
		default:
			dst = append(dst, byte(u))
		}
	}
	return dst
}

// RewriteStatic replaces the zoo.cfg at path by what AppendRewritten makes of it, atomically. The pointer
// is the absolute path of dynamicPath, which must exist.
func RewriteStatic(path, dynamicPath string, eraseClient bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	pointer, err := filepath.EvalSymlinks(dynamicPath)
	if err == nil {
		pointer, err = filepath.Abs(pointer)
	}
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	rewritten, err := AppendRewritten(nil, text, pointer, eraseClient)
	if err != nil {
		return fmt.Errorf("config: rewrite %s: %w", path, err)
	}
	return WriteFileAtomic(path, rewritten, 0o644)
}
