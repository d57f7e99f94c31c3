package cli

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// node checks the path and returns a connected client for a command on it.
func (s *shell) node(path string) (*client.Client, error) {
	if err := checkPath(path, false); err != nil {
		return nil, err
	}
	return s.client(path)
}

// watcher returns the shell's own Watcher if the command is to set a watch: with -w, or with
// a further argument, as in 3.4.
func (s *shell) watcher(zk *client.Client, p *parsed, old, now string) *client.Watcher {
	if len(p.args) > 1 {
		s.deprecated(old, now)
		return zk.DefaultWatcher()
	}
	if p.has("w") {
		return zk.DefaultWatcher()
	}
	return nil
}

func (s *shell) create(p *parsed) error {
	e, seq, c, t := p.has("e"), p.has("s"), p.has("c"), p.has("t")
	if c && (e || seq) {
		return failure("-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.")
	}
	var ttlMs int64
	if t {
		var err error
		if ttlMs, err = strconv.ParseInt(p.values["t"], 10, 64); err != nil {
			return failure("-t argument must be a long value")
		}
		if e {
			return failure("TTLs cannot be used with Ephemeral znodes")
		}
		if c {
			return failure("TTLs cannot be used with Container znodes")
		}
		if ttlMs <= 0 || ttlMs > proto.MaxTTLMs {
			return failure("ttl must be positive and cannot be larger than: %d", proto.MaxTTLMs)
		}
	}
	mode := client.Persistent
	switch {
	case c:
		mode = client.Container
	case t && seq:
		mode = client.PersistentSequentialWithTTL
	case t:
		mode = client.PersistentWithTTL
	case e && seq:
		mode = client.EphemeralSequential
	case e:
		mode = client.Ephemeral
	case seq:
		mode = client.PersistentSequential
	}

	path := p.args[0]
	var data []byte // null without the argument
	if len(p.args) > 1 {
		data = []byte(p.args[1])
	}
	acl := proto.WorldAnyone
	if len(p.args) > 2 {
		acl = s.parseACL(p.args[2])
	}
	if err := checkPath(path, seq); err != nil {
		return err
	}
	if len(acl) == 0 {
		fmt.Fprintln(s.err, keeperText(proto.ErrInvalidACL, ""))
		return errEmptyACL
	}
	zk, err := s.client(path)
	if err != nil {
		return err
	}
	var created string
	if t {
		created, _, err = zk.CreateTTL(s.ctx, path, data, acl, mode, time.Duration(ttlMs)*time.Millisecond)
	} else {
		created, err = zk.Create(s.ctx, path, data, acl, mode)
	}
	switch {
	case errors.Is(err, proto.ErrInvalidACL):
		fmt.Fprintln(s.err, keeperText(proto.ErrInvalidACL, path))
	case errors.Is(err, proto.ErrEphemeralOnLocal):
		fmt.Fprintln(s.err, "Unable to create ephemeral node on a local session")
	case err == nil:
		fmt.Fprintln(s.err, "Created "+created)
	}
	return err
}

func (s *shell) parseACL(text string) []proto.ACL {
	return parseACL(text, func(line string) { fmt.Fprintln(s.err, line) })
}

func (s *shell) delete(p *parsed) error {
	version, err := p.version()
	if len(p.args) > 1 {
		s.deprecated("delete path [version]", "delete [-v version] path")
		if !p.has("v") {
			version, err = parseVersion(p.args[1])
		}
	}
	if err != nil {
		return err
	}
	zk, err := s.node(p.args[0])
	if err != nil {
		return err
	}
	return zk.Delete(s.ctx, p.args[0], version)
}

func (s *shell) get(p *parsed) error {
	zk, err := s.node(p.args[0])
	if err != nil {
		return err
	}
	w := s.watcher(zk, p, "get path [watch]", "get [-s] [-w] path")
	data, stat, err := zk.GetDataW(s.ctx, p.args[0], w)
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, dataText(data, p.has("b"), p.has("x")))
	if p.has("s") {
		fmt.Fprint(s.out, statText(stat))
	}
	return nil
}

