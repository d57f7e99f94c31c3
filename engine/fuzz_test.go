package engine

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// FuzzApply gives a small engine arbitrary bytes as a transaction, twice: nothing may panic,
// a refused one changes nothing, and whatever was applied leaves everything consistent and a
// checkpoint that loads.
func FuzzApply(f *testing.F) {
	g := newGenerator(rand.New(rand.NewPCG(1, 1)), newModel(Options{ExtendedTypes: true}))
	for range 200 {
		f.Add(g.txn().append(nil, uint64(g.IntN(3))))
	}
	for _, txn := range javaLogs(f, "standalone") {
		f.Add(txn)
	}
	f.Fuzz(func(t *testing.T, txn []byte) {
		e, err := New(Options{Digest: true, ExtendedTypes: true})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		var m txnMaker
		for _, p := range []string{"/a", "/a/b", PathQuota + "/a", PathQuota + "/a/" + QuotaLimitsName, PathQuota + "/a/" + QuotaStatsName} {
			must(t, e, m.make(proto.OpCreate, &proto.TxnBody{Path: []byte(p), Data: []byte("x"), ACL: benchACL, ParentCversion: -1}), nil)
		}
		image := map[string]string{}
		checkpointInto(t, e, image)
		for range 2 {
			digest, zxid, dirty := e.Digest(), e.LastZxid(), e.DirtyCount()
			var rec recorder
			r, err := e.Apply(bytes.Clone(txn), &rec)
			e.check(t)
			if err == nil {
				if r.Header.Zxid > e.LastZxid() {
					t.Fatalf("zxid %#x after %#x", e.LastZxid(), r.Header.Zxid)
				}
				continue
			}
			if !errors.Is(err, ErrTxn) || len(rec.events) > 0 || e.Digest() != digest || e.LastZxid() != zxid || e.DirtyCount() != dirty {
				t.Fatalf("refused with %v, but changed", err)
			}
		}
		count, digest := e.NodeCount(), e.Digest()
		checkpointInto(t, e, image)
		loaded, err := loadImage(Load(e.opts), image)
		if err != nil {
			t.Fatal(err)
		}
		defer loaded.Close()
		loaded.check(t)
		if loaded.NodeCount() != count || loaded.Digest() != digest {
			t.Fatalf("%d nodes, digest %#x after a load, want %d, %#x", loaded.NodeCount(), loaded.Digest(), count, digest)
		}
	})
}

// checkpointInto takes a checkpoint and brings an image up to date with it.
func checkpointInto(t testing.TB, e *Engine, image map[string]string) {
	t.Helper()
	c, err := e.StartCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	for done := false; !done; {
		if done, err = c.Next(100, func(key, value []byte) error {
			if value == nil {
				delete(image, string(key))
			} else {
				image[string(key)] = string(value)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	c.Finish()
}

// sampleImage returns an image with everything in it, and the keys of the nodes that the tree
// digest leaves out.
func sampleImage(t testing.TB) (image map[string]string, system map[string]bool) {
	t.Helper()
	e := newEngine(t, Options{Digest: true, ExtendedTypes: true})
	for _, txn := range javaLogs(t, "standalone") {
		if _, err := e.Apply(txn, nil); err != nil {
			t.Fatal(err)
		}
	}
	image, system = map[string]string{}, map[string]bool{}
	checkpointInto(t, e, image)
	e.walk(e.root, func(_ NodeRef, n *node) {
		if e.isSystem(n) {
			system[string(jute.AppendInt64([]byte{kindNode}, int64(n.id())))] = true
		}
	})
	return image, system
}

// FuzzLoad replaces one record of an image: nothing may panic, and what loads is consistent.
func FuzzLoad(f *testing.F) {
	image, _ := sampleImage(f)
	keys := slices.Sorted(maps.Keys(image))
	for i, k := range keys {
		f.Add(uint8(i), []byte(k), []byte(image[k]))
	}
	f.Fuzz(func(t *testing.T, at uint8, key, value []byte) {
		l := Load(Options{ExtendedTypes: true})
		for i, k := range keys {
			v := image[k]
			if i == int(at) {
				k, v = string(key), string(value)
			}
			if err := l.Put([]byte(k), []byte(v)); err != nil {
				if !errors.Is(err, ErrImage) {
					t.Fatal(err)
				}
				l.Close()
				return
			}
		}
		e, err := l.Finish()
		if err != nil {
			if !errors.Is(err, ErrImage) {
				t.Fatal(err)
			}
			return
		}
		defer e.Close()
		e.check(t)
		if _, err := e.Apply(solo(proto.OpCreate, 99, proto.TxnBody{Path: []byte("/new"), ACL: benchACL, ParentCversion: -1}), nil); err != nil {
			t.Fatal(err)
		}
		e.check(t)
	})
}
