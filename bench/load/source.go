package load

import (
	"fmt"
	"sync/atomic"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// mixSource makes the requests of Config.Mix.
type mixSource struct{}

func (mixSource) reply(Kind, proto.ErrCode) error { return nil }

func (mixSource) next(l *loop, c *conn, atNs int64) bool {
	if l.phase.requests > 0 {
		if l.made == l.phase.requests {
			return false
		}
		l.made++
	}
	k := c.owed
	if k == 0 {
		k = l.picker.pick(l.rng.uint32())
	}
	if k == Session {
		l.churn(c, atNs)
		return true
	}
	xid := c.nextXid()
	f := l.forms
	switch k {
	case Get:
		c.out = f.appendKey(c.out, &f.get, xid, l.key())
	case Exists:
		c.out = f.appendKey(c.out, &f.exists, xid, l.key())
	case Children:
		c.out = f.appendKey(c.out, &f.children, xid, l.key())
	case Watch:
		c.out = f.appendKey(c.out, &f.watch, xid, l.key())
	case Set:
		key := l.key()
		c.out = f.appendSet(c.out, xid, key, l.data())
		if l.lastSetNs != nil {
			l.lastSetNs[key].Store(l.nowNs)
		}
	case Create:
		c.out = f.appendCreate(c.out, xid, c.prefix, c.number, l.data(), proto.FlagPersistent)
		c.number++
	case CreateDelete:
		c.out = f.appendCreate(c.out, xid, c.prefix, c.number, l.data(), proto.FlagPersistent)
		c.number++
		c.owed = Delete
	case Ephemeral:
		c.out = f.appendCreate(c.out, xid, c.prefix, c.number, l.data(), proto.FlagEphemeral)
		c.number++
		c.owed = DeleteEphem
	case Delete, DeleteEphem:
		c.out = appendDelete(c.out, xid, c.prefix, c.number-1)
		c.owed = 0
	case Multi:
		start := len(c.out)
		c.out = beginRequest(c.out, xid, proto.OpMulti)
		for range l.cfg.MultiOps {
			key := l.key()
			c.out = f.appendInnerSet(c.out, key, l.data())
			if l.lastSetNs != nil {
				l.lastSetNs[key].Store(l.nowNs)
			}
		}
		c.out = proto.MultiDone.Append(c.out)
		endRequest(c.out, start)
	case Sync:
		start := len(c.out)
		c.out = append(c.out, f.sync...)
		jute.PutInt32(c.out[start+4:], xid)
	}
	c.ring.push(pending{atNs: atNs, xid: xid, kind: k})
	c.inflight++
	return true
}

func (l *loop) key() uint32 { return l.shared.keys.draw(&l.rng) }

// data lends a payload until the next call.
func (l *loop) data() []byte {
	n := l.cfg.Payload.draw(&l.rng)
	at := l.rng.below(uint32(len(l.payload) - n))
	return l.payload[at : int(at)+n]
}

// A listSource makes count requests, each once, over all loops and sessions.
type listSource struct {
	count  int64
	issued atomic.Int64
	kind   Kind
	// append appends request i, its length filled in.
	append func(l *loop, dst []byte, xid int32, i int64) []byte
	// answer judges the code of an answer other than OK; nil is fine.
	answer func(code proto.ErrCode) error
}

func (s *listSource) next(l *loop, c *conn, atNs int64) bool {
	i := s.issued.Add(1) - 1
	if i >= s.count {
		return false
	}
	xid := c.nextXid()
	c.out = s.append(l, c.out, xid, i)
	c.ring.push(pending{atNs: atNs, xid: xid, kind: s.kind})
	c.inflight++
	return true
}

func (s *listSource) reply(kind Kind, code proto.ErrCode) error {
	// A session that watches keys looks at them as soon as it is up, before they need exist.
	if code == proto.OK || kind != s.kind {
		return nil
	}
	return s.answer(code)
}

func orExists(code proto.ErrCode) error {
	if code == proto.ErrNodeExists {
		return nil
	}
	return fmt.Errorf("load: creating the znodes of the run: %w", code)
}

// pathSource creates the znodes with the paths, in no particular order; those that exist are fine.
func pathSource(f *forms, paths []string) *listSource {
	return &listSource{
		count: int64(len(paths)), kind: Create, answer: orExists,
		append: func(_ *loop, dst []byte, xid int32, i int64) []byte {
			start := len(dst)
			req := proto.CreateRequest{Path: []byte(paths[i]), Data: []byte{}, ACL: f.acl}
			dst = req.Append(beginRequest(dst, xid, proto.OpCreate), proto.OpCreate)
			endRequest(dst, start)
			return dst
		},
	}
}

// keySource creates all keys, perMulti of them with each request. Where keys exist already it fails nothing and
// sets exist: each has then to be looked at by itself.
func keySource(cfg *Config, exist *atomic.Bool) *listSource {
	keys := int64(cfg.Keys)
	perMulti := int64(max(1, min(100, (256<<10)/(cfg.Payload.Max()+200))))
	return &listSource{
		count: (keys + perMulti - 1) / perMulti, kind: Multi,
		append: func(l *loop, dst []byte, xid int32, i int64) []byte {
			start := len(dst)
			dst = beginRequest(dst, xid, proto.OpMulti)
			for key := i * perMulti; key < min(keys, (i+1)*perMulti); key++ {
				dst = proto.MultiHeader{Type: proto.OpCreate, Err: -1}.Append(dst)
				dst = l.forms.appendKeyCreate(dst, uint32(key), l.data())
			}
			dst = proto.MultiDone.Append(dst)
			endRequest(dst, start)
			return dst
		},
		answer: func(code proto.ErrCode) error {
			if code != errMulti {
				return fmt.Errorf("load: creating keys: %w", code)
			}
			exist.Store(true)
			return nil
		},
	}
}

// eachKeySource creates or sets all keys, one with each request.
func eachKeySource(cfg *Config, kind Kind) *listSource {
	s := &listSource{count: int64(cfg.Keys), kind: kind, answer: orExists}
	s.append = func(l *loop, dst []byte, xid int32, i int64) []byte {
		if kind == Set {
			return l.forms.appendSet(dst, xid, uint32(i), l.data())
		}
		start := len(dst)
		dst = l.forms.appendKeyCreate(beginRequest(dst, xid, proto.OpCreate), uint32(i), l.data())
		endRequest(dst, start)
		return dst
	}
	return s
}

// probeSource looks whether the first and the last key exist.
func probeSource(cfg *Config) *listSource {
	return &listSource{
		count: 2, kind: Exists,
		append: func(l *loop, dst []byte, xid int32, i int64) []byte {
			return l.forms.appendKey(dst, &l.forms.exists, xid, uint32(i*int64(cfg.Keys-1)))
		},
		answer: func(code proto.ErrCode) error {
			return fmt.Errorf("load: %w: looking for the %d keys below %s: %w", ErrNotFilled, cfg.Keys, cfg.Root, code)
		},
	}
}