func (s *shell) set(p *parsed) error {
	version, err := p.version()
	if err != nil {
		return err
	}
	data := []byte(p.args[1])
	if p.has("b") {
		if data, err = base64.StdEncoding.DecodeString(p.args[1]); err != nil {
			return failure("the data is not base64: %v", err)
		}
	}
	zk, err := s.node(p.args[0])
	if err != nil {
		return err
	}
	stat, err := zk.SetData(s.ctx, p.args[0], data, version)
	if err == nil && p.has("s") {
		fmt.Fprint(s.out, statText(stat))
	}
	return err
}

func (s *shell) stat(p *parsed) error {
	zk, err := s.node(p.args[0])
	if err != nil {
		return err
	}
	w := s.watcher(zk, p, "stat path [watch]", "stat [-w] path")
	stat, err := zk.ExistsW(s.ctx, p.args[0], w)
	if err != nil {
		return err
	}
	fmt.Fprint(s.out, statText(stat))
	return nil
}

func (s *shell) ls(p *parsed) error {
	if p.has("?") {
		fmt.Fprintln(s.out, "usage: ls [options] path\n -?   help\n -R   recurse\n -s   stat\n -w   watch")
	}
	path := p.args[0]
	zk, err := s.node(path)
	if err != nil {
		return err
	}
	w := s.watcher(zk, p, "ls path [watch]", "ls [-w] path")
	if p.has("R") {
		// The lock is held per buffer, not per line: events still come between.
		out := bufio.NewWriterSize(s.out, 64<<10)
		err := s.visit(zk, path, w, func(path string) error {
			_, err := fmt.Fprintln(out, path)
			return err
		})
		if flushErr := out.Flush(); err == nil {
			err = flushErr
		}
		return err
	}
	names, stat, err := zk.GetChildren2W(s.ctx, path, w)
	if err != nil {
		return err
	}
	sort.Strings(names)
	text := "[" + strings.Join(names, ", ") + "]\n"
	if p.has("s") {
		text += statText(stat)
	}
	fmt.Fprint(s.out, text)
	return nil
}

// visit calls f with path and everything below: first the children of a znode, sorted, then
// what is below each (ZKUtil.visitSubTreeDFS). A non-nil w watches every znode on the way.
// Znodes that go away meanwhile are passed over.
func (s *shell) visit(zk *client.Client, path string, w *client.Watcher, f func(path string) error) error {
	if _, _, err := zk.GetDataW(s.ctx, path, w); err != nil {
		return err
	}
	if err := f(path); err != nil {
		return err
	}
	return s.visitBelow(zk, path, w, f)
}

