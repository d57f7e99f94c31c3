package client

import (
	"context"
	"fmt"
	"strings"
	"time"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// AnyVersion skips the version check of Delete, SetData, SetACL and CheckOp.
const AnyVersion int32 = -1

// A CreateMode is the kind of a new znode; its value is the flag on the wire
// (client protocol, section 5.2).
type CreateMode int32

// Create modes.
const (
	Persistent                  = CreateMode(proto.FlagPersistent)
	Ephemeral                   = CreateMode(proto.FlagEphemeral)
	PersistentSequential        = CreateMode(proto.FlagSequential)
	EphemeralSequential         = CreateMode(proto.FlagEphemeralSequential)
	Container                   = CreateMode(proto.FlagContainer)
	PersistentWithTTL           = CreateMode(proto.FlagTTL)
	PersistentSequentialWithTTL = CreateMode(proto.FlagPersistentSequentialTTL)
)

// toServer puts the chroot in front of a caller's path.
func (c *Client) toServer(path string) string {
	if c.chroot == "" {
		return path
	}
	if path == "/" {
		return c.chroot
	}
	return c.chroot + path
}

// fromServer takes the chroot off a path. A path outside of it is left as it is.
func (c *Client) fromServer(path string) string {
	if c.chroot == "" || !strings.HasPrefix(path, c.chroot) {
		return path
	}
	switch rest := path[len(c.chroot):]; {
	case rest == "":
		return "/"
	case rest[0] == '/':
		return rest
	default:
		return path
	}
}

// do sends a request and decodes its reply with decode, which may be nil. Replies of calls
// in flight are decoded on the caller's goroutine, so no time is spent under the lock.
func (c *Client) do(ctx context.Context, call *Call, decode func(d *jute.Decoder)) error {
	r, err := c.submit(ctx, call).Wait(ctx)
	if err != nil || decode == nil {
		return err
	}
	d := jute.NewDecoder(r.Body, 0)
	decode(&d)
	if d.Err() != nil {
		return &Error{Op: call.op, Path: call.path, Err: fmt.Errorf("%w: %w", ErrProtocol, d.Err())}
	}
	return nil
}

// create serves all create operations. want2 chooses create2 over create where both exist.
func (c *Client) create(ctx context.Context, path string, data []byte, acl []proto.ACL, mode CreateMode, ttl time.Duration, want2 bool) (created string, stat proto.Stat, err error) {
	op := createOpCode(mode, want2)
	call := newCall(op, path, func(dst []byte) []byte {
		r := createRequest(c.toServer(path), data, acl, mode, ttl)
		return r.Append(dst, op)
	})
	err = c.do(ctx, call, func(d *jute.Decoder) {
		created = c.fromServer(string(d.Buffer()))
		if op != proto.OpCreate {
			stat.Decode(d)
		}
	})
	return created, stat, err
}

func createOpCode(mode CreateMode, want2 bool) proto.OpCode {
	switch {
	case mode == Container:
		return proto.OpCreateContainer
	case mode == PersistentWithTTL || mode == PersistentSequentialWithTTL:
		return proto.OpCreateTTL
	case want2:
		return proto.OpCreate2
	}
	return proto.OpCreate
}

func createRequest(path string, data []byte, acl []proto.ACL, mode CreateMode, ttl time.Duration) proto.CreateRequest {
	return proto.CreateRequest{
		Path:  []byte(path),
		Data:  data,
		ACL:   proto.AppendACLs(nil, acl),
		Flags: int32(mode),
		TTLms: int64(ttl / time.Millisecond),
	}
}

// Create creates a znode and returns its path, which sequential modes complete. data is
// borrowed until return; nil is the null value. A nil acl is sent as null, which servers
// refuse; proto.WorldAnyone is the usual one. Modes with a TTL need CreateTTL.
func (c *Client) Create(ctx context.Context, path string, data []byte, acl []proto.ACL, mode CreateMode) (string, error) {
	created, _, err := c.create(ctx, path, data, acl, mode, 0, false)
	return created, err
}

// Create2 is Create that also returns the Stat of the new znode.
func (c *Client) Create2(ctx context.Context, path string, data []byte, acl []proto.ACL, mode CreateMode) (string, proto.Stat, error) {
	return c.create(ctx, path, data, acl, mode, 0, true)
}

// CreateTTL creates a znode with one of the TTL modes; ttl counts in whole milliseconds.
func (c *Client) CreateTTL(ctx context.Context, path string, data []byte, acl []proto.ACL, mode CreateMode, ttl time.Duration) (string, proto.Stat, error) {
	return c.create(ctx, path, data, acl, mode, ttl, true)
}

// Delete deletes a znode if it has the version.
func (c *Client) Delete(ctx context.Context, path string, version int32) error {
	return c.do(ctx, newCall(proto.OpDelete, path, func(dst []byte) []byte {
		return (&proto.PathVersion{Path: []byte(c.toServer(path)), Version: version}).Append(dst)
	}), nil)
}

// readCall makes a request of the form path, watch. A non-nil w is registered in kind when
// the server has answered OK, and in kindMissing, unless negative, when it answered NoNode.
func (c *Client) readCall(op proto.OpCode, path string, w *Watcher, kind, kindMissing watchKind) *Call {
	return c.readCallAt(op, path, c.toServer(path), w, kind, kindMissing)
}

func (c *Client) readCallAt(op proto.OpCode, path, serverPath string, w *Watcher, kind, kindMissing watchKind) *Call {
	call := newCall(op, path, func(dst []byte) []byte {
		return (&proto.PathWatch{Path: []byte(serverPath), Watch: w != nil}).Append(dst)
	})
	if w != nil {
		call.onReply = func(c *Client, code proto.ErrCode) {
			switch {
			case code == proto.OK:
				c.watches.add(kind, serverPath, w)
			case code == proto.ErrNoNode && kindMissing >= 0:
				c.watches.add(kindMissing, serverPath, w)
			}
		}
	}
	return call
}

// noWatch is the kindMissing of reads that leave no watch on a missing znode.
const noWatch watchKind = -1

// Exists returns the Stat, or an error that is proto.ErrNoNode.
func (c *Client) Exists(ctx context.Context, path string) (proto.Stat, error) {
	return c.ExistsW(ctx, path, nil)
}

// ExistsW is Exists with a watch, which is left also on a missing znode; a nil w is none.
func (c *Client) ExistsW(ctx context.Context, path string, w *Watcher) (stat proto.Stat, err error) {
	err = c.do(ctx, c.readCall(proto.OpExists, path, w, watchData, watchExist), stat.Decode)
	return stat, err
}

// GetData gives data (nil is null) and Stat.
func (c *Client) GetData(ctx context.Context, path string) ([]byte, proto.Stat, error) {
	return c.GetDataW(ctx, path, nil)
}

// GetDataW is GetData with a watch; a nil w is none.
func (c *Client) GetDataW(ctx context.Context, path string, w *Watcher) (data []byte, stat proto.Stat, err error) {
	err = c.do(ctx, c.readCall(proto.OpGetData, path, w, watchData, noWatch), func(d *jute.Decoder) {
		data = d.Buffer()
		stat.Decode(d)
	})
	return data, stat, err
}

// SetData replaces the data of a znode that has the version. data is borrowed until return.
func (c *Client) SetData(ctx context.Context, path string, data []byte, version int32) (stat proto.Stat, err error) {
	err = c.do(ctx, newCall(proto.OpSetData, path, func(dst []byte) []byte {
		return (&proto.SetDataRequest{Path: []byte(c.toServer(path)), Data: data, Version: version}).Append(dst)
	}), stat.Decode)
	return stat, err
}

// GetACL returns the ACL and the Stat.
func (c *Client) GetACL(ctx context.Context, path string) (acl []proto.ACL, stat proto.Stat, err error) {
	err = c.do(ctx, newCall(proto.OpGetACL, path, c.pathBody(path)), func(d *jute.Decoder) {
		acl = proto.SkipACLs(d).Decode()
		stat.Decode(d)
	})
	return acl, stat, err
}

// pathBody encodes a record that is a path alone.
func (c *Client) pathBody(path string) func([]byte) []byte {
	return func(dst []byte) []byte { return jute.AppendString(dst, c.toServer(path)) }
}

// SetACL replaces the ACL of a znode whose ACL has the version.
func (c *Client) SetACL(ctx context.Context, path string, acl []proto.ACL, version int32) (stat proto.Stat, err error) {
	err = c.do(ctx, newCall(proto.OpSetACL, path, func(dst []byte) []byte {
		return (&proto.SetACLRequest{Path: []byte(c.toServer(path)), ACL: proto.AppendACLs(nil, acl), Version: version}).Append(dst)
	}), stat.Decode)
	return stat, err
}

// GetChildren returns the names of the children, in the server's order (operation 8).
func (c *Client) GetChildren(ctx context.Context, path string) ([]string, error) {
	return c.GetChildrenW(ctx, path, nil)
}

// GetChildrenW is GetChildren with a watch; a nil w is none.
func (c *Client) GetChildrenW(ctx context.Context, path string, w *Watcher) (names []string, err error) {
	err = c.do(ctx, c.readCall(proto.OpGetChildren, path, w, watchChild, noWatch), func(d *jute.Decoder) { names = decodeStrings(d) })
	return names, err
}

// GetChildren2 returns the names of the children and the Stat (operation 12).
func (c *Client) GetChildren2(ctx context.Context, path string) ([]string, proto.Stat, error) {
	return c.GetChildren2W(ctx, path, nil)
}

// GetChildren2W is GetChildren2 with a watch; a nil w is none.
func (c *Client) GetChildren2W(ctx context.Context, path string, w *Watcher) (names []string, stat proto.Stat, err error) {
	err = c.do(ctx, c.readCall(proto.OpGetChildren2, path, w, watchChild, noWatch), func(d *jute.Decoder) {
		names = decodeStrings(d)
		stat.Decode(d)
	})
	return names, stat, err
}

// decodeStrings reads a vector of strings; a null one is empty.
func decodeStrings(d *jute.Decoder) []string {
	n := d.VectorLen()
	out := make([]string, 0, max(0, min(n, len(d.Rest())/4)))
	for i := 0; i < n && d.Err() == nil; i++ {
		out = append(out, string(d.Buffer()))
	}
	return out
}

// Sync waits until the server has caught up with the leader (client protocol, section 11.4).
func (c *Client) Sync(ctx context.Context, path string) error {
	return c.do(ctx, newCall(proto.OpSync, path, c.pathBody(path)), func(d *jute.Decoder) { d.Buffer() })
}

// GetAllChildrenNumber returns the number of all descendants.
func (c *Client) GetAllChildrenNumber(ctx context.Context, path string) (n int, err error) {
	err = c.do(ctx, newCall(proto.OpGetAllChildrenNum, path, c.pathBody(path)), func(d *jute.Decoder) { n = int(d.Int32()) })
	return n, err
}

// GetEphemerals returns the ephemerals of this session whose path starts with prefix, a
// plain string prefix; "/" is all of them that the chroot holds.
func (c *Client) GetEphemerals(ctx context.Context, prefix string) (paths []string, err error) {
	err = c.do(ctx, newCall(proto.OpGetEphemerals, prefix, c.pathBody(prefix)), func(d *jute.Decoder) { paths = decodeStrings(d) })
	if c.chroot == "" {
		return paths, err
	}
	inside := paths[:0]
	for _, p := range paths {
		if p == c.chroot || strings.HasPrefix(p, c.chroot+"/") { // "/root2" starts with "/root", too
			inside = append(inside, c.fromServer(p))
		}
	}
	return inside, err
}

// A ClientInfo is one identity of this connection as the server sees it.
type ClientInfo struct {
	Scheme, User string
}

// WhoAmI returns the identities of this connection.
func (c *Client) WhoAmI(ctx context.Context) (infos []ClientInfo, err error) {
	err = c.do(ctx, newCall(proto.OpWhoAmI, "", nil), func(d *jute.Decoder) {
		n := d.VectorLen()
		for i := 0; i < n && d.Err() == nil; i++ {
			infos = append(infos, ClientInfo{Scheme: string(d.Buffer()), User: string(d.Buffer())})
		}
	})
	return infos, err
}

// ConfigPath is the znode that holds the ensemble's configuration.
const ConfigPath = "/zookeeper/config"

// GetConfig reads ConfigPath, which no chroot moves.
func (c *Client) GetConfig(ctx context.Context) ([]byte, proto.Stat, error) {
	return c.GetConfigW(ctx, nil)
}

// GetConfigW is GetConfig with a data watch; a nil w is none.
func (c *Client) GetConfigW(ctx context.Context, w *Watcher) (data []byte, stat proto.Stat, err error) {
	call := c.readCallAt(proto.OpGetData, ConfigPath, ConfigPath, w, watchData, noWatch)
	err = c.do(ctx, call, func(d *jute.Decoder) {
		data = d.Buffer()
		stat.Decode(d)
	})
	return data, stat, err
}

// A Reconfig is a change of membership: Members alone, or Joining and Leaving (client
// protocol, section 3.6). Empty fields are sent as null.
type Reconfig struct {
	Joining     string // "server.N=...", comma separated
	Leaving     string // server ids, comma separated
	Members     string // the whole new membership
	FromVersion int64  // version of the configuration that this one changes; -1 for any
}

// Reconfig changes the membership and gives the new configuration's text and the Stat of its znode.
func (c *Client) Reconfig(ctx context.Context, r Reconfig) (config []byte, stat proto.Stat, err error) {
	null := func(s string) []byte {
		if s == "" {
			return nil
		}
		return []byte(s)
	}
	err = c.do(ctx, newCall(proto.OpReconfig, "", func(dst []byte) []byte {
		return (&proto.ReconfigRequest{
			Joining: null(r.Joining), Leaving: null(r.Leaving), NewMembers: null(r.Members), CurConfigID: r.FromVersion,
		}).Append(dst)
	}), func(d *jute.Decoder) {
		config = d.Buffer()
		stat.Decode(d)
	})
	return config, stat, err
}

// Ping sends a ping and waits for its answer, behind everything sent before it.
func (c *Client) Ping(ctx context.Context) error {
	return c.do(ctx, newCall(proto.OpPing, "", nil), nil)
}

// AddAuth adds an identity to the connection, and to every later one of this session. If the
// server refuses it, the session ends in StateAuthFailed.
func (c *Client) AddAuth(ctx context.Context, scheme string, data []byte) error {
	return c.do(ctx, newCall(proto.OpAuth, "", func(dst []byte) []byte {
		return (&proto.AuthPacket{Scheme: []byte(scheme), Auth: data}).Append(dst)
	}), nil)
}

// AddWatch sets a persistent watch, or with recursive one on the whole subtree.
func (c *Client) AddWatch(ctx context.Context, path string, w *Watcher, recursive bool) error {
	mode, kind := proto.WatchModePersistent, watchPersistent
	if recursive {
		mode, kind = proto.WatchModePersistentRecursive, watchRecursive
	}
	serverPath := c.toServer(path)
	call := newCall(proto.OpAddWatch, path, func(dst []byte) []byte {
		return (&proto.PathKind{Path: []byte(serverPath), Kind: mode}).Append(dst)
	})
	call.onReply = func(c *Client, code proto.ErrCode) {
		if code == proto.OK {
			c.watches.add(kind, serverPath, w)
		}
	}
	return c.do(ctx, call, nil)
}

// CheckWatches asks the server whether this connection has a watch of the type
// (proto.WatcherAny and its like) on path; if not the error is proto.ErrNoWatcher.
func (c *Client) CheckWatches(ctx context.Context, path string, watcherType int32) error {
	return c.do(ctx, c.watchTypeCall(proto.OpCheckWatches, path, watcherType), nil)
}

func (c *Client) watchTypeCall(op proto.OpCode, path string, watcherType int32) *Call {
	return newCall(op, path, func(dst []byte) []byte {
		return (&proto.PathKind{Path: []byte(c.toServer(path)), Kind: watcherType}).Append(dst)
	})
}

// RemoveWatches takes w, or for nil every Watcher, off path's watches of the type. Each
// Watcher removed gets an event that says so. Without such a Watcher the error is
// proto.ErrNoWatcher. The server's watch goes with the last Watcher on it. With local the
// removal holds even if the server cannot be asked or has another opinion.
func (c *Client) RemoveWatches(ctx context.Context, path string, w *Watcher, watcherType int32, local bool) error {
	serverPath := c.toServer(path)
	c.mu.Lock()
	found, others := c.watches.has(serverPath, w, watcherType)
	c.mu.Unlock()
	if !found {
		return &Error{Op: proto.OpRemoveWatches, Path: path, Err: proto.ErrNoWatcher}
	}
	op := proto.OpRemoveWatches
	if others {
		op = proto.OpCheckWatches
	}
	call := c.watchTypeCall(op, path, watcherType)
	// On the reading goroutine, so that no notification can come between the reply and this.
	call.onReply = func(c *Client, code proto.ErrCode) {
		if code == proto.OK {
			c.removeWatchesLocked(path, serverPath, w, watcherType)
		}
	}
	err := c.do(ctx, call, nil)
	if err != nil && local {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.removeWatchesLocked(path, serverPath, w, watcherType)
		return nil
	}
	return err
}

func (c *Client) removeWatchesLocked(path, serverPath string, w *Watcher, watcherType int32) {
	for _, made := range c.watches.remove(serverPath, w, watcherType) {
		made.event.Path = path
		c.events.push(made.event, made.to)
	}
}
