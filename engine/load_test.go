package engine

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"zabra.dev/zabra/engine/proto"
)

// TestDamagedImages removes, repeats, reorders and changes records: each image must be refused.
func TestDamagedImages(t *testing.T) {
	image, system := sampleImage(t)
	keys := slices.Sorted(maps.Keys(image))
	opts := Options{Digest: true, ExtendedTypes: true}
	load := func(put func(put func(k, v string) error) error) error {
		l := Load(opts)
		if err := put(func(k, v string) error { return l.Put([]byte(k), []byte(v)) }); err != nil {
			l.Close()
			return err
		}
		e, err := l.Finish()
		if err == nil {
			e.Close()
		}
		return err
	}
	refused := func(what string, put func(put func(k, v string) error) error) {
		t.Helper()
		if err := load(put); !errors.Is(err, ErrImage) {
			t.Errorf("%s: %v", what, err)
		}
	}
	all := func(edit func(i int, k, v string, put func(k, v string) error) error) func(func(k, v string) error) error {
		return func(put func(k, v string) error) error {
			for i, k := range keys {
				if err := edit(i, k, image[k], put); err != nil {
					return err
				}
			}
			return nil
		}
	}
	if err := load(all(func(_ int, k, v string, put func(k, v string) error) error { return put(k, v) })); err != nil {
		t.Fatal(err)
	}
	refused("empty", func(func(k, v string) error) error { return nil })
	for i, key := range keys {
		name := strings.ToValidUTF8(key, "?")
		refused("without "+name, all(func(j int, k, v string, put func(k, v string) error) error {
			if i == j {
				return nil
			}
			return put(k, v)
		}))
		refused("twice "+name, all(func(j int, k, v string, put func(k, v string) error) error {
			if i == j {
				if err := put(k, v); err != nil {
					return err
				}
			}
			return put(k, v)
		}))
		refused("value cut in "+name, all(func(j int, k, v string, put func(k, v string) error) error {
			if i == j {
				return put(k, v[:len(v)-1])
			}
			return put(k, v)
		}))
		refused("value too long in "+name, all(func(j int, k, v string, put func(k, v string) error) error {
			if i == j {
				return put(k, v+"\x00")
			}
			return put(k, v)
		}))
		if key[0] == kindNode && !system[key] {
			refused("stat changed in "+name, all(func(j int, k, v string, put func(k, v string) error) error {
				if i == j {
					b := []byte(v)
					b[2] ^= 0x10 // czxid
					return put(k, string(b))
				}
				return put(k, v)
			}))
		}
		refused("key short in "+name, all(func(j int, k, v string, put func(k, v string) error) error {
			if i == j {
				return put(k[:8], v)
			}
			return put(k, v)
		}))
	}
	refused("records of an unknown kind", all(func(j int, k, v string, put func(k, v string) error) error {
		if j == len(keys)-1 {
			if err := put(k, v); err != nil {
				return err
			}
			return put("\x05\x00\x00\x00\x00\x00\x00\x00\x01", "x")
		}
		return put(k, v)
	}))
}

// TestBuilderRefuses gives a Builder nodes that form no tree.
func TestBuilderRefuses(t *testing.T) {
	f := func(what string, wantErr bool, paths ...string) {
		t.Helper()
		b, err := NewBuilder(Options{ExtendedTypes: true})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		for i, p := range paths {
			err = b.AddNode([]byte(p), nil, nil, &proto.StatPersisted{})
			if i < len(paths)-1 && err != nil {
				t.Fatalf("%s: %q: %v", what, p, err)
			}
		}
		if (err != nil) != wantErr || err != nil && !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: %v", what, err)
		}
	}
	f("tree", false, "", "/a", "/a/b", "/zookeeper", "/zookeeper/quota")
	f("no parent", true, "", "/a/b")
	f("node twice", true, "", "/a", "/a")
	f("root twice", true, "", "/")
	f("built-in node twice", true, "/zookeeper", "/zookeeper")
	f("relative path", true, "a")
	f("slash at the end", true, "/a", "/a/")
	f("empty component", true, "/a", "/a//b")
	b, err := NewBuilder(Options{ExtendedTypes: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.AddNode([]byte("/x"), nil, nil, &proto.StatPersisted{EphemeralOwner: -1 << 50}); !errors.Is(err, ErrSnapshot) {
		t.Errorf("owner with an unknown feature code: %v", err)
	}
}

// TestBuilderIsDirty checks that everything of a built tree goes into the first image, and
// that quotas are counted.
func TestBuilderIsDirty(t *testing.T) {
	b, err := NewBuilder(Options{Digest: true})
	if err != nil {
		t.Fatal(err)
	}
	b.AddSession(5, 4000)
	text := []byte("count=1,bytes=1")
	for _, p := range []string{"", "/a", "/a/b", "/zookeeper", "/zookeeper/quota", "/zookeeper/quota/a", "/zookeeper/quota/a/zookeeper_limits", "/zookeeper/quota/a/zookeeper_stats"} {
		owner := int64(0)
		if p == "/a/b" {
			owner = 5
		}
		if err := b.AddNode([]byte(p), text, benchACL, &proto.StatPersisted{Czxid: 3, EphemeralOwner: owner}); err != nil {
			t.Fatal(err)
		}
	}
	e, err := b.Finish(17)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	e.check(t)
	if n, want := e.DirtyCount(), 9+1+2; n != want { // the config node was not given; lists: client's, config's
		t.Errorf("%d records are dirty, want %d", n, want)
	}
	if e.LastZxid() != 17 || e.EphemeralCountOf(5) != 1 {
		t.Errorf("zxid %#x, %d ephemerals", e.LastZxid(), e.EphemeralCountOf(5))
	}
	q, ok := e.Quota([]byte("/a/b"))
	if !ok || string(e.Data(q.Stats)) != "count=2,bytes=30" {
		t.Errorf("quota %v, stats %q", ok, e.Data(q.Stats))
	}
	if v := ParseQuota([]byte("count=3,bytes=-1=;byteHardLimit=7;countHardLimit=x")); v != (QuotaValues{3, -1, -1, 7}) {
		t.Errorf("limits %+v", v)
	}
}