func (s *shell) visitBelow(zk *client.Client, path string, w *client.Watcher, f func(path string) error) error {
	names, err := zk.GetChildrenW(s.ctx, path, w)
	if errors.Is(err, proto.ErrNoNode) {
		return nil
	}
	if err != nil {
		return err
	}
	sort.Strings(names)
	for _, name := range names {
		if err := f(join(path, name)); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := s.visitBelow(zk, join(path, name), w, f); err != nil {
			return err
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "/" {
		return path + name
	}
	return path + "/" + name
}

func (s *shell) deleteAll(p *parsed) error {
	batch := 1000
	if text, ok := p.values["b"]; ok {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return failure("-b argument must be an int value")
		}
		batch = int(n)
	}
	path := p.args[0]
	zk, err := s.node(path)
	if err != nil {
		return err
	}
	// Breadth first, so that in reverse every child comes before its parent.
	tree := []string{path}
	for i := 0; i < len(tree); i++ {
		names, err := zk.GetChildren(s.ctx, tree[i])
		if err != nil {
			return err
		}
		for _, name := range names {
			tree = append(tree, join(tree[i], name))
		}
	}
	if batch <= 0 {
		for i := len(tree) - 1; i >= 0; i-- {
			if err := zk.Delete(s.ctx, tree[i], client.AnyVersion); err != nil {
				return err
			}
		}
		return nil
	}
	for end := len(tree); end > 0; end -= batch {
		var ops []client.Op
		for i := end - 1; i >= max(end-batch, 0); i-- {
			ops = append(ops, client.DeleteOp(tree[i], client.AnyVersion))
		}
		if _, err := zk.Multi(s.ctx, ops...); err != nil {
			fmt.Fprintln(s.err, "Failed to delete some node(s) in the subtree!")
			return nil // the original's exit code is 0
		}
	}
	return nil
}

func (s *shell) getACL(p *parsed) error {
	zk, err := s.node(p.args[0])
	if err != nil {
		return err
	}
	acl, stat, err := zk.GetACL(s.ctx, p.args[0])
	if err != nil {
		return err
	}
	text := aclText(acl)
	if p.has("s") {
		text += statText(stat)
	}
	fmt.Fprint(s.out, text)
	return nil
}

func (s *shell) setACL(p *parsed) error {
	path := p.args[0]
	acl := s.parseACL(p.args[1])
	version, err := p.version()
	if err != nil {
		return err
	}
	if err := checkPath(path, false); err != nil {
		return err
	}
	if len(acl) == 0 {
		return errEmptyACL
	}
	zk, err := s.client(path)
	if err != nil {
		return err
	}
	if p.has("R") {
		return s.visit(zk, path, nil, func(path string) error {
			_, err := zk.SetACL(s.ctx, path, acl, version)
			if code, ok := client.Code(err); ok && err != nil {
				fmt.Fprintln(s.out, keeperText(code, path)) // and on with the others, as the original
				return nil
			}
			return err
		})
	}
	stat, err := zk.SetACL(s.ctx, path, acl, version)
	if err == nil && p.has("s") {
		fmt.Fprint(s.out, statText(stat))
	}
	return err
}

func (s *shell) getAllChildrenNumber(p *parsed) error {
	zk, err := s.node(p.args[0])
	if err != nil {
		return err
	}
	n, err := zk.GetAllChildrenNumber(s.ctx, p.args[0])
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, n)
	return nil
}

func (s *shell) getEphemerals(p *parsed) error {
	prefix := "/"
	if len(p.args) > 0 {
		prefix = p.args[0]
	}
	zk, err := s.node(prefix)
	if err != nil {
		return err
	}
	paths, err := zk.GetEphemerals(s.ctx, prefix)
	if err != nil {
		return err
	}
	sort.Strings(paths)
	fmt.Fprintln(s.out, "["+strings.Join(paths, ", ")+"]")
	return nil
}

func (s *shell) sync(p *parsed) error {
	zk, err := s.node(p.args[0])
	if err != nil {
		return err
	}
	err = zk.Sync(s.ctx, p.args[0])
	if code, ok := client.Code(err); ok && err != nil {
		fmt.Fprintf(s.out, "Sync has failed. rc=%d\n", code)
		return nil
	}
	if err == nil {
		fmt.Fprintln(s.out, "Sync is OK")
	}
	return err
}

func (s *shell) addWatch(p *parsed) error {
	recursive := true
	if mode, ok := p.values["m"]; ok {
		switch strings.ToUpper(mode) {
		case "PERSISTENT":
			recursive = false
		case "PERSISTENT_RECURSIVE":
		default:
			return failure("%s", findCommand("addWatch").usageText())
		}
	}
	zk, err := s.node(p.args[0])
	if err != nil {
		return err
	}
	return zk.AddWatch(s.ctx, p.args[0], zk.DefaultWatcher(), recursive)
}

func (s *shell) removeWatches(p *parsed) error {
	kind := proto.WatcherAny
	switch {
	case p.has("c"):
		kind = proto.WatcherChildren
	case p.has("d"):
		kind = proto.WatcherData
	case p.has("p"):
		kind = proto.WatcherPersistent
	case p.has("r"):
		kind = proto.WatcherPersistentRecursive
	}
	if err := checkPath(p.args[0], false); err != nil {
		return err
	}
	zk, err := s.client(p.args[0])
	if err != nil {
		if !p.has("l") || s.zk == nil {
			return err
		}
		zk = s.zk // -l does without a connection
	}
	return zk.RemoveWatches(s.ctx, p.args[0], nil, kind, p.has("l"))
}
